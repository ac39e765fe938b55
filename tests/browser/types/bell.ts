// The same for `quick-notify/bell`.

import { QuickNotify } from 'quick-notify';
import { QuickNotifyBell } from 'quick-notify/bell';
import type { BellEvents } from 'quick-notify/bell';

const bell: QuickNotifyBell = document.createElement('quick-notify-bell');
bell.token = async ({ refused }) => (refused ? null : 'a token');
bell.client = new QuickNotify({ token: 'test1' });
bell.url = 'wss://notify.example/stomp-ws';
const found: QuickNotifyBell | null = document.querySelector('quick-notify-bell');
const unread: number | null = bell.unread;
bell.show();
bell.hide();
bell.addEventListener('quick-notify:unread', ({ detail }) => detail.unread?.toFixed());
bell.addEventListener('click', ({ clientX }) => clientX.toFixed());
const told = ({ detail }: BellEvents['quick-notify:notification']): string => detail.notification.id;

// @ts-expect-error the number is the server's to say
bell.unread = 7;
// @ts-expect-error a client is a QuickNotify
bell.client = {};
// @ts-expect-error an unread count may be unknown
bell.addEventListener('quick-notify:unread', ({ detail }) => detail.unread.toFixed());
bell.addEventListener('quick-notify:notification', told);
bell.removeEventListener('quick-notify:notification', told);
export { found, told, unread };

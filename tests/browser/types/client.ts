// What a TypeScript program may write with the package `quick-notify`, and what it may not. Nothing here runs: tsc reads it.

import { NotifyError, QuickNotify } from 'quick-notify';
import type { Events, Notification, Options, State, Stored, Token } from 'quick-notify';

const token: Token = async ({ refused }) => (refused === 'token-revoked' ? null : 'a token');
const options: Options = {
  url: ['wss://a.example/stomp-ws', 'wss://b.example/stomp-ws'],
  token,
  autoConfirm: false,
  reconnect: { min: 500 },
  storage: sessionStorage,
  socket: (url) => new WebSocket(url),
};
const client = new QuickNotify(options);
new QuickNotify({ token: 'test1', url: '/stomp-ws', WebSocket });

const off: () => void = client.on('notification', ({ id, seq, data, created, replayed }) => {
  const text: string = id + String(data);
  const place: number | null = seq;
  const when: Date = new Date(created);
  const late: boolean = replayed;
  return [text, place, when, late];
});
client.on('notification', async (notification: Notification) => void (await client.confirm(notification)));
client.on('state', (state: State) => state.state === 'waiting' && state.retryAt);
client.on('unread', (count) => (count === null ? '?' : count.toFixed()));
client.on('viewed', ({ ids }) => ids.join());
client.on('gap', ({ requested, from }) => from - requested);
client.on('error', (error) => error instanceof NotifyError && error.code.startsWith('token-'));
client.on('error', ({ status, field, detail, destination, id }) => [status?.toFixed(), field?.trim(), detail?.trim(), destination?.trim(), id?.trim()]);
// @ts-expect-error not every error has a status
client.on('error', ({ status }) => status.toFixed());
const leave: () => void = client.subscribe('/topic/orders', ({ destination, data }: Events['topic']) => [destination, data]);

export async function use(): Promise<void> {
  await client.connect();
  const done: boolean = await client.confirm('ntf_1');
  const rows: Stored[] = await client.history({ before: Date.now(), page: 0, size: 20 });
  const changed: string[] = [...(await client.markViewed(rows.map(({ id }) => id))), ...(await client.delete(['ntf_1']))];
  await client.send('/topic/orders', { done, changed, unread: await client.unreadCount(), last: client.lastSeq });
  await client.refreshToken('another');
  client.autoConfirm = true;
  off();
  leave();
  await client.close();
}

// @ts-expect-error without a token there is no session
new QuickNotify({ url: '/stomp-ws' });
// @ts-expect-error an option that there isn't
new QuickNotify({ token, retries: 3 });
// @ts-expect-error an event that there isn't
client.on('message', () => {});
// @ts-expect-error an unread count may be unknown
client.on('unread', (count) => count.toFixed());
// @ts-expect-error what is not persisted has no seq
client.on('notification', ({ seq }) => seq + 1);
// @ts-expect-error the state is the client's to set
client.state = { state: 'connected' };
// @ts-expect-error no such state
const never: boolean = client.state.state === 'open';
// @ts-expect-error an id, or what has one
client.confirm(7);
// @ts-expect-error a token is text
const wrong: Token = () => 42;
export { never, wrong };

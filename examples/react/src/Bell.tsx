import type { DetailedHTMLProps, HTMLAttributes } from 'react';
import 'quick-notify/bell';
import type { QuickNotifyBell } from 'quick-notify/bell';
import type { Token } from 'quick-notify';

type BellAttributes = { url?: string; token?: Token; label?: string; theme?: 'light' | 'dark' };

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'quick-notify-bell': DetailedHTMLProps<HTMLAttributes<QuickNotifyBell>, QuickNotifyBell> & BellAttributes;
    }
  }
}

/** The bell, ready made. Give it the same `token` function at each render: another one is another session. */
export const Bell = (attributes: BellAttributes) => <quick-notify-bell {...attributes} />;

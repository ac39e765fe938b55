import { useEffect, useRef, useState } from 'react';
import type { DetailedHTMLProps, HTMLAttributes } from 'react';
import 'quick-notify/bell';
import type { QuickNotifyBell } from 'quick-notify/bell';
import type { Token } from 'quick-notify';

/** `client` is one that the page has already, instead of `url` and `token`. `texts` and `renderItem` are told in bell.js. */
type BellProps = { token?: Token; url?: string; label?: string; theme?: 'light' | 'dark' } & Partial<Pick<QuickNotifyBell, 'client' | 'texts' | 'renderItem'>>;

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'quick-notify-bell': DetailedHTMLProps<HTMLAttributes<QuickNotifyBell>, QuickNotifyBell> & BellProps;
    }
  }
}

/** The bell, ready made. A `token` function may be made anew at each render; for another user give it another `key`. */
export function Bell({ token, ...others }: BellProps) {
  const latest = useRef(token);
  useEffect(() => void (latest.current = token), [token]);
  // For the bell another function is another session: this one stays the same.
  const [ask] = useState((): Token => (why) => (typeof latest.current === 'function' ? latest.current(why) : (latest.current ?? null)));
  return <quick-notify-bell {...others} {...(token !== undefined && { token: typeof token === 'string' ? token : ask })} />;
}

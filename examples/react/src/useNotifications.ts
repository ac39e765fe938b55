import { useCallback, useEffect, useRef, useState } from 'react';
import { QuickNotify } from 'quick-notify';
import type { State, Stored, Token } from 'quick-notify';

const MOST = 100; // rows that are kept

/** The user's inbox, newest first, live over all tabs and devices, for as long as the component is there. */
export function useNotifications({ url, token }: { url: string | string[]; token: Token }) {
  const [rows, setRows] = useState<Stored[]>([]);
  const [unread, setUnread] = useState<number | null>(null);
  const [state, setState] = useState<State>({ state: 'idle' });
  const client = useRef<QuickNotify>(null);
  const latest = useRef(token);
  const address = JSON.stringify(url); // a list may be made anew at each render, and be the same

  // A callback that is made anew at each render is no reason to connect again.
  useEffect(() => void (latest.current = token), [token]);

  useEffect(() => {
    const own = new QuickNotify({
      url: JSON.parse(address),
      token: (why) => (typeof latest.current === 'string' ? latest.current : latest.current(why)),
    });
    client.current = own;
    own.on('state', async (now) => {
      setState(now);
      // What other sessions confirmed while this one was away is in the inbox only.
      if (now.state === 'connected') {
        const listed = await own.history({ size: 20 });
        setRows((rows) => merged(listed, rows));
      }
    });
    own.on('notification', (came) => setRows((rows) => merged([came], rows)));
    own.on('viewed', ({ ids }) => setRows((rows) => rows.map((row) => (ids.includes(row.id) ? { ...row, viewed: true } : row))));
    own.on('deleted', ({ ids }) => setRows((rows) => rows.filter((row) => !ids.includes(row.id))));
    own.on('unread', setUnread);
    own.connect().catch(() => {}); // the state says why
    return () => void own.close();
  }, [address]);

  const markViewed = useCallback((ids: string[]) => client.current?.markViewed(ids), []);
  const remove = useCallback((ids: string[]) => client.current?.delete(ids), []);
  return { rows, unread, state, markViewed, remove };
}

function merged(some: Stored[], others: Stored[]): Stored[] {
  const known = new Map([...others, ...some].map((row) => [row.id, row]));
  return [...known.values()].sort((a, b) => b.created - a.created).slice(0, MOST);
}

import { useCallback, useEffect, useRef, useState } from 'react';
import { QuickNotify } from 'quick-notify';
import type { State, Stored, Token } from 'quick-notify';

const MOST = 100; // rows that are kept
const LISTED = 20; // rows that are asked for

/** `kept` is false for what is in no inbox: a broadcast is shown, and can't be marked. */
export type Row = Stored & { kept: boolean };

const NOBODY: State = { state: 'idle' };

/** The user's inbox, newest first, live over all tabs and devices, for as long as the component is there. */
export function useNotifications({ url, token }: { url: string | string[]; token: Token }) {
  const [rows, setRows] = useState<Row[]>([]);
  const [unread, setUnread] = useState<number | null>(null);
  const [state, setState] = useState<State>(NOBODY);
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
    let meanwhile = new Meanwhile();
    const listeners = [
      own.on('state', async (now) => {
        setState(now);
        if (now.state !== 'connected') return;
        // What other sessions confirmed or deleted while this one was away is in the inbox only.
        const asked = (meanwhile = new Meanwhile());
        const listed = await own.history({ size: LISTED });
        if (asked === meanwhile) setRows((rows) => asked.merged(listed, rows));
      }),
      own.on('notification', ({ seq, ...came }) => {
        meanwhile.came.add(came.id);
        setRows((rows) => sorted([...rows.filter(({ id }) => id !== came.id), { ...came, kept: seq !== null }]));
      }),
      own.on('viewed', ({ ids }) => {
        for (const id of ids) meanwhile.viewed.add(id);
        setRows((rows) => rows.map((row) => (ids.includes(row.id) ? { ...row, viewed: true } : row)));
      }),
      own.on('deleted', ({ ids }) => {
        for (const id of ids) meanwhile.deleted.add(id);
        setRows((rows) => rows.filter((row) => !ids.includes(row.id)));
      }),
      own.on('unread', setUnread),
      own.on('error', (error) => console.warn(error)),
    ];
    own.connect().catch(() => {}); // the state says why
    return () => {
      for (const off of listeners) off(); // its farewell is no state of the next one
      meanwhile = new Meanwhile();
      own.close();
      setRows([]);
      setUnread(null);
      setState(NOBODY);
    };
  }, [address]);

  const markViewed = useCallback(async (ids: string[]) => void (await client.current?.markViewed(ids)), []);
  const remove = useCallback(async (ids: string[]) => {
    await client.current?.delete(ids);
    setRows((rows) => rows.filter(({ id }) => !ids.includes(id)));
  }, []);
  return { rows, unread, state, markViewed, remove };
}

/** What came to pass since the history was asked for: its answer may not know of it. */
class Meanwhile {
  came = new Set<string>();
  viewed = new Set<string>();
  deleted = new Set<string>();

  /** The answer says what the inbox holds, down to its oldest row; what is in no inbox stays. */
  merged(listed: Stored[], rows: Row[]): Row[] {
    const oldest = listed.length < LISTED ? -Infinity : (listed.at(-1)?.created ?? -Infinity);
    const answered = new Set(listed.map(({ id }) => id));
    const others = rows.filter((row) => !answered.has(row.id) && (!row.kept || this.came.has(row.id) || row.created < oldest));
    const seen = new Set([...this.viewed, ...rows.filter(({ viewed }) => viewed).map(({ id }) => id)]); // nothing becomes unread
    const own = listed.filter(({ id }) => !this.deleted.has(id));
    return sorted([...others, ...own.map((row) => ({ ...row, viewed: row.viewed || seen.has(row.id), kept: true }))]);
  }
}

const sorted = (rows: Row[]) => rows.sort((a, b) => b.created - a.created).slice(0, MOST);

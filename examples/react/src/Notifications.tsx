import { useState } from 'react';
import type { Token } from 'quick-notify';
import { useNotifications } from './useNotifications.ts';

/** React shows what others wrote as text. */
export function Notifications({ url, token }: { url: string | string[]; token: Token }) {
  const { rows, unread, state, markViewed, remove } = useNotifications({ url, token });
  const [problem, setProblem] = useState('');

  async function attempt(step: Promise<void>) {
    setProblem('');
    try {
      await step;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  }

  return (
    <section aria-label="Notifications">
      <h1>
        Notifications <output>{unread ?? '…'}</output>
      </h1>
      <p role="status">{state.state === 'connected' ? `Connected as ${state.user}` : (state.message ?? state.state)}</p>
      {problem && <p role="alert">{problem}</p>}
      <ul>
        {rows.map((row) => (
          <li key={row.id} data-viewed={row.viewed}>
            {typeof row.data === 'string' ? row.data : JSON.stringify(row.data)} <time>{new Date(row.created).toLocaleTimeString()}</time>{' '}
            {row.kept && !row.viewed && <button onClick={() => attempt(markViewed([row.id]))}>Mark as read</button>}{' '}
            {row.kept && <button onClick={() => attempt(remove([row.id]))}>Delete</button>}
          </li>
        ))}
      </ul>
    </section>
  );
}

import type { Token } from 'quick-notify';
import { useNotifications } from './useNotifications.ts';

/** React shows what others wrote as text. */
export function Notifications({ url, token }: { url: string | string[]; token: Token }) {
  const { rows, unread, state, markViewed, remove } = useNotifications({ url, token });
  return (
    <section aria-label="Notifications">
      <h1>
        Notifications <output>{unread ?? '…'}</output>
      </h1>
      <p role="status">{state.state === 'connected' ? `Connected as ${state.user}` : (state.message ?? state.state)}</p>
      <ul>
        {rows.map((row) => (
          <li key={row.id} data-viewed={row.viewed}>
            {typeof row.data === 'string' ? row.data : JSON.stringify(row.data)} <time>{new Date(row.created).toLocaleTimeString()}</time>{' '}
            {!row.viewed && <button onClick={() => markViewed([row.id])}>Mark as read</button>}{' '}
            <button onClick={() => remove([row.id])}>Delete</button>
          </li>
        ))}
      </ul>
    </section>
  );
}

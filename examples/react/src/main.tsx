import { StrictMode, useCallback, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Bell } from './Bell.tsx';
import { Notifications } from './Notifications.tsx';

const url = document.querySelector<HTMLMetaElement>('meta[name=notify-url]')!.content;

function App() {
  const [user, setUser] = useState('test1');
  // In your program it is your back end's: async () => (await fetch('/my/token')).text()
  const token = useCallback(() => user, [user]);
  return (
    <>
      <label>
        User <select value={user} onChange={({ target }) => setUser(target.value)}>
          {['test1', 'test2'].map((name) => <option key={name}>{name}</option>)}
        </select>
      </label>
      <Bell url={url} token={token} />
      {/* The key: another user gets a client and a list of their own. */}
      <Notifications key={user} url={url} token={token} />
    </>
  );
}

createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);

import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Notifications } from './Notifications.tsx';

const url = document.querySelector<HTMLMetaElement>('meta[name=notify-url]')!.content;

/** In your program, the token is your back end's: `async () => (await fetch('/my/token')).text()`. */
function App() {
  const [user, setUser] = useState('test1');
  return (
    <>
      <label>
        User <select value={user} onChange={({ target }) => setUser(target.value)}>
          {['test1', 'test2'].map((name) => <option key={name}>{name}</option>)}
        </select>
      </label>
      {/* The key: another user gets a client and a list of their own. */}
      <Notifications key={user} url={url} token={() => user} />
    </>
  );
}

createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);

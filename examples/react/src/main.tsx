import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Bell } from './Bell.tsx';
import { Notifications } from './Notifications.tsx';

const url = document.querySelector<HTMLMetaElement>('meta[name=notify-url]')!.content;

function App() {
  const [user, setUser] = useState('test1');
  // In your program it is your back end's; when it throws, it is asked again:
  //   const answer = await fetch('/my/token');
  //   if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  //   return answer.text();
  const token = () => user;
  return (
    <>
      <label>
        User <select value={user} onChange={({ target }) => setUser(target.value)}>
          {['test1', 'test2'].map((name) => <option key={name}>{name}</option>)}
        </select>
      </label>
      {/* The keys: another user gets clients and a list of their own. */}
      <Bell key={`bell of ${user}`} url={url} token={token} />
      <Notifications key={user} url={url} token={token} />
    </>
  );
}

createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);

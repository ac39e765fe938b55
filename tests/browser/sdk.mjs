/**
 * The browser client as the server serves it, under Node with `ws`: order, resume, dedupe, confirm, unread, events between two
 * clients, a fresh token in time, and a server that dies.
 *
 *     node sdk.mjs http://127.0.0.1:2025 test1 [ordered|resume|between|token|kill ...]
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';
import { Api, Arrivals, PATIENCE, ask, equal, fail, run, say, within } from './story.mjs';

const MANY = 500;
let QuickNotify;

/** Fetches the module and all that it imports, as a browser would. */
async function load(url) {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-sdk-'));
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
  const done = new Set();
  const fetchModule = async (path) => {
    if (done.has(path)) return;
    done.add(path);
    const response = await fetch(url + path);
    equal(`the status of ${path}`, response.status, 200);
    equal(`the type of ${path}`, response.headers.get('content-type'), 'text/javascript; charset=utf-8');
    const text = await response.text();
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), text);
    for (const [, name] of text.matchAll(/^(?:import|export) [^;]*?from '(.+)';$/gm)) await fetchModule(new URL(name, url + path).pathname);
  };
  await fetchModule('/sdk/quick-notify.js');
  const module = await import(pathToFileURL(join(folder, '/sdk/quick-notify.js')));
  await rm(folder, { recursive: true });
  return module.QuickNotify;
}

/** A client whose every event is kept. */
function listen(url, token, options = {}) {
  const client = new QuickNotify({ url: `${url}/stomp-ws`, token, WebSocket, reconnect: { min: 50, max: 500 }, ...options });
  const events = {};
  for (const type of ['notification', 'repeat', 'state', 'unread', 'viewed', 'deleted', 'gap', 'topic', 'error']) {
    const arrivals = (events[type] = new Arrivals());
    client.on(type, (detail) => arrivals.add(detail));
  }
  client.on('notification', ({ id, attempt }) => say(`GOT ${id} ${attempt}`));
  return Object.assign(client, { events });
}

const data = (client) => client.events.notification.all.map((notification) => notification.data);
const got = (client, text) => client.events.notification.first(`"${text}"`, (notification) => notification.data === text);
const unreadIs = (client, count) => client.unread === count || client.events.unread.first(`unread ${count}`, (value) => value === count && client.unread === count);

const chapters = {
  /** Many at once come in the order of seq, once each, and auto-confirm confirms them all. */
  async ordered(url, user) {
    const api = new Api(url, user);
    const client = listen(url, user);
    await within('the connection', client.connect());
    equal('the user', client.state.user, user);
    say('READY');
    const texts = Array.from({ length: MANY }, (_, index) => `many ${index + 1}`);
    const answer = await api.publish(texts.map((text) => ({ receiver: user, data: text })));
    equal('accepted', answer.accepted, MANY);
    await got(client, texts.at(-1));
    equal('what came', data(client), texts);
    equal('the seqs', client.events.notification.all.map(({ seq }) => seq), texts.map((_, index) => index + 1));
    equal('lastSeq', client.lastSeq, MANY);
    await unreadIs(client, MANY);
    await client.close(); // after what was confirmed has arrived
    equal('the end', client.state, { user, state: 'closed', code: 'disconnected', message: 'Closed by this client.' });

    const fresh = listen(url, user);
    await within('the connection', fresh.connect());
    await api.publish({ receiver: user, data: 'a fence' });
    await got(fresh, 'a fence');
    equal('what is left', data(fresh), ['a fence']);
    equal('errors', [...client.events.error.all, ...fresh.events.error.all], []);
    await fresh.close();
  },

  /** It resumes after the last seq, drops what it was given before, and confirms what was confirmed while it was away. */
  async resume(url, user) {
    const api = new Api(url, user);
    const saved = new Map();
    const storage = { getItem: (key) => saved.get(key) ?? null, setItem: (key, value) => saved.set(key, value) };
    const client = listen(url, user, { autoConfirm: false, storage });
    await within('the connection', client.connect());
    say('READY');
    const unsure = await api.publish({ receiver: user, data: 'unsure' });
    const first = await api.publish({ receiver: user, data: 'first' });
    const second = await api.publish({ receiver: user, data: 'second' });
    await got(client, 'second');
    equal('confirmed', await within('the confirmation', client.confirm(first.id)), true);
    const { session } = client.state;
    await client.close();
    equal('confirming while away', await Promise.race([client.confirm(second.id), Promise.resolve('kept')]), 'kept');

    // While it is away two more come, and another tab confirms one of them.
    const other = listen(url, user, { autoConfirm: false });
    const third = await api.publish({ receiver: user, data: 'third' });
    await within('the other connection', other.connect());
    await got(other, 'third');
    await within('the confirmation', other.confirm(third.id));
    await other.close();
    await api.publish({ receiver: user, data: 'fourth' });

    await within('the connection', client.connect());
    await got(client, 'fourth');
    equal('what came in all', data(client), ['unsure', 'first', 'second', 'third', 'fourth']);
    equal('what came again', client.events.repeat.all.filter(({ id }) => id === unsure.id), [{ id: unsure.id, attempt: 1, replayed: true, confirmed: false }]);
    equal('another session', client.state.session !== session, true);
    equal('resumed after', client.lastSeq, 5);

    // A page that is loaded anew goes on where the last one was.
    await within('the place being kept', eventually(() => [...saved.values()].includes('5')));
    await client.close();
    const [fifth] = (await api.publish([{ receiver: user, data: 'fifth' }])).items;
    const reloaded = listen(url, user, { autoConfirm: false, storage });
    await within('the connection', reloaded.connect());
    await got(reloaded, 'fifth');
    equal('what came after the reload', data(reloaded), ['unsure', 'fourth', 'fifth']); // the first two were never confirmed
    await within('the confirmation', reloaded.confirm(fifth.id));

    // A handler that fails gets it again with a later attempt, and only then is it confirmed.
    let failures = 0;
    const off = reloaded.on('notification', ({ data: text }) => {
      if (text === 'sixth' && failures++ === 0) throw new Error('not today');
    });
    reloaded.autoConfirm = true;
    await api.publish({ receiver: user, data: 'sixth' });
    const error = await reloaded.events.error.first('the error', ({ code }) => code === 'handler-failed');
    equal('the error', error.message, 'not today');
    const again = await reloaded.events.notification.first('the second attempt', ({ data: text, attempt }) => text === 'sixth' && attempt === 2);
    equal('replayed', again.replayed, false);
    off();
    await reloaded.close();
  },

  /** What one tab does, the other is told; what is for a topic or for everyone is not confirmed. */
  async between(url, user) {
    const api = new Api(url, user);
    const [one, two] = [listen(url, user), listen(url, user)];
    await within('both connections', Promise.all([one.connect(), two.connect()]));
    say('READY');
    await Promise.all([unreadIs(one, 0), unreadIs(two, 0)]);
    const ids = (await api.publish(['a', 'b', 'c'].map((text) => ({ receiver: user, data: text })))).items.map(({ id }) => id);
    await Promise.all([got(one, 'c'), got(two, 'c'), unreadIs(one, 3), unreadIs(two, 3)]);

    equal('markViewed', await one.markViewed([ids[0], ids[1]]), [ids[0], ids[1]]);
    equal('viewed in the other', await two.events.viewed.first('viewed', () => true), { ids: [ids[0], ids[1]] });
    equal('viewed in its own', await one.events.viewed.first('viewed', () => true), { ids: [ids[0], ids[1]] });
    await Promise.all([unreadIs(one, 1), unreadIs(two, 1)]);
    await two.delete([ids[2]]);
    equal('deleted in the other', await one.events.deleted.first('deleted', () => true), { ids: [ids[2]] });
    await Promise.all([unreadIs(one, 0), unreadIs(two, 0)]);
    equal('the history', (await one.history()).map(({ id, viewed }) => [id, viewed]), [[ids[1], true], [ids[0], true]]);

    const heard = new Arrivals();
    const leave = one.subscribe('/topic/orders', (message) => heard.add(message.data.data));
    await one.send('/app/ack', 'ntf_nobodys'); // behind it the subscription stands
    await api.publish({ topic: 'orders', data: 'on the topic' });
    await heard.first('the topic', (text) => text === 'on the topic');
    await two.send('/topic/orders', { data: 'from a tab' });
    await heard.first('the other tab', (text) => text === 'from a tab');
    leave();
    await one.send('/app/ack', 'ntf_nobodys');
    await api.publish({ topic: 'orders', data: 'nobody listens' });
    await api.publish({ everyone: true, data: 'to all' });
    await Promise.all([got(one, 'to all'), got(two, 'to all')]);
    equal('what the topic said', heard.all, ['on the topic', 'from a tab']);
    equal('errors', [...one.events.error.all, ...two.events.error.all], []);
    await Promise.all([one.close(), two.close()]);
  },

  /** A callback gives tokens: another one when one is refused, and a fresh one in time for the live session. */
  async token(url, user) {
    const name = `${user.replace(/^test/, '')}alice`;
    const asked = new Arrivals();
    let last = false;
    const client = listen(url, async ({ refused }) => {
      asked.add(refused);
      if (asked.all.length === 1) return 'eyJ.not.a-token';
      return last ? null : ask(`TOKEN ${name} 3s`, 'TOKEN');
    });
    await within('the connection', client.connect());
    equal('the user', client.state.user, name);
    equal('asked', asked.all, [null, 'token-malformed']);
    const began = Date.now();
    const { session } = client.state;
    say('READY');
    await within('two renewals', eventually(() => asked.all.length >= 4));
    if (Date.now() - began < 3000) fail('the first token had not expired yet');
    await new Api(url, '').publish({ receiver: name, data: 'still here' });
    await got(client, 'still here');
    equal('the session', client.state.session, session);
    equal('the states', client.events.state.all.map(({ state }) => state), ['connecting', 'waiting', 'connecting', 'connected']);
    equal('errors', client.events.error.all, []);

    // No more tokens: at the end of the last one the session ends, and the client says why.
    last = true;
    const closed = await client.events.state.first('the end', ({ state }) => state === 'closed');
    equal('the end', closed.code, 'token-expired');
  },

  /** The server dies in the middle of it: nothing is lost, nothing is handed on twice, and the order stays. */
  async kill(url, user) {
    const api = new Api(url, user);
    const client = listen(url, user);
    await within('the connection', client.connect());
    say('READY');
    const texts = Array.from({ length: 200 }, (_, index) => `through the crash ${index + 1}`);
    const publishing = (async () => {
      for (const [index, text] of texts.entries()) {
        const draft = { receiver: user, data: text, id: `${user}-${index + 1}` };
        const deadline = Date.now() + PATIENCE;
        // A producer that heard nothing asks again under the same id.
        while (!(await api.publish(draft).catch((error) => (error instanceof TypeError && Date.now() < deadline ? null : Promise.reject(error))))) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    })();
    await got(client, texts[60]);
    const broke = client.events.state.first('the loss', ({ state }) => state === 'waiting');
    await ask('KILL', 'KILLED');
    await broke;
    equal('confirming while it is down', await Promise.race([client.confirm(`${user}-1`), Promise.resolve('kept')]), 'kept');
    const confirmed = client.confirm(`${user}-1`);
    await ask('RESTART', 'RESTARTED');
    await within('the publishing', publishing);
    await got(client, texts.at(-1));
    equal('what came', data(client), texts);
    equal('the seqs', client.events.notification.all.map(({ seq }) => seq), texts.map((_, index) => index + 1));
    equal('the confirmation that waited', await within('it', confirmed), true);
    await unreadIs(client, texts.length);
    await client.close();

    const fresh = listen(url, user);
    await within('the connection', fresh.connect());
    await api.publish({ receiver: user, data: 'a fence' });
    await got(fresh, 'a fence');
    equal('what is left', data(fresh), ['a fence']);
    await fresh.close();
  },
};

async function eventually(check) {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 10));
}

run(async (url, user, ...names) => {
  QuickNotify = await load(url);
  for (const name of names.length ? names : Object.keys(chapters)) {
    await chapters[name](url, names.length ? user : `${user}-${name}`);
    say(`DONE ${name}`);
  }
});

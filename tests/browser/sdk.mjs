/**
 * The browser client as the server serves it, under Node with `ws`: order, resume, dedupe, confirm, unread, events between two
 * clients, fresh tokens in time, a server that dies and a node that dies.
 *
 *     node sdk.mjs http://127.0.0.1:2025 test1 ordered resume between token kill dice renewal nonsense wishes counting socket sockjs
 *     node sdk.mjs http://127.0.0.1:2025 test1 elsewhere=http://127.0.0.1:2026    (another node of its cluster)
 *     node sdk.mjs http://127.0.0.1:2025 test1 crowded                            (with session.max_per_user=1)
 *     node sdk.mjs http://127.0.0.1:2025 test1 admitted                           (with edge.admission.per_second=2, burst=1, max_waiting=1)
 *     node sdk.mjs http://127.0.0.1:2025 test1 drained                            (with edge.return_within_ms=900)
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import SockJS from 'sockjs-client';
import { WebSocket } from 'ws';
import { Api, Arrivals, PATIENCE, ask, equal, fail, run, say, within } from './story.mjs';

const MANY = 500;
let QuickNotify, Addresses, Wait, planRetry;

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
  const part = (name) => import(pathToFileURL(join(folder, `/sdk/${name}.js`)));
  ({ QuickNotify } = await part('quick-notify'));
  ({ Addresses } = await part('addresses'));
  ({ Wait, planRetry } = await part('reconnect'));
  await rm(folder, { recursive: true });
}

/** A client whose every event is kept. */
function listen(url, token, options = {}) {
  const client = new QuickNotify({ url: Array.isArray(url) ? url : `${url}/stomp-ws`, token, WebSocket, reconnect: { min: 50, max: 500 }, ...options });
  const events = {};
  for (const type of ['notification', 'repeat', 'state', 'unread', 'viewed', 'deleted', 'gap', 'topic', 'error']) {
    const arrivals = (events[type] = new Arrivals());
    client.on(type, (detail) => arrivals.add(detail));
  }
  client.on('state', ({ state }) => {
    if (state === 'waiting') events.gone = performance.now();
    if (state === 'connected') events.back = performance.now();
  });
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
    await within('renewals, and the end of the first token', eventually(() => asked.all.length >= 4 && Date.now() - began > 3500));
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
  /** When it comes back is thrown with dice over the whole span, and where it goes, too. */
  async dice() {
    const bounds = { min: 500, max: 30_000 };
    const plan = (ending, attempt, random) => planRetry(ending, attempt, bounds, () => random);
    const longest = (code, attempt) => plan({ code }, attempt, 1).wait;
    equal('the first waits', [0, 1, 2, 5, 6, 99].map((attempt) => longest('closed', attempt)), [500, 1000, 2000, 16_000, 30_000, 30_000]);
    equal('the shortest', plan({ code: 'closed' }, 9, 0), { wait: 0, patient: false });
    equal('a moment that the server named', plan({ code: 'unavailable', retryAfter: 1234 }, 0, 1), { wait: 1234, patient: true });
    const now = (attempt) => plan({ code: 'unavailable', retryAfter: 0 }, attempt, 1);
    equal('when it says “now” for ever', [0, 1, 3, 99].map(now), [0, 1000, 4000, 30_000].map((wait) => ({ wait, patient: true })));
    equal('when it names one again', plan({ code: 'unavailable', retryAfter: 5000 }, 2, 1).wait, 5000);
    equal('no moment beyond reason', plan({ code: 'unavailable', retryAfter: 1e9 }, 0, 1).wait, 300_000);
    equal('a place that died with its node', [plan({ code: 'too-many-sessions' }, 0, 0).wait, longest('too-many-sessions', 0)], [5_000, 10_000]);
    equal('a place that is taken', [plan({ code: 'too-many-sessions' }, 7, 0).wait, longest('too-many-sessions', 7)], [30_000, 60_000]);
    equal('a token that ended', [longest('token-expired', 0), longest('token-expired', 1)], [0, 1000]);

    // An office of 2,000 comes back online: it takes the whole span, and nobody waits longer than before.
    const began = performance.now();
    const waits = Array.from({ length: 2000 }, () => new Wait());
    const ends = waits.map((wait) => wait.pause(60_000, false).then(() => performance.now() - began));
    const soonest = waits[0].pause(30, false);
    equal('those who were woken', waits.filter((wait) => wait.soon(1000)).length, waits.length);
    await within('the one that was almost there', soonest, 900);
    const late = await within('all being back', Promise.all(ends.slice(1)), 5000);
    const tenths = Array.from({ length: 10 }, (_, tenth) => late.filter((ms) => ms >= 100 * tenth && ms < 100 * tenth + 100).length);
    if (Math.max(...tenths) > 500) fail(`of 2000 in a second, these came in each tenth: ${tenths}`);
    const patient = new Wait();
    patient.pause(60_000, true);
    equal('one that was told when', patient.soon(1), false);
    patient.end();

    const urls = ['https://a.example/stomp-ws', 'wss://b.example/x/stomp-ws', 'http://c.example/stomp-ws'];
    const firsts = new Map();
    for (let n = 0; n < 300; n += 1) {
      const addresses = new Addresses(urls, 'ws');
      const seen = urls.map(() => [addresses.current, addresses.failed()][0]);
      equal('each in turn', [...seen].sort(), ['ws://c.example/stomp-ws', 'wss://a.example/stomp-ws', 'wss://b.example/x/stomp-ws']);
      equal('and again', addresses.current, seen[0]);
      equal('the name', addresses.name, 'ws://c.example/stomp-ws');
      firsts.set(seen[0], (firsts.get(seen[0]) ?? 0) + 1);
    }
    equal('an even share', [...firsts.values()].map((count) => count > 50), [true, true, true]);
    equal('REST', new Addresses(urls[1], 'ws').rest, 'https://b.example/x');
    equal('REST of a host with a telling name', new Addresses('wss://stomp-ws.example/stomp-ws', 'ws').rest, 'https://stomp-ws.example');
    equal('REST below another path', new Addresses('ws://stomp-ws.example/x/stomp-ws/websocket?y=/stomp-ws', 'ws').rest, 'http://stomp-ws.example/x');
    equal('for SockJS', new Addresses(urls[1], 'http').current, 'https://b.example/x/stomp-ws');
  },

  /** Fresh tokens are hard to get: the session goes on, and no token stands anywhere it shouldn't. */
  async renewal(url, user) {
    const name = `${user.replace(/^test/, '')}bob`;
    const told = [];
    for (const level of ['log', 'info', 'warn', 'error', 'debug']) console[level] = (...what) => told.push(what.map(String).join(' '));
    const saved = new Map();
    const storage = { getItem: (key) => saved.get(key) ?? null, setItem: (key, value) => saved.set(key, value) };
    const given = [];
    const asked = [];
    let mood = 'well';
    const client = listen(url, async ({ refused }) => {
      asked.push({ refused, at: Date.now() });
      if (mood === 'broken') throw new Error('the shop is closed');
      if (mood === 'stale') return given.at(-1);
      given.push(await ask(`TOKEN ${name} 8s`, 'TOKEN'));
      return given.at(-1);
    }, { storage });
    const fresh = (count) => within(`token ${count}`, eventually(() => given.length >= count));
    await within('the connection', client.connect());
    const { session } = client.state;
    say('READY');

    // In time: not before half of its life, and before its end.
    await fresh(2);
    const life = asked[1].at - asked[0].at;
    if (life < 3000 || life > 7000) fail(`a token of 8 s was renewed after ${life} ms`);
    mood = 'broken';
    await within('two failures', eventually(() => client.events.error.all.length >= 2));
    mood = 'well';
    await fresh(3);
    mood = 'stale';
    const before = asked.length;
    await within('two old ones', eventually(() => asked.length >= before + 2));
    mood = 'well';
    await fresh(4);
    const end = JSON.parse(atob(given[2].split('.')[1])).exp * 1000;
    await within('the end of the third', eventually(() => Date.now() > end + 500));
    await new Api(url, '').publish({ receiver: name, data: 'still the same session' });
    await got(client, 'still the same session');
    equal('the session', client.state.session, session);
    equal('why it asked', asked.filter(({ refused }) => refused !== null), []);
    equal('the errors', [...new Set(client.events.error.all.map(({ code, message }) => `${code}: ${message}`))], ['token-refresh-failed: the shop is closed']);
    equal('the states', client.events.state.all.map(({ state }) => state), ['connecting', 'connected']);

    // REST uses the token of the session; what is closed asks for none.
    await client.history();
    await client.close();
    const closed = asked.length;
    const last = JSON.parse(atob(given.at(-1).split('.')[1])).exp * 1000;
    await within('the end of the last one', eventually(() => Date.now() > last));
    equal('asked after the close', asked.length - closed, 0);
    const everything = [...told, ...Object.values(client.events).flatMap(({ all = [] }) => all.map((detail) => `${JSON.stringify(detail)} ${detail?.stack}`)), ...saved.keys(), ...saved.values()].join('\n');
    equal('something was kept', saved.size, 1);
    equal('tokens told', given.filter((token) => everything.includes(token.split('.')[2])), []);
  },

  /** Whoever gives the tokens errs: what is no token ends no session, and one that was refused may be replaced a little later. */
  async nonsense(url, user) {
    const name = `${user.replace(/^test/, '')}carol`;
    const asked = [];
    let mood = 'well';
    const client = listen(url, async () => {
      asked.push(mood);
      return mood === 'well' ? `  ${await ask(`TOKEN ${name} 10s`, 'TOKEN')}\r\n` : mood;
    });
    await within('the connection', client.connect());
    say('READY');
    const end = Date.now() + 10_000;
    const { session } = client.state;
    for (const answer of ['Bad Gateway', '<html>\n<h1>Bad Gateway</h1>']) {
      mood = answer;
      await within(`“${answer}” being asked for`, eventually(() => asked.includes(answer)));
    }
    mood = 'well';
    await within('a token', eventually(() => asked.at(-1) === 'well'));
    await within('the end of the first', eventually(() => Date.now() > end + 500));
    await new Api(url, '').publish({ receiver: name, data: 'after the nonsense' });
    await got(client, 'after the nonsense');
    equal('the session', client.state.session, session);
    equal('the states', client.events.state.all.map(({ state }) => state), ['connecting', 'connected']);
    equal('the errors', [...new Set(client.events.error.all.map(({ code, message }) => `${code}: ${message}`))], ['token-refresh-failed: that is no token']);
    await client.close();

    // Before there is a session.
    const answers = ['two\nlines', 'eyJ.not.a-token', 'eyJ.not.a-token', 'eyJ.not.a-token\n'];
    const starting = listen(url, () => answers.shift() ?? user);
    await within('the connection', starting.connect());
    const waits = starting.events.state.all.filter(({ state }) => state === 'waiting');
    equal('why it waited', waits.map(({ code }) => code), ['callback-failed', 'token-malformed', 'callback-failed', 'callback-failed']);
    equal('what it said', waits[0].message, 'No token could be had: that is no token');
    await starting.close();

    // It never gives another one.
    let calls = 0;
    const hopeless = listen(url, () => ((calls += 1), 'eyJ.not.a-token'));
    equal('the end', await within('the end', hopeless.connect().catch(({ code }) => code)), 'token-malformed');
    equal('how often it asked', calls, 7);
  },

  /** Told to connect and to close in one breath, it ends as it was told last. */
  async wishes(url, user) {
    const client = listen(url, user);
    await within('the connection', client.connect());
    say('READY');
    const outcome = (wish) => within('the outcome', wish.then(() => 'connected', ({ code }) => code));
    const closed = [client.close()];
    const wish = client.connect();
    closed.push(client.close());
    equal('the wish that was taken back', await outcome(wish), 'disconnected');
    await within('the closes', Promise.all(closed));
    equal('the end', client.state.state, 'closed');

    await within('the connection', client.connect());
    const leaving = [client.close()];
    const taken = client.connect();
    leaving.push(client.close());
    const kept = client.connect();
    equal('both wishes', [await outcome(taken), await outcome(kept)], ['disconnected', 'connected']);
    await within('the closes', Promise.all(leaving));
    await new Api(url, user).publish({ receiver: user, data: 'there again' });
    await got(client, 'there again');
    await client.close();
  },

  /** The number of unread can't be had at first: it is asked for again, and an error that nobody listens for is told. */
  async counting(url, user) {
    const told = [];
    console.error = (...what) => told.push(what);
    let refusals = 3;
    const front = createServer(async ({ url: path, headers: { authorization } }, response) => {
      if (refusals-- > 0) return void response.writeHead(503).end();
      const answer = await fetch(url + path, { headers: { Authorization: authorization } });
      response.writeHead(answer.status).end(await answer.text());
    });
    await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
    const options = { url: `http://127.0.0.1:${front.address().port}/stomp-ws`, socket: () => new WebSocket(`${url.replace(/^http/, 'ws')}/stomp-ws`) };
    await new Api(url, user).publish({ receiver: user, data: 'unread' });
    const client = listen(url, user, options);
    client.autoConfirm = false;
    await within('the connection', client.connect());
    say('READY');
    await unreadIs(client, 1);
    equal('the refusals that are left', refusals < 0, true);
    equal('the errors', client.events.error.all.map(({ code, status }) => [code, status]), [['unread-unknown', undefined]]);
    equal('its cause', client.events.error.all[0].cause.status, 503);
    equal('what was told on the console', told, []);
    await client.close();

    refusals = 1;
    const deaf = new QuickNotify({ token: user, ...options });
    const known = new Promise((resolve) => deaf.on('unread', resolve));
    await within('the connection', deaf.connect());
    equal('unread', await within('the number', known), 1);
    equal('what was told on the console', told.map(([error]) => [error.code, error.cause.status]), [['unread-unknown', 503]]);
    await deaf.close();
    front.close();
  },

  /** Where WebSockets are blocked, the application brings what behaves like one; the url is what SockJS takes. */
  async socket(url, user) {
    const opened = [];
    const socket = (address) => {
      opened.push(address);
      return new WebSocket(address.replace(/^http/, 'ws'));
    };
    const client = listen(`${url.replace(/^http/, 'ws')}`, user, { socket, WebSocket: undefined });
    await within('the connection', client.connect());
    say('READY');
    await new Api(url, user).publish({ receiver: user, data: 'through the hook' });
    await got(client, 'through the hook');
    await unreadIs(client, 1);
    equal('what was opened', opened, [`${url}/stomp-ws`]);
    equal('errors', client.events.error.all, []);
    await client.close();

    // A hook that fails is a line that can't be had: it is tried again.
    let calls = 0;
    const broken = listen(url, user, { socket: (address) => (calls++ ? socket(address) : fail('no socket today')) });
    await within('the connection', broken.connect());
    equal('the first try', broken.events.state.all[1].code, 'unreachable');
    await broken.close();
  },

  /** Over SockJS as `sockjs-client` speaks it: each transport takes, confirms, and is back after a crash with what was missed. */
  async sockjs(url, user) {
    const api = new Api(url, user);
    const clients = ['websocket', 'xhr-streaming', 'xhr-polling'].map((transport) => {
      const socket = (address) => new SockJS(address, null, { transports: [transport] });
      return Object.assign(listen(url, `${user}-${transport}`, { socket }), { name: `${user}-${transport}` });
    });
    await within('the connections', Promise.all(clients.map((client) => client.connect())));
    say('READY');
    const texts = Array.from({ length: 50 }, (_, index) => `over SockJS ${index + 1}`);
    const publish = (texts) => Promise.all(clients.map(({ name }) => api.publish(texts.map((text) => ({ receiver: name, data: text })))));
    await publish(texts);
    await Promise.all(clients.map((client) => got(client, texts.at(-1))));
    const broke = clients.map((client) => client.events.state.first('the loss', ({ state }) => state === 'waiting'));
    await ask('KILL', 'KILLED');
    await Promise.all(broke);
    await ask('RESTART', 'RESTARTED');
    await publish(['after the crash']);
    await Promise.all(clients.map((client) => got(client, 'after the crash')));
    for (const client of clients) {
      equal(`what ${client.name} saw`, data(client), [...texts, 'after the crash']);
      await unreadIs(client, texts.length + 1);
      await client.close();
    }
    const fresh = clients.map(({ name }) => listen(url, name));
    await within('the connections', Promise.all(fresh.map((client) => client.connect())));
    await publish(['a fence']);
    await Promise.all(fresh.map((client) => got(client, 'a fence')));
    for (const client of fresh) {
      equal('what is left', data(client), ['a fence']);
      await client.close();
    }
  },

  /** The user has as many sessions as are allowed: it waits for its turn, and at the user's word tries at once. */
  async crowded(url, user) {
    const first = listen(url, user);
    await within('the connection', first.connect());
    say('READY');
    const second = listen(url, user);
    const there = second.connect();
    const waiting = await second.events.state.first('the refusal', ({ state }) => state === 'waiting');
    equal('why', waiting.code, 'too-many-sessions');
    const wait = waiting.retryAt - Date.now();
    if (wait < 4000 || wait > 10_000) fail(`it waits ${wait} ms for its place`);
    await first.close();
    await new Api(url, user).publish({ receiver: user, data: 'for the second' });
    second.connect();
    await within('the place', there);
    await got(second, 'for the second');
    equal('the first tab', first.state.code, 'disconnected');

    // Closed and wanted again in one breath.
    const closing = second.close();
    await within('the connection', second.connect());
    await closing;
    equal('the end', second.state.state, 'connected');
    await second.close();
  },

  /** More come at once than are let in: each is told when to come back, keeps to it, and is in. */
  async admitted(url, user) {
    const clients = Array.from({ length: 8 }, (_, n) => listen(url, `${user}-${n}`));
    const waits = [];
    for (const client of clients) {
      let told;
      client.on('state', ({ state, code, retryAt }) => {
        if (state === 'waiting') told = { code, ms: retryAt - Date.now(), from: performance.now() };
        if (state === 'connecting' && told) waits.push({ ...told, waited: performance.now() - told.from });
      });
    }
    await within('all being in', Promise.all(clients.map((client) => client.connect())), 30_000);
    say('READY');
    if (!waits.length) fail('nobody was sent away');
    equal('why', [...new Set(waits.map(({ code }) => code))], ['unavailable']);
    equal('those who came too early', waits.filter(({ ms, waited }) => waited < ms - 20), []);
    equal('those who were told of no time', waits.filter(({ ms }) => ms < 100), []);
    const tries = clients.map((client) => client.events.state.all.filter(({ state }) => state === 'connecting').length);
    if (Math.max(...tries) > 4) fail(`so often each tried: ${tries}`);
    await Promise.all(clients.map((client) => client.close()));
  },

  /** A server that goes says when to come back, and a client keeps to it. */
  async drained(url, user) {
    const client = listen(url, user, { reconnect: { min: 5000, max: 5000 } });
    await within('the connection', client.connect());
    say('READY');
    const broke = client.events.state.first('the farewell', ({ state }) => state === 'waiting');
    const gone = ask('DRAIN', 'DRAINED');
    const { code, retryAt } = await broke;
    equal('why', code, 'draining');
    if (retryAt - Date.now() > 900) fail(`it waits ${retryAt - Date.now()} ms, and the server named 900 at most`);
    await gone;
    await ask('RESTART', 'RESTARTED');
    client.connect();
    await new Api(url, user).publish({ receiver: user, data: 'after the roll' });
    await got(client, 'after the roll');
    await client.close();
  },

  /** The node dies, with tabs of three users on it: each is back on the other one, and saw everything once, in order. */
  async elsewhere(url, user, other) {
    const api = new Api(other, '');
    const users = [1, 2, 3].map((n) => `${user}-${n}`);
    // Each resumes behind a first one, which is over: so it is given all after it, also what another tab confirmed before this one had looked into the inbox.
    for (const name of users) {
      const { id } = await api.publish({ receiver: name, data: 'before' });
      const viewed = () => fetch(`${other}/api/notify/viewed`, { method: 'POST', headers: { Authorization: name, 'Content-Type': 'application/json' }, body: JSON.stringify([id]) });
      const over = async () => (await (await viewed()).json()).data.ids.length === 1;
      await within('the end of the first', (async () => { while (!(await over())); })());
    }
    const storage = { getItem: () => '1', setItem() {} };
    const tabs = users.flatMap((name) => Array.from({ length: 4 }, () => Object.assign(listen([url, other].map((node) => `${node}/stomp-ws`), name, { reconnect: {}, storage }), { name })));
    await within('all connections', Promise.all(tabs.map((tab) => tab.connect())));
    say('READY');
    const texts = Array.from({ length: 150 }, (_, index) => `on whichever node ${index + 1}`);
    const publishing = (async () => {
      for (const text of texts) await api.publish(users.map((receiver) => ({ receiver, data: text })));
    })();
    await Promise.all(tabs.map((tab) => got(tab, texts[50])));
    await ask('KILL', 'KILLED');
    await within('the publishing', publishing);
    await Promise.all(tabs.map((tab) => got(tab, texts.at(-1))));
    const moved = tabs.filter((tab) => tab.events.state.all.some(({ state }) => state === 'waiting'));
    say(`MOVED ${moved.length} of ${tabs.length}`);
    if (!moved.length || moved.length === tabs.length) fail('all tabs were on one node');
    for (const tab of tabs) {
      equal(`what ${tab.name} saw`, data(tab), texts);
      equal('the seqs', tab.events.notification.all.map(({ seq }) => seq), texts.map((_, index) => index + 2));
    }
    for (const tab of moved) {
      const [lost, ...rest] = tab.events.state.all.slice(2);
      equal('its ways', [lost.state, ...rest.map(({ state }) => state)], ['waiting', 'connecting', 'connected']);
      if (tab.events.back - tab.events.gone > 3000) fail(`it was back after ${tab.events.back - tab.events.gone} ms`);
    }
    say(`BACK after ${moved.map((tab) => Math.round(tab.events.back - tab.events.gone))} ms`);
    await Promise.all(tabs.map((tab) => within('its inbox over the other node', tab.history())));
    await Promise.all(tabs.map((tab) => tab.close()));

    // All was confirmed, wherever.
    for (const name of users) {
      const fresh = listen(other, name);
      await within('the connection', fresh.connect());
      await api.publish({ receiver: name, data: 'a fence' });
      await got(fresh, 'a fence');
      equal('what is left', data(fresh), ['a fence']);
      await fresh.close();
    }
  },
};

async function eventually(check) {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 10));
}

run(async (url, user, ...names) => {
  await load(url);
  for (const [name, argument] of names.map((name) => name.split('='))) {
    await chapters[name](url, names.length === 1 ? user : `${user}-${name}`, argument);
    say(`DONE ${name}`);
  }
});

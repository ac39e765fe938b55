/**
 * What the programs here have in common: lines to and from whoever runs them, waiting with a deadline, publishing and
 * REST as a back end does it, what the contract says of a MESSAGE, and the story that each third-party client tells.
 *
 * # The lines
 * The program says on stdout `READY`, `GOT id attempt`, and at its end `OK` (exit code 0). It asks, and goes on when the
 * answer stands on its stdin:
 *
 *     KILL                 kill -9 the server             KILLED
 *     DRAIN                stop it as a roll does         DRAINED
 *     STOP                 let it stand still             STOPPED
 *     CONTINUE             let it go on                   CONTINUED
 *     RESTART              start it again, same port      RESTARTED
 *     TOKEN user 5s        a JWT for that user            TOKEN eyJ...
 *
 * What goes wrong is told on stderr, and the exit code is 1. `tests/it/programs.rs` is who runs them.
 */

import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';

const flag = process.argv.find((argument) => argument.startsWith('--patience='));

/** Longest wait (ms) for anything that should come at once: a machine that builds meanwhile is slow. */
export const PATIENCE = Number(flag?.split('=')[1] ?? 20_000);

export class Failed extends Error {}

/** @returns {never} */
export function fail(message) {
  throw new Failed(message);
}

export function equal(what, found, expected) {
  if (!isDeepStrictEqual(found, expected)) fail(`${what} is ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

export async function within(what, promise, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, no) => (timer = setTimeout(() => no(new Failed(`${what} did not happen within ${ms} ms`)), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const say = (line) => process.stdout.write(`${line}\n`);

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks whoever runs this program; the answer begins with `word`, and what follows it is returned. */
export async function ask(question, word) {
  say(question);
  const { value, done } = await within(`the answer to ${question}`, answers.next(), 60_000);
  if (done || !value.startsWith(word)) fail(`${question} was answered with ${value ?? 'the end of stdin'}, not ${word}`);
  return value.slice(word.length).trim();
}

/** Runs a program to its end, and leaves no doubt how it ended. */
export async function run(program) {
  process.on('unhandledRejection', giveUp);
  try {
    await program(...process.argv.slice(2).filter((argument) => argument !== flag));
    say('OK');
    process.exit(0);
  } catch (error) {
    giveUp(error);
  }
}

/** For callbacks whose caller would swallow an exception. */
export function giveUp(error) {
  console.error(error instanceof Failed ? `FAILED: ${error.stack.split('\n').slice(0, 6).join('\n')}` : error);
  process.exit(1);
}

/** Values that arrive one by one, and who waits for one of them. */
export class Arrivals {
  all = [];
  #waiting = [];

  add(value) {
    this.all.push(value);
    this.#waiting = this.#waiting.filter(({ wanted, resolve }) => !wanted(value) || resolve(value));
  }

  /** The first that is `wanted`, whether it has come or is to come. */
  first(what, wanted, ms) {
    const found = this.all.find(wanted);
    if (found !== undefined) return Promise.resolve(found);
    return within(what, new Promise((resolve) => this.#waiting.push({ wanted, resolve })), ms);
  }
}

/** A back end, and a user's REST calls. */
export class Api {
  constructor(url, token) {
    Object.assign(this, { url, token });
  }

  /** Publishes one draft or an array; answers with the receipt. */
  async publish(draft) {
    const headers = { 'Content-Type': 'application/json' };
    const { status, answer } = await this.#call('/api/notify', { method: 'POST', headers, body: JSON.stringify(draft) });
    if (status !== 202) fail(`POST /api/notify answered ${status}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async history(size = 100) {
    return this.#mine(`/api/notify/history?created=${Date.now() + 60_000}&page_num=0&page_size=${size}`);
  }

  /** Waits until the inbox lists them: accepted is not yet stored. */
  async lists(ids) {
    const listed = async () => {
      for (;;) {
        const known = new Set((await this.history()).map(({ id }) => id));
        if (ids.every((id) => known.has(id))) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await within(`the inbox listing ${ids}`, listed());
  }

  async unread() {
    return (await this.#mine('/api/notify/unread')).unread;
  }

  async viewed(ids) {
    return this.#mine('/api/notify/viewed', 'POST', ids);
  }

  async delete(ids) {
    return this.#mine('/api/notify/delete', 'DELETE', ids);
  }

  async #mine(path, method = 'GET', body) {
    const headers = { Authorization: this.token, ...(body && { 'Content-Type': 'application/json' }) };
    const { status, answer } = await this.#call(path, { method, headers, body: body && JSON.stringify(body) });
    if (status !== 200 || answer?.code !== 200) fail(`${method} ${path} answered ${status}: ${JSON.stringify(answer)}`);
    return answer.data;
  }

  async #call(path, init) {
    const response = await fetch(this.url + path, { ...init, signal: AbortSignal.timeout(PATIENCE) });
    return { status: response.status, answer: await response.json().catch(() => null) };
  }
}

/** Every MESSAGE that a user's sessions get, each held against the contract as it comes. */
export class Watch {
  arrivals = new Arrivals();
  #session = 0;
  #stored = 0;
  #published = 0;
  #live = false;
  /** @type {Map<string, number>} attempts of each id in this session */ #attempts = new Map();
  /** @type {Map<string, {at: number, session: number}>} */ #confirmed = new Map();
  /** @type {Map<string, number>} */ seqs = new Map();
  #lastSeq = 0;

  constructor(user) {
    this.user = user;
    this.started = Date.now();
  }

  /** A session begins: what is known to be stored, up to this seq, is replayed to it. */
  newSession(stored) {
    this.#session += 1;
    this.#stored = stored;
    this.#published = Infinity;
    this.#live = false;
    this.#attempts.clear();
    this.#lastSeq = 0;
  }

  /** Its subscription stands: what is published after this seq is new to it. */
  sessionStands(published) {
    this.#published = published;
  }

  confirmed(id) {
    this.#confirmed.set(id, { at: Date.now(), session: this.#session });
  }

  /** What this session got. */
  inThisSession() {
    return this.arrivals.all.filter(({ session }) => session === this.#session);
  }

  /** @param {Record<string, string>} headers @param {string} text @param {string} subscription its id */
  take(headers, text, subscription) {
    try {
      this.#check(headers, text, subscription);
    } catch (error) {
      giveUp(error);
    }
  }

  #check(headers, text, subscription) {
    const body = JSON.parse(text);
    const id = body.id;
    const attempt = (this.#attempts.get(id) ?? 0) + 1;
    this.#attempts.set(id, attempt);
    say(`GOT ${id} ${headers.attempt}`);
    const what = `of ${id} (${JSON.stringify(body.data)})`;

    const confirmed = this.#confirmed.get(id);
    if (confirmed && (confirmed.session !== this.#session || Date.now() - confirmed.at > 500)) fail(`${id} was confirmed, and came again: ${text}`);

    equal(`the message-id ${what}`, headers['message-id'], id);
    equal(`the ack header ${what}`, headers.ack, id);
    equal(`the destination ${what}`, headers.destination, '/user/queue/msg');
    equal(`the subscription ${what}`, headers.subscription, subscription);
    equal(`the content-type ${what}`, headers['content-type'], 'application/json');
    equal(`the attempt ${what}`, headers.attempt, String(attempt));

    equal(`the fields ${what}`, Object.keys(body).sort(), ['ack_last_sent', 'ack_retry_count', 'created', 'data', 'id', 'receiver', 'type', 'viewed']);
    equal(`the receiver ${what}`, body.receiver, this.user);
    equal(`viewed ${what}`, body.viewed, false);
    equal(`ack_retry_count ${what}`, body.ack_retry_count, attempt - 1);
    if (!(body.created >= this.started - 1000 && body.created <= Date.now() + 1000)) fail(`created ${what} is ${body.created}, not epoch ms of now`);
    if (attempt === 1) equal(`ack_last_sent ${what}`, body.ack_last_sent, body.created);
    else if (!(body.ack_last_sent >= body.created && body.ack_last_sent <= Date.now() + 1000)) fail(`ack_last_sent ${what} is ${body.ack_last_sent}`);

    if (body.type === 'STRING_MSG') this.#place(id, Number(headers.seq), attempt, headers.replayed, what);
    else equal(`the seq ${what}`, headers.seq, undefined); // told, not kept
    this.arrivals.add({ id, attempt, headers, body, session: this.#session });
  }

  #place(id, seq, attempt, replayed, what) {
    if (!Number.isInteger(seq) || seq < 1) fail(`the seq ${what} is ${seq}`);
    equal(`the seq ${what}, compared with before,`, seq, this.seqs.get(id) ?? seq);
    this.seqs.set(id, seq);
    if (attempt > 1) return;
    if (seq <= this.#stored) equal(`replayed ${what}, stored before the session began,`, replayed, 'true');
    if (seq > this.#published) {
      // The record is read behind the receipt, so the first may have been in it; who publishes another has seen this one.
      if (this.#live) equal(`replayed ${what}, published while the session was there,`, replayed, undefined);
      this.#live = true;
    }
    if (seq <= this.#lastSeq) fail(`seq ${seq} ${what} came after seq ${this.#lastSeq}`);
    this.#lastSeq = seq;
  }

  delivery(id, attempt = 1, ms) {
    const session = this.#session;
    return this.arrivals.first(`delivery ${attempt} of ${id}`, (d) => d.id === id && d.attempt === attempt && d.session === session, ms);
  }

  ofType(type, ms) {
    const session = this.#session;
    return this.arrivals.first(`a ${type}`, (d) => d.body.type === type && d.session === session, ms);
  }
}

/**
 * The story. `Client` is a third-party client, used as its own users do:
 * `new Client(url, token, take)`; `connect()` answers with the headers of CONNECTED once the subscription to
 * `/user/queue/msg` stands; `confirm(delivery)`; `confirmStored(delivery)` waits for the receipt; `disconnect()`;
 * `lost()` resolves when the connection broke; `reconnect(restarted)` is what it does then: by itself whenever it likes, or
 * by its page, after the promise `restarted`. `Client.noticesAtReturn`: it breaks only when the server is back.
 */
export async function tell(Client, url, token, user = token) {
  const api = new Api(url, token);
  const watch = new Watch(user);
  const client = new Client(url, token, (headers, text) => watch.take(headers, text, client.subscription));
  let published = 0; // this user's notifications are numbered from 1, without gaps
  const ids = [];
  const publish = async (data) => {
    const receipt = await api.publish({ receiver: user, type: 'STRING_MSG', data });
    equal('the receipt', { state: receipt.state, durability: receipt.durability }, { state: 'accepted', durability: 'fsynced' });
    if (!/^ntf_/.test(receipt.id)) fail(`the id ${receipt.id} does not begin with ntf_`);
    published += 1;
    ids.push(receipt.id);
    return receipt.id;
  };
  const connect = async (how = () => client.connect(), stored = published) => {
    watch.newSession(stored);
    const connected = await how();
    equal('user-name of CONNECTED', connected['user-name'], user);
    equal('heart-beat of CONNECTED', connected['heart-beat'], '10000,10000');
    equal('version of CONNECTED', connected.version, Client.version);
    watch.sessionStands(published);
  };
  const confirm = async (delivery) => {
    await client.confirmStored(delivery);
    watch.confirmed(delivery.id);
  };
  /** Whatever should not have come would have come before this. */
  const onlyNow = async (data, before = []) => {
    const id = await publish(data);
    await confirm(await watch.delivery(id));
    equal('what this session got', watch.inThisSession().filter(({ attempt }) => attempt === 1).map((d) => d.id), [...before, id]);
  };

  // It takes a notification, and confirms it.
  await connect();
  say('READY');
  const text = 'one: ünï😀\n"quoted" <b> </script> \u2028 \u200f';
  const one = await watch.delivery(await publish(text));
  equal('its data', one.body.data, text);
  equal('its type', one.body.type, 'STRING_MSG');
  client.confirm(one);
  watch.confirmed(one.id);

  // What it does not confirm comes again, and says which attempt it is; what it confirmed does not.
  const two = await publish('two');
  await watch.delivery(two);
  const again = await watch.delivery(two, 2);
  equal('ack_retry_count of the second attempt', again.body.ack_retry_count, 1);
  await confirm(await watch.delivery(two, 3));

  // It is away; what it missed comes once, and is told from what is new.
  await client.disconnect();
  const missed = [await publish('three'), await publish('four')];
  await api.lists(missed);
  await connect();
  for (const id of missed) await confirm(await watch.delivery(id));
  await onlyNow('five', missed);

  // What it confirmed never comes again.
  await client.disconnect();
  await connect();
  await onlyNow('six');

  // The server dies: what was confirmed stays so, and what was accepted comes.
  const seven = await watch.delivery(await publish('seven'));
  const lost = client.lost();
  const eight = await publish('eight');
  await ask('KILL', 'KILLED');
  if (!Client.noticesAtReturn) await within('the loss of the connection', lost);
  const restarted = ask('RESTART', 'RESTARTED');
  await within('the loss of the connection', lost);
  await connect(() => client.reconnect(restarted), watch.seqs.get(seven.id));
  await restarted;
  for (const id of [seven.id, eight]) await confirm(await watch.delivery(id));
  await onlyNow('nine', [seven.id, eight]);

  // All of it is in the inbox, once; the user reads and deletes, and the session is told.
  const listed = await api.history();
  equal('the history', listed.map(({ id }) => id), [...ids].reverse());
  equal('the receivers', [...new Set(listed.map(({ receiver }) => receiver))], [user]);
  equal('the seqs', ids.map((id) => watch.seqs.get(id)), ids.map((_, index) => index + 1));
  equal('unread', await api.unread(), published);
  equal('the answer to viewed', await api.viewed([one.id, two]), { ids: [one.id, two] });
  const viewed = await watch.ofType('NOTIFY_VIEWED');
  equal('the data of NOTIFY_VIEWED', viewed.body.data, { ids: [one.id, two] });
  await confirm(viewed);
  equal('unread after viewed', await api.unread(), published - 2);
  equal('the answer to delete', await api.delete([one.id]), { ids: [one.id] });
  const deleted = await watch.ofType('NOTIFY_DELETED');
  equal('the data of NOTIFY_DELETED', deleted.body.data, { ids: [one.id] });
  await confirm(deleted);
  equal('the history after delete', (await api.history()).map(({ id, viewed }) => [id, viewed]), [...ids].reverse().filter((id) => id !== one.id).map((id) => [id, id === two]));

  // A last look: nothing is left over.
  await client.disconnect();
  await connect();
  await onlyNow('ten');
  await client.disconnect();
}

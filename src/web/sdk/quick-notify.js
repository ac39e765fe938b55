/**
 * quick-notify in the browser: one subscription that gives what was missed, what is unread, and what comes.
 *
 *     async function token() {
 *       const answer = await fetch('/my/token');
 *       if (!answer.ok) throw new Error(`no token: ${answer.status}`); // it is asked again
 *       return answer.text();
 *     }
 *     const client = new QuickNotify({ token });
 *     client.on('notification', async ({ type, data }) => { ... });
 *     await client.connect();
 *
 * What you can rely on:
 * - At least once, made once a page: the same id is handed to you again only if your handler threw (or forgot: `remember`).
 * - First deliveries start in the order of `seq`. An async handler does not hold up the next notification.
 * - With `autoConfirm`, a notification is confirmed after all its handlers returned or resolved. One that threw is not; the
 *   server sends it again. Without a handler nothing is confirmed. Otherwise call `confirm(id)`, also while offline.
 * - It reconnects until you `close()` it or no fresh token is to be had: full-jitter exponential backoff, the server's
 *   `retry-after` where it gives one, soon when the computer is online or the page is seen again. It resumes after the last
 *   `seq`, at the next of its addresses if it was given several.
 * - The token is renewed on the live session before it ends. It is in no log, no event and no storage.
 * - A handler that throws ends nothing: it becomes an 'error' event, or a line on the console if nobody listens for those.
 *   Everything kept has a bound.
 *
 * Runs in browsers and, given a WebSocket where there is none, in Node 20 and later. No dependency, no build step.
 * Beside it: stomp.js (frames), connection.js (one session), topics.js, addresses.js (where), reconnect.js (when), wakes.js (a page's
 * sleep), ledger.js (dedupe, resume), place.js (over page loads), token.js, inbox.js (REST), unread.js, types.js (the shapes).
 */

import { Addresses } from './addresses.js';
import { Connection } from './connection.js';
import { NotifyError } from './error.js';
import { Inbox } from './inbox.js';
import { Ledger } from './ledger.js';
import { Place } from './place.js';
import { Wait, blamesTheNode, planRetry } from './reconnect.js';
import { Repeated, TokenSource } from './token.js';
import { Topics } from './topics.js';
import { Unread } from './unread.js';
import { listenForWakes } from './wakes.js';

export { NotifyError };

const QUEUE = '/user/queue/msg';
const CLOSED = 'Closed by this client.';
const STABLE = 5000; // a session that lived this long (ms) starts the backoff anew
const REPEATS = 6; // how often a callback may give a refused token again, with a growing wait, before it is the end
const ROOM = 1000; // ms after which a confirmation that found too much unsent is tried again
const MAX_UNSETTLED = 1024;
const MAX_HELD = 4096;

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Token} Token */
/** @typedef {import('./types.js').Notification} Notification */
/** @typedef {import('./types.js').Stored} Stored */
/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Events} Events */

export class QuickNotify {
  autoConfirm;
  #options;
  #addresses;
  #place;
  #token;
  #inbox;
  #ledger;
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  /** @type {State} */ #state = { state: 'idle' };
  /** @type {Connection | null} */ #connection = null;
  /** @type {Promise<void> | null} */ #running = null;
  /** @type {ReturnType<typeof deferred> | null} a `connect()` that came while it closes */ #wish = null;
  #stop = new AbortController();
  #connected = deferred();
  #wait = new Wait();
  #attempt = 0;
  #repeats = 0;
  /** @type {string | undefined} */ #user;
  #unread;
  /** ids that this session was given and did not ACK: only these may be confirmed by an ACK frame */
  #held = new Set();
  /** @type {Map<string, ReturnType<typeof deferred>>} confirmations whose receipt has not come */ #unsettled = new Map();
  #topics;

  /** @param {Options} options */
  constructor(options) {
    const { url, token, autoConfirm = true, WebSocket = globalThis.WebSocket, socket } = options;
    if (!token) throw new TypeError('QuickNotify needs a token, or a function that gives one.');
    if (!WebSocket && !socket) throw new TypeError('This platform has no WebSocket: pass one as `WebSocket`.');
    this.#options = {
      countUnread: true, heartBeat: 10_000, connectTimeout: 15_000, ...options,
      open: socket ?? ((/** @type {string} */ address) => new WebSocket(address, ['v12.stomp'])),
      reconnect: { min: 500, max: 30_000, ...options.reconnect },
    };
    this.autoConfirm = autoConfirm;
    this.#addresses = new Addresses(url, socket ? 'http' : 'ws');
    this.#ledger = new Ledger(options);
    this.#place = new Place(options.storage, () => `quick-notify ${this.#addresses.name} ${this.#user} last-seq`, () => this.lastSeq);
    this.#token = new TokenSource(token, (fresh) => this.#renewed(fresh), (error) => this.#report('token-refresh-failed', error));
    this.#inbox = new Inbox(() => this.#addresses.rest, (refused) => this.#restToken(refused));
    this.#topics = new Topics(
      () => (this.#state.state === 'connected' ? this.#connection : null),
      (listeners, message) => {
        for (const listener of listeners) this.#call(listener, message);
        this.#emit('topic', message);
      },
      (error, destination) => this.#report(/** @type {NotifyError} */ (error).code, error, { destination }),
    );
    this.#unread = new Unread(() => this.#inbox.unread(), (value) => this.#emit('unread', value), (error, failures) => {
      if (this.#connection && failures === 1) this.#report('unread-unknown', error);
      return this.#state.state === 'connected';
    });
  }

  /** @returns {State} */
  get state() { return this.#state; }

  /** Unread notifications in the inbox; null while unknown. */
  get unread() { return this.#unread.value; }

  /** The seq after which the next session resumes; 0 before anything came. */
  get lastSeq() { return this.#ledger.resumeAt; }

  /**
   * @template {keyof Events} K
   * @param {K} type @param {(detail: Events[K]) => unknown} listener @returns {() => void} takes the listener off
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Connects, or tries again now if it was waiting to. Resolves when connected; rejects only when the client gives up.
   * @returns {Promise<void>}
   */
  connect() {
    if (this.#running && this.#stop.signal.aborted) return (this.#wish ??= deferred()).promise; // first it has to be closed
    if (!this.#running) {
      this.#stop = new AbortController();
      this.#connected = deferred();
      this.#running = this.#run();
    }
    this.#wait.end();
    return this.#connected.promise;
  }

  /** Leaves for good (until `connect()`), after what was confirmed has arrived. */
  async close() {
    const running = this.#running;
    this.#wish?.reject(new NotifyError('disconnected', CLOSED));
    this.#wish = null;
    this.#stop.abort();
    this.#wait.end();
    await this.#connection?.disconnect();
    await running;
    this.#place.flush();
  }

  /**
   * Confirms: no session of the user gets it again. While offline it is kept, and sent with the next session.
   * @param {string | {id: string}} notification
   * @returns {Promise<boolean>} true when the server has stored it; false if the client was closed before it said so
   */
  confirm(notification) {
    const id = typeof notification === 'string' ? notification : notification.id;
    let settled = this.#unsettled.get(id);
    if (!settled) {
      if (this.#unsettled.size >= MAX_UNSETTLED) return Promise.resolve(false);
      this.#unsettled.set(id, (settled = deferred()));
      this.#ledger.confirmed(id);
      this.#place.changed();
      this.#settle(id);
    }
    return /** @type {Promise<any>} */ (settled.promise);
  }

  /**
   * It outlives this session. What the server refuses is an 'error' event.
   * @param {string} destination e.g. `/topic/orders`
   * @param {(message: Events['topic']) => unknown} [listener] beside the 'topic' event
   * @returns {() => void} unsubscribes
   */
  subscribe(destination, listener = () => {}) {
    return this.#topics.subscribe(destination, listener);
  }

  /**
   * @param {string} destination @param {unknown} body a string is sent as it is, anything else as JSON
   * @param {Record<string, string>} [headers]
   * @returns {Promise<void>} resolves when the server took it; rejects when it refused or there is no connection
   */
  async send(destination, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const type = typeof body === 'string' ? 'text/plain' : 'application/json';
    await this.#live().request('SEND', { destination, 'content-type': type, ...headers }, text);
  }

  /** Extends this session with a fresh token, which reconnects use too unless there is a token callback. @param {string} token */
  async refreshToken(token) {
    const fresh = this.#token.use(token);
    if (this.#state.state === 'connected') await this.send('/app/token', fresh);
  }

  /** Asks the server; see `unread` for the number kept up to date. */
  async unreadCount() { return (await this.#inbox.unread()).unread; }

  /** @param {{before?: number, page?: number, size?: number}} [range] created before this epoch ms; pages from 0 */
  async history(range) { return this.#inbox.history(range); }

  /** @param {string[]} ids */
  async markViewed(ids) { return this.#changed(await this.#inbox.markViewed(ids)); }

  /** @param {string[]} ids */
  async delete(ids) { return this.#changed(await this.#inbox.delete(ids)); }

  // ---- the life of the client: a session after another, and a wait between them

  async #run() {
    const ending = await this.#sessions();
    this.#running = null;
    for (const { resolve } of this.#unsettled.values()) resolve(false);
    this.#unsettled.clear();
    this.#connected.reject(new NotifyError(ending.code, ending.message));
    this.#setState({ state: 'closed', code: ending.code, message: ending.message });
    const wish = this.#wish;
    this.#wish = null;
    if (wish) this.connect().then(wish.resolve, wish.reject);
  }

  /** One session after another. @returns {Promise<{code: string, message: string}>} why there will be no more */
  async #sessions() {
    const { signal } = this.#stop;
    const { reconnect } = this.#options;
    let refused = /** @type {string | null} */ (null);
    this.#attempt = this.#repeats = 0;
    const stopListening = listenForWakes({ back: (many) => this.#back(many), leaving: () => this.#place.flush() });
    try {
      for (;;) {
        const ending = await this.#session(refused);
        if (signal.aborted) break;
        if (ending.code !== 'callback-failed') refused = ending.code.startsWith('token-') ? ending.code : null;
        if (ending.final || (refused && this.#token.isFixed)) return ending;
        if (ending.lasted >= STABLE) this.#attempt = 0;
        if (blamesTheNode(ending.code)) this.#addresses.failed();
        const { wait, patient } = planRetry(ending, this.#attempt++, reconnect);
        const pause = this.#wait.pause(wait, patient);
        this.#setState({ state: 'waiting', code: ending.code, message: ending.message, retryAt: Date.now() + wait });
        await pause;
        if (signal.aborted) break;
      }
      return { code: 'disconnected', message: CLOSED };
    } finally {
      stopListening();
    }
  }

  /** The page or the computer may have been away: whatever waited or stood still goes on. @param {boolean} many */
  #back(many) {
    const { min } = this.#options.reconnect;
    const spread = many ? 4 * min : min;
    if (this.#wait.soon(spread)) this.#attempt = 0;
    this.#connection?.probe();
    this.#token.look(many ? spread : 0);
  }

  /** @param {string | null} refused @returns {Promise<{code: string, message: string, retryAfter?: number | null, lasted: number, final?: boolean}>} */
  async #session(refused) {
    this.#setState({ state: 'connecting' });
    let token;
    try {
      token = await this.#token.ask(refused, this.#stop.signal);
    } catch (error) {
      if (refused && error instanceof Repeated && ++this.#repeats >= REPEATS) return { code: refused, message: 'There is no other token.', lasted: 0, final: true };
      return { code: 'callback-failed', message: `No token could be had: ${message(error)}`, lasted: 0 };
    }
    if (this.#stop.signal.aborted) return { code: 'disconnected', message: '', lasted: 0 };
    if (!token) return { code: refused ?? 'token-missing', message: 'There is no fresh token.', lasted: 0, final: true };
    this.#token.use(token);

    const { open, heartBeat, connectTimeout } = this.#options;
    this.#connection = new Connection({
      url: this.#addresses.current, open, heartBeat, connectTimeout, token,
      onConnected: (headers) => this.#begin(headers),
      onFrame: (frame) => (frame.headers.subscription === 'sub-0' ? this.#take(frame) : this.#topics.take(frame)),
    });
    const ending = await this.#connection.ended;
    this.#connection = null;
    this.#token.rest();
    this.#unread.rest();
    if (ending.lasted) this.#connected = deferred();
    return ending;
  }

  /** @param {Record<string, string>} connected the CONNECTED frame's headers */
  #begin(connected) {
    const user = connected['user-name'];
    if (user !== this.#user) this.#become(user);
    this.#held.clear();
    this.#repeats = 0;
    // First what was confirmed while offline, so that the server need not replay it.
    for (const id of this.#unsettled.keys()) this.#settle(id);
    const last = this.#ledger.resumeAt;
    this.#try('SUBSCRIBE', { id: 'sub-0', destination: QUEUE, ack: 'client-individual', 'last-seq': last || null });
    if (this.#connection) this.#topics.begin(this.#connection);
    this.#token.keep();
    this.#setState({ state: 'connected', session: connected.session });
    this.#connected.resolve(undefined);
    this.#count();
  }

  /** Another user's ids and seqs mean nothing. @param {string} user */
  #become(user) {
    const known = this.#user !== undefined;
    this.#user = user;
    for (const { resolve } of known ? this.#unsettled.values() : []) resolve(false);
    if (known) this.#unsettled.clear();
    this.#ledger = new Ledger({ ...this.#options, resumeAt: this.#place.kept });
    this.#unread.forget();
  }

  /** @param {string} token */
  async #renewed(token) {
    try {
      await this.refreshToken(token);
    } catch (error) {
      const { code } = /** @type {NotifyError} */ (error);
      if (code !== 'closed' && code !== 'not-connected') throw error; // the session has ended: the next one asks anew
    }
  }

  /** @param {string} [refused] the token that a REST call was refused with */
  async #restToken(refused) {
    const { current } = this.#token;
    if (current && current !== refused) return current;
    const token = await this.#token.ask(refused ? 'token-refused' : null).catch((error) => {
      if (refused) return null; // the answer that refused it says more
      throw new NotifyError('callback-failed', `No token could be had: ${message(error)}`, { cause: error });
    });
    if (token && this.#state.state === 'connected') this.#renewed(token).catch((error) => this.#report('token-refresh-failed', error));
    else if (token) this.#token.use(token);
    return token;
  }

  // ---- what comes

  /** @param {import('./stomp.js').Frame} frame from the personal queue */
  #take({ headers, body }) {
    const id = headers['message-id'];
    const parsed = attemptOr(null, () => JSON.parse(body));
    if (!id || !parsed) return this.#report('malformed-frame', new Error('A notification without id or JSON was dropped.'));
    const attempt = Number(headers.attempt ?? 1);
    const replayed = headers.replayed === 'true';
    const seq = headers.seq === undefined ? null : Number(headers.seq);
    if (headers.ack && attempt === 1 && this.#held.size < MAX_HELD) this.#held.add(id);

    if (parsed.type === 'REPLAY_GAP') {
      this.#ledger.restart(Math.max(0, Number(parsed.data?.from) - 1 || 0));
      this.#place.changed();
      this.#try('SEND', { destination: '/app/ack' }, id); // it is in no record: an ACK frame might be refused
      return this.#emit('gap', parsed.data);
    }
    const known = this.#ledger.take(id, seq);
    if (known !== 'new' && known !== 'failed') {
      if (known === 'confirmed') this.#acknowledge(id);
      return this.#emit('repeat', { id, attempt, replayed, confirmed: known === 'confirmed' });
    }
    if (parsed.type === 'NOTIFY_VIEWED' || parsed.type === 'NOTIFY_DELETED') {
      this.#acknowledge(id);
      this.#count();
      return this.#emit(parsed.type === 'NOTIFY_VIEWED' ? 'viewed' : 'deleted', { ids: parsed.data?.ids ?? [] });
    }
    if (known === 'new' && seq !== null && !parsed.viewed) this.#unread.came(seq);
    const { type, receiver, data, viewed = false, created } = parsed;
    this.#hand({ id, type, receiver, data, viewed, created, seq, attempt, replayed });
  }

  /** @param {Notification} notification */
  async #hand(notification) {
    const { id, receiver } = notification;
    const ledger = this.#ledger;
    const listeners = [...(this.#listeners.get('notification') ?? [])];
    // All are started before this function first waits: that keeps the order.
    const ends = await Promise.allSettled(listeners.map(async (listener) => listener(notification)));
    const failure = ends.find((end) => end.status === 'rejected');
    if (failure) this.#report('handler-failed', failure.reason, { id });
    if (failure || !listeners.length) return ledger.failed(id);
    ledger.handed(id);
    this.#place.changed();
    if (this.autoConfirm && receiver !== '*' && ledger === this.#ledger) this.#acknowledge(id);
  }

  /** Confirms without waiting: if it is lost, the server sends the notification again, and that is confirmed again. @param {string} id */
  #acknowledge(id) {
    this.#ledger.confirmed(id);
    this.#try(...this.#confirmation(id));
  }

  /** @param {string} id */
  async #settle(id) {
    const connection = this.#state.state === 'connected' || this.#state.state === 'connecting' ? this.#connection : null;
    try {
      await connection?.request(...this.#confirmation(id));
      if (connection) this.#unsettled.get(id)?.resolve(true), this.#unsettled.delete(id);
    } catch (error) {
      // It stays in #unsettled: the next session sends it again, and this one when there is room.
      const { code, detail } = /** @type {any} */ (error);
      if (code === 'limit-exceeded' && detail === undefined) setTimeout(() => this.#connection === connection && this.#unsettled.has(id) && this.#settle(id), ROOM);
    }
  }

  /** `/app/ack` takes any id, and an ACK frame only those of this session. @param {string} id @returns {[string, Record<string, unknown>, string?]} */
  #confirmation(id) {
    if (this.#held.delete(id)) return ['ACK', { id }];
    return ['SEND', { destination: '/app/ack', 'content-type': 'text/plain' }, id];
  }

  // ---- small things

  async #count() {
    if (this.#options.countUnread) await this.#unread.count();
  }

  /** @param {string[]} ids */
  #changed(ids) {
    this.#count();
    return ids;
  }

  /** @param {State} state */
  #setState(state) {
    this.#state = { user: this.#user, ...state };
    this.#emit('state', this.#state);
  }

  /** @param {keyof Events} type @param {any} detail */
  #emit(type, detail) {
    for (const listener of this.#listeners.get(type) ?? []) this.#call(listener, detail, type);
  }

  /** @param {Function} listener @param {any} detail @param {string} [type] */
  async #call(listener, detail, type) {
    try {
      await listener(detail);
    } catch (error) {
      if (type === 'error') console.error(error);
      else this.#report('handler-failed', error);
    }
  }

  /** @param {string} code @param {unknown} cause @param {object} [more] */
  #report(code, cause, more) {
    const error = new NotifyError(code, message(cause), { cause, ...more });
    if (this.#listeners.get('error')?.size) this.#emit('error', error);
    else console.error(error);
  }

  #live() {
    if (!this.#connection) throw new NotifyError('not-connected', 'There is no connection.');
    return this.#connection;
  }

  /** Sends what needs no answer and is not missed when there is no connection. @param {string} command @param {any} headers @param {string} [body] */
  #try(command, headers, body) {
    attemptOr(null, () => this.#connection?.send(command, headers, body));
  }
}

function deferred() {
  let resolve = /** @type {(value: any) => void} */ (() => {});
  let reject = /** @type {(error: unknown) => void} */ (() => {});
  const promise = /** @type {Promise<any>} */ (new Promise((yes, no) => ([resolve, reject] = [yes, no])));
  promise.catch(() => {}); // whoever does not wait for it learns by the 'state' event
  return { promise, resolve, reject };
}

/** @template T @param {T} fallback @param {() => any} step */
function attemptOr(fallback, step) {
  try {
    return step();
  } catch {
    return fallback;
  }
}

/** @param {unknown} error */
const message = (error) => String(/** @type {any} */ (error)?.message ?? error);

/**
 * Where the token comes from: a fixed text, or a callback that is asked before each connect, in time before a JWT's `exp`, and
 * when one was refused. Never logs or stores it.
 *
 * While a session lives (`keep` until `rest`), a token is renewed after 70 to 90 % of what is left of it, by dice, since
 * thousands of pages may hold tokens of one moment; at least 5 s before its end, if it has ten. A callback that fails, or that
 * has only the old token, is asked again with a growing wait for as long as the session lives. So is one that gives an opaque text
 * in place of a JWT, such as a proxy's error: it does not replace what works. A token without a readable `exp` is asked for when the
 * server ends the session with `token-expired`.
 */

const MARGIN = 5_000; // ms before exp that a fresh token is asked for at the latest
const PATIENCE = 30_000; // ms that the callback may take
const RETRY = { min: 500, max: 30_000 };
const NO_TOKEN = 'that is no token'; // never what it is instead: it may hold one
const LONGEST = 24 * 3600_000; // a timer of more than 24.8 days would fire at once

/** @typedef {import('./types.js').Token} Token */

/** The callback gave what had just been refused: it may have another one a little later. */
export class Repeated extends Error {}

export class TokenSource {
  /** @type {string | null} */ current = null;
  #source;
  #renewed;
  #failed;
  /** @type {AbortController | null} of the session that is kept */ #kept = null;
  #due = NaN;
  #failures = 0;
  #asking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {Token} source
   * @param {(token: string) => Promise<void>} renewed hands a fresh token to the live session
   * @param {(error: unknown) => void} failed there is none; it will be asked for again
   */
  constructor(source, renewed, failed) {
    this.#source = typeof source === 'string' ? cleaned(source) ?? '' : source;
    this.#renewed = renewed;
    this.#failed = failed;
  }

  /** A fixed token that was refused stays refused. */
  get isFixed() {
    return typeof this.#source === 'string';
  }

  /**
   * @param {string | null} refused the code with which the current one was refused
   * @param {AbortSignal | null} [signal]
   * @returns {Promise<string | null>} null: there is none. Rejects when the callback fails, and with Repeated.
   */
  async ask(refused, signal) {
    const source = this.#source;
    if (typeof source === 'string') return refused ? null : source;
    const token = cleaned(await within(PATIENCE, signal, async () => source({ refused })));
    if (refused && token !== null && token === this.current) throw new Repeated('the callback gives the refused one again');
    return token;
  }

  /** @param {string} given @returns {string} the token in it */
  use(given) {
    const token = cleaned(given) ?? '';
    this.current = token;
    this.#failures = 0;
    if (typeof this.#source === 'string') this.#source = token;
    this.#plan(this.#kept ? renewAfter(token) : NaN);
    return token;
  }

  /** A session lives by the current token, until `rest()`. */
  keep() {
    this.#kept = new AbortController();
    if (this.current) this.use(this.current);
  }

  /** No session, nothing to renew. */
  rest() {
    this.#kept?.abort();
    this.#kept = null;
    this.#plan(NaN);
  }

  /** Timers stand still while a computer sleeps: is it time by the clock? @param {number} [spread] ms, by dice, within which to ask if it is */
  look(spread = 0) {
    const left = this.#due - Date.now();
    if (left > 0) this.#plan(left);
    else if (left <= 0 && spread) this.#plan(Math.random() * spread);
    else if (left <= 0) this.#renew();
  }

  /** @param {number} ms NaN: never */
  #plan(ms) {
    clearTimeout(this.#timer);
    this.#due = ms >= 0 && !this.isFixed ? Date.now() + ms : NaN;
    if (this.#due) this.#timer = setTimeout(() => this.look(), Math.min(ms, LONGEST));
  }

  async #renew() {
    const kept = this.#kept;
    if (!kept || this.#asking || this.isFixed) return;
    this.#asking = true;
    try {
      const old = this.current;
      const token = await this.ask(null, kept.signal);
      if (this.#kept !== kept || this.current !== old) return; // another session, or somebody was faster
      if (token === null) return; // no more: the session ends with the token that it has
      if (isYounger(token, old)) return await this.#renewed(token);
      if (Number.isNaN(claims(token).exp)) throw new Error(NO_TOKEN);
      this.#later();
    } catch (error) {
      if (this.#kept !== kept) return;
      this.#later();
      this.#failed(error);
    } finally {
      this.#asking = false;
    }
  }

  #later() {
    const left = Math.max(claims(this.current ?? '').exp - Date.now(), 0) / 3 || RETRY.max;
    const backoff = Math.min(RETRY.max, RETRY.min * 2 ** Math.min(this.#failures++, 10));
    this.#plan(Math.max(RETRY.min, Math.min(backoff, left)) * (0.5 + Math.random() / 2));
  }
}

/** @param {unknown} given by the application: text with white space around it, as a file or a shell gives it @returns {string | null} */
function cleaned(given) {
  if (given === null || given === undefined) return null;
  const token = typeof given === 'string' ? given.trim() : '\n';
  if (/[\r\n\0]/.test(token)) throw new TypeError(NO_TOKEN); // it would be a header of its own, or an end
  return token || null;
}

/** @param {string} token @returns {number} ms from now; NaN when it doesn't say */
function renewAfter(token) {
  const { exp, iat } = claims(token);
  const life = exp - iat;
  let left = exp - Date.now();
  // A clock that is wrong: what is left can't be more than the whole life, and the server has just taken it.
  if (life > 0 && (left > life || left <= 0)) left = life;
  return Math.min(left * (0.7 + 0.2 * Math.random()), Math.max(left - MARGIN, left / 2));
}

/** Whether it is worth sending: the server ends a session that sends one that is over. @param {string} token @param {string | null} old */
function isYounger(token, old) {
  if (token === old) return false;
  const end = claims(old ?? '').exp;
  return Number.isNaN(end) || claims(token).exp > end;
}

/** @param {string} token @returns {{exp: number, iat: number}} epoch ms, NaN where it has none. Only hints: the server verifies. */
function claims(token) {
  const payload = token.split('.')[1] ?? '';
  try {
    const { exp, iat } = JSON.parse(atob(payload.replace(/-/g, '+').replace(/_/g, '/')));
    return { exp: exp * 1000, iat: iat * 1000 };
  } catch {
    return { exp: NaN, iat: NaN };
  }
}

/** @template T @param {number} ms @param {AbortSignal | null | undefined} signal @param {() => Promise<T>} ask @returns {Promise<T>} */
function within(ms, signal, ask) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error('closed by this client'));
    if (signal?.aborted) return abort();
    const answer = ask();
    if (signal?.aborted) abort(); // the callback itself closed the client
    const timer = setTimeout(() => reject(new Error('the token callback took too long')), signal?.aborted ? 0 : ms);
    signal?.addEventListener('abort', abort, { once: true });
    answer.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    });
  });
}

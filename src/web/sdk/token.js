/**
 * Where the token comes from: a fixed text, or a callback that is asked before each connect, before a JWT's `exp`, and when
 * one was refused. Never logs or stores it.
 */

const EARLY = 60_000; // ms before exp that a fresh token is asked for
const PATIENCE = 30_000; // ms that the callback may take
const LONGEST = 24 * 3600_000; // a timer of more than 24.8 days would fire at once

/** @typedef {string | ((why: {refused: string | null}) => string | null | Promise<string | null>)} Token */

export class TokenSource {
  /** @type {string | null} */ current = null;
  #source;
  #renew;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {Token} source @param {(old: string) => void} renew called in time before the current token's `exp` */
  constructor(source, renew) {
    this.#source = source;
    this.#renew = renew;
  }

  /** A fixed token that was refused stays refused. */
  get isFixed() {
    return typeof this.#source === 'string';
  }

  /**
   * @param {string | null} refused the code with which the current one was refused
   * @param {AbortSignal} [signal]
   * @returns {Promise<string | null>} null: there is no (other) one. Rejects when the callback fails.
   */
  async ask(refused, signal) {
    if (typeof this.#source === 'string') return refused ? null : this.#source;
    const token = await within(PATIENCE, signal, Promise.resolve(this.#source({ refused })));
    return refused && token === this.current ? null : token;
  }

  /** @param {string} token */
  use(token) {
    this.current = token;
    this.rest();
    if (typeof this.#source === 'string') {
      this.#source = token;
      return;
    }
    const left = expiry(token) - Date.now();
    if (left > 0) this.#timer = setTimeout(() => this.#renew(token), Math.min(left - Math.min(EARLY, left / 5), LONGEST));
  }

  /** No session, nothing to renew. */
  rest() {
    clearTimeout(this.#timer);
  }
}

/** @param {string} token @returns {number} epoch ms of a JWT's `exp`, NaN if it has none. Only a hint: the server verifies. */
function expiry(token) {
  const payload = token.split('.')[1] ?? '';
  try {
    return JSON.parse(atob(payload.replace(/-/g, '+').replace(/_/g, '/'))).exp * 1000;
  } catch {
    return NaN;
  }
}

/** @template T @param {number} ms @param {AbortSignal | undefined} signal @param {Promise<T>} promise @returns {Promise<T>} */
function within(ms, signal, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the token callback took too long')), ms);
    const abort = () => reject(new Error('closed by this client'));
    signal?.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    });
  });
}

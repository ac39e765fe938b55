/**
 * When to try again, and a wait that an event may cut short.
 *
 * Why full jitter: when a node goes, all its clients come back at once; only dice over the whole span spread them. A
 * `retry-after` from the server is already spread, and is kept to.
 */

const MAX_WAIT = 300_000;

/**
 * Pure but for the dice.
 * @param {{code: string, retryAfter?: number | null}} ending why the last session ended
 * @param {number} attempt from 0
 * @param {{min: number, max: number}} bounds ms
 * @returns {{wait: number, patient: boolean}} `patient`: nothing but the user shortens the wait
 */
export function planRetry({ code, retryAfter }, attempt, { min, max }, random = Math.random) {
  const backoff = random() * Math.min(max, min * 2 ** Math.min(attempt, 20));
  // The server names the moment. From the second time on it is no sooner than without it: one that says 0 for ever is not hammered.
  if (retryAfter != null) return { wait: Math.max(Math.min(retryAfter, MAX_WAIT), attempt > 0 ? backoff : 0), patient: true };
  // The places that died with a node are free after its lease of some seconds; others only when a tab is closed.
  if (code === 'too-many-sessions') return { wait: Math.min(30_000, 5_000 * 2 ** Math.min(attempt, 3)) * (1 + random()), patient: true };
  if (code.startsWith('token-') && attempt === 0) return { wait: 0, patient: false };
  return { wait: backoff, patient: false };
}

/** Whether another address may do better: a token or a user at the limit is refused by all of them. @param {string} code */
export function blamesTheNode(code) {
  return !code.startsWith('token-') && code !== 'too-many-sessions' && code !== 'callback-failed';
}

export class Wait {
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  #done = /** @type {(() => void) | null} */ (null);
  #patient = false;
  #until = 0;

  /** @param {number} ms @param {boolean} patient @returns {Promise<void>} */
  pause(ms, patient) {
    this.#patient = patient;
    return new Promise((resolve) => {
      this.#done = () => (clearTimeout(this.#timer), (this.#done = null), resolve());
      this.#set(ms);
    });
  }

  /** Ends the pause now: the user asked for it. */
  end() {
    this.#done?.();
  }

  /** Ends the pause within `spread` ms, by dice; never later than it would have ended. @param {number} spread @returns {boolean} whether it did */
  soon(spread) {
    if (!this.#done || this.#patient) return false;
    const ms = Math.random() * spread;
    if (performance.now() + ms < this.#until) this.#set(ms);
    return true;
  }

  /** @param {number} ms */
  #set(ms) {
    clearTimeout(this.#timer);
    this.#until = performance.now() + ms;
    this.#timer = setTimeout(() => this.#done?.(), ms);
  }
}

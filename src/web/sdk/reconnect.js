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
  if (retryAfter != null) return { wait: Math.min(retryAfter, MAX_WAIT), patient: true };
  if (code === 'too-many-sessions') return { wait: 30_000 * (1 + random()), patient: true };
  if (code.startsWith('token-') && attempt === 0) return { wait: 0, patient: false };
  return { wait: random() * Math.min(max, min * 2 ** Math.min(attempt, 20)), patient: false };
}

export class Wait {
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  #done = /** @type {(() => void) | null} */ (null);
  #patient = false;
  #hooks = new AbortController();

  /** @param {number} ms @param {boolean} patient @returns {Promise<void>} */
  pause(ms, patient) {
    this.#patient = patient;
    return new Promise((resolve) => {
      this.#done = () => (clearTimeout(this.#timer), (this.#done = null), resolve());
      this.#timer = setTimeout(this.#done, ms);
    });
  }

  /** Ends the pause now: the user asked for it. */
  end() {
    this.#done?.();
  }

  /** Ends the pause soon when the computer comes online or into view; `spread` ms apart, since a whole office does. @param {number} spread */
  listen(spread) {
    const wake = () => {
      if (!this.#done || this.#patient || globalThis.document?.visibilityState === 'hidden') return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(this.#done, Math.random() * spread);
    };
    const { signal } = this.#hooks;
    for (const type of ['online', 'pageshow']) globalThis.addEventListener?.(type, wake, { signal });
    globalThis.document?.addEventListener('visibilitychange', wake, { signal });
  }

  stopListening() {
    this.#hooks.abort();
  }
}

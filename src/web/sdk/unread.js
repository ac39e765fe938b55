/**
 * The number of unread notifications: asked for at each connect and whenever something was viewed or deleted, and one more for
 * each that comes in between.
 *
 * Why the answer says through which `seq` it was counted: what comes while it is under way is in it, or it is not, and only its
 * `seq` tells. Why it asks instead of subtracting: the ids of NOTIFY_VIEWED may have been viewed before, or never shown here.
 *
 * While a session lives (`count` until `rest`), a question that failed is asked again, by dice over a growing span: a server that
 * is short of breath is not asked by all its pages at once.
 */

const RETRY = { min: 1000, max: 60_000 };

export class Unread {
  /** @type {number | null} null: unknown */ value = null;
  #ask;
  #changed;
  #failed;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** All up to this `seq` is in the value. */
  #through = 0;
  /** @type {number[]} what came while it asks */ #meanwhile = [];
  #counting = false;
  #again = false;

  /**
   * @param {() => Promise<{unread: number, last_seq: number}>} ask
   * @param {(value: number | null) => void} changed
   * @param {(error: unknown, failures: number) => boolean} failed whether to ask again
   */
  constructor(ask, changed, failed) {
    this.#ask = ask;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** Asks, and once more if it is called meanwhile: the answer that counts is younger than the call. */
  async count() {
    clearTimeout(this.#timer);
    this.#again = true;
    if (this.#counting) return;
    this.#counting = true;
    try {
      while (this.#again) {
        this.#again = false;
        const { unread, last_seq: last = 0 } = await this.#ask();
        const later = this.#meanwhile.filter((seq) => seq > last);
        this.#through = Math.max(last, ...later);
        this.#meanwhile = later;
        this.#set(unread + later.length);
      }
      this.#failures = 0;
    } catch (error) {
      const span = Math.min(RETRY.max, RETRY.min * 2 ** Math.min(this.#failures++, 20));
      if (this.#failed(error, this.#failures)) this.#timer = setTimeout(() => this.count(), Math.random() * span);
    } finally {
      this.#counting = false;
      this.#meanwhile = [];
    }
  }

  /** A notification that is not viewed came for the first time. @param {number} seq */
  came(seq) {
    if (seq <= this.#through) return;
    if (this.#counting) this.#meanwhile.push(seq);
    else this.#through = seq;
    if (this.value !== null) this.#set(this.value + 1);
  }

  /** No session: the next one asks anew. */
  rest() {
    clearTimeout(this.#timer);
    this.#failures = 0;
  }

  forget() {
    this.#through = 0;
    this.#set(null);
  }

  /** @param {number | null} value */
  #set(value) {
    if (value === this.value) return;
    this.value = value;
    this.#changed(value);
  }
}

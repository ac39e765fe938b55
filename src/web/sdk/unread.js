/**
 * The number of unread notifications: asked for at each connect and whenever something was viewed or deleted, and one more for
 * each that comes in between.
 *
 * Why the answer says through which `seq` it was counted: what comes while it is under way is in it, or it is not, and only its
 * `seq` tells. Why it asks instead of subtracting: the ids of NOTIFY_VIEWED may have been viewed before, or never shown here.
 */

export class Unread {
  /** @type {number | null} null: unknown */ value = null;
  #ask;
  #changed;
  /** All up to this `seq` is in the value. */
  #through = 0;
  /** @type {number[]} what came while it asks */ #meanwhile = [];
  #counting = false;
  #again = false;

  /** @param {() => Promise<{unread: number, last_seq: number}>} ask @param {(value: number | null) => void} changed */
  constructor(ask, changed) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** Asks, and once more if it is called meanwhile: the answer that counts is younger than the call. Rejects when it can't be known. */
  async count() {
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

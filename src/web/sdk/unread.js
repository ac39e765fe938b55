/**
 * The number of unread notifications: asked for at each connect and whenever something was viewed or deleted, and one more
 * for each new notification in between.
 *
 * Why it asks instead of subtracting: the ids of NOTIFY_VIEWED may have been viewed before, or never shown here.
 */

const ROUNDS = 5;

export class Unread {
  /** @type {number | null} null: unknown */ value = null;
  #ask;
  #changed;
  #counting = false;
  #again = false;

  /** @param {() => Promise<number>} ask @param {(value: number | null) => void} changed */
  constructor(ask, changed) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** What comes while it asks makes it ask again, so that the answer is not an old one. Rejects when it can't be known. */
  async count() {
    this.#again = true;
    if (this.#counting) return;
    this.#counting = true;
    try {
      for (let round = 0; this.#again && round < ROUNDS; round += 1) {
        if (round) await new Promise((resolve) => setTimeout(resolve, 200 * round));
        this.#again = false;
        this.#set(await this.#ask());
      }
    } finally {
      this.#counting = false;
    }
  }

  oneMore() {
    if (this.#counting) this.#again = true;
    if (this.value !== null) this.#set(this.value + 1);
  }

  forget() {
    this.#set(null);
  }

  /** @param {number | null} value */
  #set(value) {
    if (value === this.value) return;
    this.value = value;
    this.#changed(value);
  }
}

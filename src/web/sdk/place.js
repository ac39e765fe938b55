/**
 * Where to resume after the page was loaded anew: the `last-seq`, in a storage that the application gives.
 *
 * Why writes are coalesced: a burst of notifications writes once. An older value is harmless: what was shown since comes once
 * more. `flush()` when the page goes spares it that.
 */

const DELAY = 250;

export class Place {
  #storage;
  #name;
  #read;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {import('./types.js').Options['storage']} storage
   * @param {() => string} name of the value
   * @param {() => number} read the value of now
   */
  constructor(storage, name, read) {
    this.#storage = storage;
    this.#name = name;
    this.#read = read;
  }

  /** What was kept; 0 when nothing was, or nothing sensible. */
  get kept() {
    try {
      const saved = Number(this.#storage?.getItem(this.#name()));
      return Number.isSafeInteger(saved) && saved > 0 ? saved : 0;
    } catch {
      return 0; // a storage may be forbidden
    }
  }

  changed() {
    if (this.#storage && !this.#timer) this.#timer = setTimeout(() => this.flush(), DELAY);
  }

  flush() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      this.#storage?.setItem(this.#name(), String(this.#read()));
    } catch {
      // Full or forbidden: the place is kept for as long as the page lives.
    }
  }
}

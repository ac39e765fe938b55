/**
 * What the list holds: the newest of the inbox without a gap, newest first, and what came without being kept.
 *
 * Pure: no I/O, no clock. Holds at most `max` rows, and remembers MEMORY ids that were deleted or read.
 *
 * Why it remembers: an answer that was on its way when something was deleted or read still shows it as it was.
 */

const MEMORY = 2048;

/**
 * A notification as the list shows it: of the SDK's shape; `kept` is false for what is in no inbox.
 * @typedef {{id: string, type: string, receiver: string, data: any, viewed: boolean, created: number, kept: boolean}} Row
 */

export class Rows {
  /** @type {Row[]} newest first */ all = [];
  #max;
  /** @type {Set<string>} */ #removed = new Set();
  /** @type {Set<string>} */ #viewed = new Set();
  /** @type {Set<string>} ids that came live since the last `replace` began */ #live = new Set();

  /** @param {number} max */
  constructor(max) {
    this.#max = max;
  }

  /** How many of them the inbox has. */
  get kept() {
    return this.all.filter((row) => row.kept).length;
  }

  /** Those of the inbox that were here when a `replace` began, and older ones since. @returns {Set<string>} ids */
  get settled() {
    return new Set(this.all.filter(({ id, kept }) => kept && !this.#live.has(id)).map(({ id }) => id));
  }

  get isFull() {
    return this.all.length >= this.#max;
  }

  /** @param {string} id */
  get(id) {
    return this.all.find((row) => row.id === id);
  }

  /** It came just now. @param {Row} row */
  arrive(row) {
    if (this.get(row.id) || !this.#take(row)) return;
    this.all.unshift(row);
    note(this.#live, row.id);
    this.#trim();
  }

  /** From here on a `replace` is under way: what comes live may be newer than its answer. */
  expectReplacement() {
    this.#live.clear();
  }

  /** The newest rows of the inbox, as they are now: what is not among them is gone, unless it came meanwhile. @param {Row[]} rows */
  replace(rows) {
    const answered = new Set(rows.map(({ id }) => id));
    const others = this.all.filter(({ id, kept }) => !answered.has(id) && (!kept || this.#live.has(id)));
    this.all = rows.filter((row) => this.#take(row));
    for (const row of others.reverse()) {
      const place = this.all.findIndex(({ created }) => created <= row.created);
      this.all.splice(place < 0 ? this.all.length : place, 0, row);
    }
    this.#trim();
  }

  /** A further page; answers how many were new. @param {Row[]} rows */
  append(rows) {
    const known = new Set(this.all.map(({ id }) => id));
    const fresh = rows.filter((row) => !known.has(row.id) && this.#take(row));
    this.all.push(...fresh);
    this.#trim();
    return fresh.length;
  }

  /** @param {string[]} ids */
  markViewed(ids) {
    for (const id of ids) {
      note(this.#viewed, id);
      const row = this.get(id);
      if (row) row.viewed = true;
    }
  }

  /** @param {string[]} ids */
  remove(ids) {
    for (const id of ids) note(this.#removed, id);
    const gone = new Set(ids);
    this.all = this.all.filter(({ id }) => !gone.has(id));
  }

  /** Read or deleted before it came? @param {Row} row @returns {boolean} whether it is to be shown */
  #take(row) {
    if (this.#viewed.has(row.id)) row.viewed = true;
    return !this.#removed.has(row.id);
  }

  #trim() {
    if (this.all.length > this.#max) this.all.length = this.#max;
  }
}

/** @param {Set<string>} set @param {string} id the oldest goes when there are too many */
export function note(set, id) {
  set.delete(id);
  set.add(id);
  if (set.size > MEMORY) set.delete(set.values().next().value ?? '');
}

/**
 * The inbox behind one list: reads it page by page, keeps it right while things come, are read and are deleted here or
 * elsewhere, and changes it. Says `changed()` after each step; never throws out of an event.
 *
 * In: a QuickNotify. It is read when somebody looks (`look()`), and again after a break when somebody looks: ten thousand
 * closed bells that come back at once ask for nothing.
 *
 * Why pages are counted from what is known, and not by time: the inbox is in the order of `seq`, and `created` comes from
 * several computers' clocks. Each page asked for begins within what is known; if it does not touch it, the one before is asked for, too.
 */

import { Rows } from './rows.js';

const MARK_AT_ONCE = 100; // ids a request, and rows a page, when all are marked as read
const MARK_PAGES = 100; // so 10,000 of the newest are looked at
const TRIES = 8; // pages of one `more()`

/** @typedef {import('../quick-notify.js').QuickNotify} QuickNotify */
/** @typedef {import('../quick-notify.js').Notification} Notification */
/** @typedef {import('./rows.js').Row} Row */

export class Feed {
  rows;
  /** @type {'unread' | 'loading' | 'ready' | 'failed'} unread: nobody has looked yet */ standing = 'unread';
  /** Older ones may be had. */ hasMore = false;
  loadingMore = false;
  markingAll = false;
  #client;
  #size;
  #max;
  #changed;
  #looking = false;
  #stale = true;
  #again = false;
  #closed = false;

  /** @param {{client: QuickNotify, size: number, max: number, changed: () => void}} options */
  constructor({ client, size, max, changed }) {
    this.#client = client;
    this.#size = size;
    this.#max = max;
    this.#changed = changed;
    this.rows = new Rows(max);
  }

  /** Nobody wants its answers any more. */
  close() {
    this.#closed = true;
  }

  /** Somebody looks: what is stale is read. */
  look() {
    this.#looking = true;
    if (this.#stale) this.reload();
  }

  lookAway() {
    this.#looking = false;
  }

  /** Something may have happened that no event told. */
  doubt() {
    this.#stale = true;
    if (this.#looking) this.reload();
  }

  /** @param {Notification} notification as it came, to this tab for the first time */
  arrive({ id, type, receiver, data, viewed, created, seq, replayed }) {
    const kept = seq !== null && receiver !== '*';
    // What waited may be older than what is shown; reading the inbox tells its place.
    if (kept && replayed) return this.rows.get(id) || this.doubt();
    if (kept && this.standing === 'unread') return; // the inbox will have it
    this.rows.arrive({ id, type, receiver, data, viewed: viewed || !kept, created, kept });
    if (this.rows.isFull) this.hasMore = true; // the oldest may have had to go
    this.#tell();
  }

  /** @param {string[]} ids */
  viewed(ids) {
    this.rows.markViewed(ids);
    this.#tell();
  }

  /** @param {string[]} ids */
  deleted(ids) {
    this.rows.remove(ids);
    this.#tell();
  }

  /** Reads what is new and all that is shown, from the newest on; called meanwhile, it reads once more. */
  async reload() {
    this.#again = true;
    if (this.standing === 'loading') return;
    this.standing = 'loading';
    this.#tell();
    try {
      while (this.#again && !this.#closed) {
        this.#again = this.#stale = false;
        await this.#read();
      }
      this.standing = 'ready';
    } catch {
      this.standing = 'failed';
      this.#stale = true;
    }
    this.#tell();
  }

  async #read() {
    const shown = new Set(this.rows.all.filter(({ kept }) => kept).map(({ id }) => id));
    const found = new Map();
    this.rows.expectReplacement();
    for (let page = 0; ; page += 1) {
      const rows = await this.#page(page, this.#size);
      for (const row of rows) if (!found.has(row.id)) found.set(row.id, row);
      this.hasMore = rows.length >= this.#size;
      if (!this.hasMore || found.size >= this.#max || this.#closed) break;
      // What is shown stands together, and what is new before it: something unknown behind it is older than all of it.
      const met = [...shown].filter((id) => found.has(id)).length;
      const isBehind = met > 0 && !shown.has(rows[rows.length - 1].id);
      if (met === shown.size || isBehind) break;
    }
    if (!this.#closed) this.rows.replace([...found.values()]);
  }

  /** One page more. Rejects when it can't be read. */
  async more() {
    if (this.loadingMore || this.rows.isFull) return;
    this.loadingMore = true;
    this.#tell();
    try {
      let page = Math.floor(Math.max(0, this.rows.kept - 1) / this.#size);
      let rows = await this.#page(page, this.#size);
      while (page > 0 && !rows.some(({ id }) => this.rows.get(id))) rows = await this.#page((page -= 1), this.#size);
      for (let tries = 1; ; tries += 1) {
        const fresh = this.rows.append(rows);
        this.hasMore = rows.length >= this.#size;
        if (fresh || !this.hasMore || tries >= TRIES || this.#closed) break;
        rows = await this.#page((page += 1), this.#size);
      }
    } finally {
      this.loadingMore = false;
      this.#tell();
    }
  }

  /** @param {Row} row */
  async markRead(row) {
    if (row.viewed) return;
    await this.#client.markViewed([row.id]);
    this.viewed([row.id]);
  }

  /** All of the inbox, shown or not. */
  async markAllRead() {
    if (this.markingAll) return;
    this.markingAll = true;
    this.#tell();
    try {
      let left = this.#client.unread ?? Infinity;
      for (let page = 0; page < MARK_PAGES && left > 0 && !this.#closed; page += 1) {
        const rows = await this.#page(page, MARK_AT_ONCE);
        const ids = rows.filter(({ viewed }) => !viewed).map(({ id }) => id);
        if (ids.length) this.viewed((await this.#client.markViewed(ids), ids));
        left -= ids.length;
        if (rows.length < MARK_AT_ONCE) break;
      }
    } finally {
      this.markingAll = false;
      this.#tell();
    }
  }

  /** @param {Row} row */
  async delete(row) {
    if (row.kept) await this.#client.delete([row.id]);
    this.deleted([row.id]);
  }

  /** @param {number} page @param {number} size @returns {Promise<Row[]>} */
  async #page(page, size) {
    const rows = /** @type {any[]} */ (await this.#client.history({ page, size }));
    return rows.map((row) => ({ ...row, viewed: Boolean(row.viewed), kept: true }));
  }

  #tell() {
    if (!this.#closed) this.#changed();
  }
}

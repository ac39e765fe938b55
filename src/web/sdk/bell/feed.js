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
const MARK_PAGES = 100; // so 10,000 of the newest are looked at, fewer if the server gives less at once
const TRIES = 8; // pages of one `more()`, and beginnings of one `reload()`

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
  /** Rows that the server gives at once, as far as it has said. */ #most = Infinity;
  #changed;
  #looking = false;
  #stale = true;
  #again = false;
  #moved = false;
  #closed = false;

  /** @param {{client: QuickNotify, size: number, max: number, changed: () => void}} options */
  constructor({ client, size, max, changed }) {
    this.#client = client;
    this.#size = size; // what is asked for; `#page` may have to ask for less
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
    this.#moved = true; // all that is older is so many places further up
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
    const found = new Map();
    this.rows.expectReplacement();
    this.#moved = false;
    for (let page = 0, tries = 1; ; page += 1) {
      const { rows, isLast } = await this.#page(page, this.#size);
      if (this.#moved && tries < TRIES) {
        // A row may have slipped from the next page into this one, unseen: from the beginning.
        [this.#moved, page, tries] = [false, -1, tries + 1];
        found.clear();
        continue;
      }
      for (const row of rows) if (!found.has(row.id)) found.set(row.id, row);
      this.hasMore = !isLast;
      if (isLast || found.size >= this.#max || this.#closed) break;
      // What is shown by now, and not when it began: somebody may have asked for older ones meanwhile.
      const shown = this.rows.settled;
      // It stands together, and what is new before it: something unknown behind it is older than all of it.
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
      let page = Math.floor(Math.max(0, this.rows.kept - 1) / Math.min(this.#size, this.#most));
      let { rows, isLast } = await this.#page(page, this.#size);
      while (page > 0 && !rows.some(({ id }) => this.rows.get(id))) ({ rows, isLast } = await this.#page((page -= 1), this.#size));
      for (let tries = 1; ; tries += 1) {
        const fresh = this.rows.append(rows);
        this.hasMore = !isLast;
        if (fresh || isLast || tries >= TRIES || this.#closed) break;
        ({ rows, isLast } = await this.#page((page += 1), this.#size));
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

  /** All of the inbox, shown or not. @returns {Promise<boolean>} false: there may be more than it looked at */
  async markAllRead() {
    if (this.markingAll) return false;
    this.markingAll = true;
    this.#tell();
    try {
      let left = this.#client.unread ?? Infinity;
      for (let page = 0; page < MARK_PAGES && left > 0; page += 1) {
        if (this.#closed) return false;
        const { rows, isLast } = await this.#page(page, MARK_AT_ONCE);
        const ids = rows.filter(({ viewed }) => !viewed).map(({ id }) => id);
        if (ids.length) this.viewed((await this.#client.markViewed(ids), ids));
        left -= ids.length;
        if (isLast) return true;
      }
      return left <= 0;
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

  /**
   * A page of `size`, or of as many as the server gives at once (`api.max_page`), which one learns by asking.
   * @param {number} page @param {number} size
   * @returns {Promise<{rows: Row[], isLast: boolean}>}
   */
  async #page(page, size) {
    const asked = Math.min(size, this.#most);
    try {
      const rows = /** @type {any[]} */ (await this.#client.history({ page, size: asked }));
      return { rows: rows.map((row) => ({ ...row, viewed: Boolean(row.viewed), kept: true })), isLast: rows.length < asked };
    } catch (error) {
      const { code, field } = /** @type {any} */ (error) ?? {};
      if (code !== 'invalid-field' || field !== 'page_size' || asked <= 1) throw error;
      this.#most = Math.min(this.#most, Math.floor(asked / 2));
      if (page > 0) throw error; // pages of another size have other numbers: whoever asks again counts anew
      return this.#page(page, size);
    }
  }

  #tell() {
    if (!this.#closed) this.#changed();
  }
}

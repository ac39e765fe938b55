/**
 * Remembers what the application was given: which ids to drop when they come again, and where to resume.
 *
 * Pure: no I/O, no clock. Holds at most `remember` ids and HOLD open seqs.
 *
 * Why two marks: the server replays what no session of the user has confirmed, but what another tab confirmed while our
 * handler was failing comes again only if `resumeAt` stayed before it. So an unfinished notification holds `resumeAt`
 * back, by HOLD at most: one that fails for ever must not have everything after it replayed for ever.
 */

const HOLD = 256;

/** @typedef {'busy' | 'failed' | 'handed' | 'confirmed'} Standing  busy: its handlers are at work */

export class Ledger {
  /** @type {Map<string, Standing>} oldest first */ #standing = new Map();
  /** @type {Map<string, number>} seq of each that is not finished */ #open = new Map();
  #highest = 0;
  #remember;

  /** @param {{remember?: number, resumeAt?: number}} [options] */
  constructor({ remember = 4096, resumeAt = 0 } = {}) {
    this.#remember = Math.max(remember, 2 * HOLD);
    this.#highest = resumeAt;
  }

  /**
   * Takes in a delivery and says what was known of it. Only 'new' and 'failed' are to be handed to the application.
   * @param {string} id @param {number | null} seq @returns {Standing | 'new'}
   */
  take(id, seq) {
    const known = this.#standing.get(id) ?? 'new';
    if (known !== 'new' && known !== 'failed') return known;
    this.#set(id, 'busy');
    if (seq !== null) {
      this.#open.set(id, seq);
      if (this.#open.size > HOLD) this.#open.delete(first(this.#open));
      this.#highest = Math.max(this.#highest, seq);
    }
    return known;
  }

  /** @param {string} id its handlers returned */
  handed(id) {
    this.#open.delete(id);
    if (this.#standing.get(id) !== 'confirmed') this.#set(id, 'handed');
  }

  /** @param {string} id a handler threw: the next delivery is handed again */
  failed(id) {
    if (this.#standing.get(id) !== 'confirmed') this.#set(id, 'failed');
  }

  /** @param {string} id */
  confirmed(id) {
    this.#open.delete(id);
    this.#set(id, 'confirmed');
  }

  /** The `last-seq` to resume at: all up to it were finished. 0 when there is nothing to resume. */
  get resumeAt() {
    const unfinished = Math.min(...this.#open.values());
    return Math.max(0, Math.min(this.#highest, Math.max(unfinished - 1, this.#highest - HOLD)));
  }

  /** @param {number} at the server cannot resume where we asked: it goes on after this */
  restart(at) {
    this.#open.clear();
    this.#highest = at;
  }

  /** @param {string} id @param {Standing} standing */
  #set(id, standing) {
    this.#standing.delete(id); // to the young end
    this.#standing.set(id, standing);
    if (this.#standing.size > this.#remember) this.#standing.delete(first(this.#standing));
  }
}

/** @param {Map<string, unknown>} map @returns {string} */
const first = (map) => map.keys().next().value ?? '';

/**
 * The caller's inbox over REST: history, unread, mark as viewed, delete.
 *
 * Each call takes 10 s at most, and rejects with a NotifyError whose `code` is the server's where it gave one, else
 * `http-STATUS` or `unreachable`. A 401 asks once for a fresh token and tries again.
 */

import { NotifyError } from './error.js';

const TIMEOUT = 10_000;
const FAR_FUTURE = 253402300799999; // the last ms of the year 9999: "newest", whatever this computer's clock says

export class Inbox {
  #base;
  #token;

  /** @param {() => string} base e.g. `https://host`, whichever is in use @param {(refused?: string) => Promise<string | null>} token */
  constructor(base, token) {
    this.#base = base;
    this.#token = token;
  }

  /** @returns {Promise<{unread: number, last_seq: number}>} counted through that `seq` */
  async unread() {
    return this.#call('GET', '/api/notify/unread');
  }

  /** @param {{before?: number, page?: number, size?: number}} [range] @returns {Promise<import('./types.js').Stored[]>} newest first */
  async history({ before = FAR_FUTURE, page = 0, size = 20 } = {}) {
    const query = new URLSearchParams({ created: String(before), page_num: String(page), page_size: String(size) });
    return this.#call('GET', `/api/notify/history?${query}`);
  }

  /** @param {string[]} ids @returns {Promise<string[]>} those that were changed */
  async markViewed(ids) {
    return (await this.#call('POST', '/api/notify/viewed', ids))?.ids ?? ids;
  }

  /** @param {string[]} ids @returns {Promise<string[]>} those that were deleted */
  async delete(ids) {
    return (await this.#call('DELETE', '/api/notify/delete', ids))?.ids ?? ids;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} the answer's `data` */
  async #call(method, path, body) {
    const token = await this.#token();
    let response = await this.#fetch(method, path, body, token ?? '');
    if (response.status === 401 && token) {
      const fresh = await this.#token(token);
      if (fresh) response = await this.#fetch(method, path, body, fresh);
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer.data;
    const { code = `http-${response.status}`, field, reason = `The server answered ${response.status}.` } = answer?.error ?? {};
    throw new NotifyError(code, reason, { status: response.status, field });
  }

  /** @param {string} method @param {string} path @param {unknown} body @param {string} token */
  async #fetch(method, path, body, token) {
    const headers = /** @type {Record<string, string>} */ ({ Authorization: token, Accept: 'application/json' });
    if (body) headers['Content-Type'] = 'application/json';
    try {
      return await fetch(this.#base() + path, {
        method, headers, body: body ? JSON.stringify(body) : null, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT),
      });
    } catch {
      throw new NotifyError('unreachable', 'The server cannot be reached.');
    }
  }
}

/**
 * The addresses of one installation, and which of them is in use: the next one is taken after a failure, and kept while it works.
 *
 * Why every client has an order of its own: when a node dies, those that were on it share the load of the others.
 */

export class Addresses {
  #all;
  #at = 0;
  /** What is kept under this name is good whichever address is in use. @type {string} */ name;

  /**
   * @param {string | string[] | undefined} urls without one, that of the page's own host
   * @param {'ws' | 'http'} scheme what the socket takes: a WebSocket `ws:` or `wss:`, SockJS `http:` or `https:`
   */
  constructor(urls, scheme, random = Math.random) {
    const given = [urls ?? '/stomp-ws'].flat();
    if (!given.length) throw new TypeError('QuickNotify needs a url, if it is given a list of them.');
    this.#all = given.map((url) => {
      const address = new URL(url, globalThis.location?.href);
      address.protocol = address.protocol.replace(/^(http|ws)/, scheme);
      return address.href;
    });
    this.name = [...this.#all].sort()[0];
    for (let at = this.#all.length - 1; at > 0; at -= 1) {
      const other = Math.floor(random() * (at + 1));
      [this.#all[at], this.#all[other]] = [this.#all[other], this.#all[at]];
    }
  }

  /** Where sessions are opened. */
  get current() {
    return this.#all[this.#at];
  }

  /** What the paths of REST are put behind. */
  get rest() {
    const { origin, pathname } = new URL(this.current.replace(/^ws/, 'http'));
    return origin + pathname.replace(/\/stomp-ws(\/.*)?$/, '').replace(/\/$/, '');
  }

  failed() {
    this.#at = (this.#at + 1) % this.#all.length;
  }
}

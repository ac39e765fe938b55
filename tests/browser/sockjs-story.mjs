/** The story of `story.mjs`, told over SockJS by a client that may live elsewhere, such as in a page. */

import { SUBSCRIPTION, VERSIONS } from './sockjs.mjs';
import { tell, within } from './story.mjs';

/**
 * Transports that ask again until the server answers, and notice only then that it is another one: `sockjs-client` takes a broken response of
 * theirs for the end of one that was full.
 */
const NOTICES_AT_RETURN = ['eventsource', 'iframe-eventsource', 'jsonp-polling'];

/** @param open `await open(take)` makes a client, and answers with what calls one of its methods by name. */
export function tellOver({ library, transport, url, user }, open) {
  class OverSockJs {
    static version = VERSIONS[library];
    static noticesAtReturn = NOTICES_AT_RETURN.includes(transport);
    subscription = SUBSCRIPTION;
    #call;

    constructor(_url, _token, take) {
      this.#call = open(take);
    }

    connect = () => this.#do('connect', 'CONNECTED');
    confirm = ({ id }) => this.#do('confirm', `the confirmation of ${id}`, id);
    confirmStored = ({ id }) => this.#do('confirmStored', `the receipt for ${id}`, id);
    disconnect = () => this.#do('disconnect', 'the end of the session');

    async lost() {
      return (await this.#call)('lost');
    }

    /** stompjs 7 does it by itself; with the others it is the page's affair. */
    async reconnect(restarted) {
      if (library !== 'stompjs7') await restarted;
      return this.#do('reconnect', 'CONNECTED again');
    }

    async #do(name, what, ...given) {
      const call = await this.#call;
      return within(what, Promise.resolve(call(name, ...given)));
    }
  }
  return tell(OverSockJs, url, user);
}

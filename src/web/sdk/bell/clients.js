/**
 * One client for all the bells of a page that have the same address and the same token (text or callback): a page has one
 * session, however many bells it shows. The first connects it (`connect`), the last that gives it
 * back closes it.
 */

import { QuickNotify } from '../quick-notify.js';

/** @typedef {import('../types.js').Token} Token */
/** @typedef {{client: QuickNotify, connect: () => void, give: () => void}} Borrowed */

/** @type {Map<string, Map<Token, {client: QuickNotify, users: number}>>} by address, then by token */
const shared = new Map();

/**
 * @param {string} address one, several with spaces between, or none: the page's own host
 * @param {Token} token
 * @returns {Borrowed} Throws a TypeError for an address that is none.
 */
export function borrow(address, token) {
  const urls = address.split(/\s+/).filter(Boolean);
  const clients = shared.get(address) ?? new Map();
  const entry = clients.get(token) ?? { client: new QuickNotify({ token, ...(urls.length && { url: urls }) }), users: 0 };
  shared.set(address, clients.set(token, entry));
  entry.users += 1;
  let isMine = true;
  const give = () => {
    if (!isMine) return;
    isMine = false;
    entry.users -= 1;
    if (entry.users) return;
    clients.delete(token);
    if (!clients.size) shared.delete(address);
    entry.client.close();
  };
  const connect = () => {
    // Not while it waits: that would end a wait that the server asked for.
    if (['idle', 'closed'].includes(entry.client.state.state)) entry.client.connect().catch(() => {}); // the 'state' event tells it
  };
  return { client: entry.client, connect, give };
}

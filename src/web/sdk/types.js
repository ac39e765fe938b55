/**
 * The shapes that the client takes and gives. Nothing here runs, and nothing loads it: editors and type checkers read it.
 */

/**
 * A text, or a callback that gives one.
 * @typedef {string | ((why: {refused: string | null}) => string | null | Promise<string | null>)} Token
 */

/**
 * What `new QuickNotify` takes.
 * @typedef {object} Options
 * @property {string | string[]} [url] `wss://host/stomp-ws`; without it, that of the page's own host. Of several, the next one is
 *   tried after a failure and kept while it works; each client has an order of its own, so that they share the load
 * @property {Token} token  a callback is asked before each connect, in time before a JWT's `exp` (after 70 to
 *   90 % of what is left of it), and when a token was refused (`refused` is the code); null means: no more. If it throws,
 *   or gives no token (with a line end in it, say), or one that was just refused, it is asked again after a growing wait
 * @property {boolean} [autoConfirm] true unless told otherwise; may be changed later
 * @property {boolean} [countUnread] keep `unread` up to date over REST; true unless told otherwise
 * @property {{min?: number, max?: number}} [reconnect] bounds of the backoff, 500 and 30000 ms: the first wait is up to `min` long
 * @property {number} [heartBeat] ms, 10000; 0 turns heart-beats off
 * @property {number} [connectTimeout] ms, 15000
 * @property {number} [remember] how many ids are remembered to drop duplicates, 4096
 * @property {{getItem(key: string): string | null, setItem(key: string, value: string): void}} [storage] keeps the place to resume
 *   at over page loads: sessionStorage, which each tab has of its own
 * @property {any} [WebSocket] a WebSocket class, where the platform has none
 * @property {(url: string) => any} [socket] opens what behaves as a WebSocket, where WebSockets are blocked:
 *   `(url) => new SockJS(url)`. The url begins with `http:` or `https:` here
 */

/**
 * What a handler is given.
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} type
 * @property {string} receiver `*` for a broadcast
 * @property {any} data
 * @property {boolean} viewed
 * @property {number} created epoch ms
 * @property {number | null} seq null for what is not persisted
 * @property {number} attempt from 1
 * @property {boolean} replayed it was stored before this session began
 */

/**
 * What the history lists.
 * @typedef {Pick<Notification, 'id' | 'type' | 'receiver' | 'data' | 'viewed' | 'created'>} Stored
 */

/**
 * How the client stands.
 * @typedef {object} State
 * @property {'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'} state
 * @property {string} [user] whom the token names
 * @property {string} [session]
 * @property {string} [code] why it is waiting or closed: the server's ERROR code, or an Ending's (connection.js)
 * @property {string} [message] the same as a sentence
 * @property {number} [retryAt] epoch ms of the next attempt, while waiting
 */

/**
 * What each event brings, by its name.
 * @typedef {object} Events
 * @property {Notification} notification
 * @property {{id: string, attempt: number, replayed: boolean, confirmed: boolean}} repeat  a duplicate that was dropped
 * @property {State} state
 * @property {number | null} unread null: unknown
 * @property {{ids: string[]}} viewed in this tab or another
 * @property {{ids: string[]}} deleted
 * @property {{requested: number, from: number}} gap  the server kept nothing before `from`
 * @property {{destination: string, data: any, body: string, headers: Record<string, string>}} topic
 * @property {import('./error.js').NotifyError} error what no caller waits for
 */

export {};

export { NotifyError };
/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Token} Token */
/** @typedef {import('./types.js').Notification} Notification */
/** @typedef {import('./types.js').Stored} Stored */
/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Events} Events */
export class QuickNotify {
    /** @param {Options} options */
    constructor(options: Options);
    autoConfirm: boolean;
    /** @returns {State} */
    get state(): State;
    /** Unread notifications in the inbox; null while unknown. */
    get unread(): number | null;
    /** The seq after which the next session resumes; 0 before anything came. */
    get lastSeq(): number;
    /**
     * @template {keyof Events} K
     * @param {K} type @param {(detail: Events[K]) => unknown} listener @returns {() => void} takes the listener off
     */
    on<K extends keyof Events>(type: K, listener: (detail: Events[K]) => unknown): () => void;
    /**
     * Connects, or tries again now if it was waiting to. Resolves when connected; rejects only when the client gives up.
     * @returns {Promise<void>}
     */
    connect(): Promise<void>;
    /** Leaves for good (until `connect()`), after what was confirmed has arrived. */
    close(): Promise<void>;
    /**
     * Confirms: no session of the user gets it again. While offline it is kept, and sent with the next session.
     * @param {string | {id: string}} notification
     * @returns {Promise<boolean>} true when the server has stored it; false if the client was closed before it said so
     */
    confirm(notification: string | {
        id: string;
    }): Promise<boolean>;
    /**
     * It outlives this session. What the server refuses is an 'error' event.
     * @param {string} destination e.g. `/topic/orders`
     * @param {(message: Events['topic']) => unknown} [listener] beside the 'topic' event
     * @returns {() => void} unsubscribes
     */
    subscribe(destination: string, listener?: (message: Events["topic"]) => unknown): () => void;
    /**
     * @param {string} destination @param {unknown} body a string is sent as it is, anything else as JSON
     * @param {Record<string, string>} [headers]
     * @returns {Promise<void>} resolves when the server took it; rejects when it refused or there is no connection
     */
    send(destination: string, body: unknown, headers?: Record<string, string>): Promise<void>;
    /** Extends this session with a fresh token, which reconnects use too unless there is a token callback. @param {string} token */
    refreshToken(token: string): Promise<void>;
    /** Asks the server; see `unread` for the number kept up to date. */
    unreadCount(): Promise<number>;
    /** @param {{before?: number, page?: number, size?: number}} [range] created before this epoch ms; pages from 0 */
    history(range?: {
        before?: number;
        page?: number;
        size?: number;
    }): Promise<import("./types.js").Stored[]>;
    /** @param {string[]} ids */
    markViewed(ids: string[]): Promise<string[]>;
    /** @param {string[]} ids */
    delete(ids: string[]): Promise<string[]>;
    #private;
}
export type Options = import("./types.js").Options;
export type Token = import("./types.js").Token;
export type Notification = import("./types.js").Notification;
export type Stored = import("./types.js").Stored;
export type State = import("./types.js").State;
export type Events = import("./types.js").Events;
import { NotifyError } from './error.js';

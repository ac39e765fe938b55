/**
 * A text, or a callback that gives one.
 */
export type Token = string | ((why: {
    refused: string | null;
}) => string | null | Promise<string | null>);
/**
 * What `new QuickNotify` takes.
 */
export type Options = {
    /**
     * `wss://host/stomp-ws`; without it, that of the page's own host. Of several, the next one is
     * tried after a failure and kept while it works; each client has an order of its own, so that they share the load
     */
    url?: string | string[] | undefined;
    /**
     * a callback is asked before each connect, in time before a JWT's `exp` (after 70 to
     * 90 % of what is left of it), and when a token was refused (`refused` is the code); null means: no more. If it throws,
     * or gives no token (with a line end in it, say), or one that was just refused, it is asked again after a growing wait
     */
    token: Token;
    /**
     * true unless told otherwise; may be changed later
     */
    autoConfirm?: boolean | undefined;
    /**
     * keep `unread` up to date over REST; true unless told otherwise
     */
    countUnread?: boolean | undefined;
    /**
     * bounds of the backoff, 500 and 30000 ms: the first wait is up to `min` long
     */
    reconnect?: {
        min?: number;
        max?: number;
    } | undefined;
    /**
     * ms, 10000; 0 turns heart-beats off
     */
    heartBeat?: number | undefined;
    /**
     * ms, 15000
     */
    connectTimeout?: number | undefined;
    /**
     * how many ids are remembered to drop duplicates, 4096
     */
    remember?: number | undefined;
    /**
     * keeps the place to resume
     * at over page loads: sessionStorage, which each tab has of its own
     */
    storage?: {
        getItem(key: string): string | null;
        setItem(key: string, value: string): void;
    } | undefined;
    /**
     * a WebSocket class, where the platform has none
     */
    WebSocket?: any;
    /**
     * opens what behaves as a WebSocket, where WebSockets are blocked:
     * `(url) => new SockJS(url)`. The url begins with `http:` or `https:` here
     */
    socket?: ((url: string) => any) | undefined;
};
/**
 * What a handler is given.
 */
export type Notification = {
    id: string;
    type: string;
    /**
     * `*` for a broadcast
     */
    receiver: string;
    data: any;
    viewed: boolean;
    /**
     * epoch ms
     */
    created: number;
    /**
     * null for what is not persisted
     */
    seq: number | null;
    /**
     * from 1
     */
    attempt: number;
    /**
     * it was stored before this session began
     */
    replayed: boolean;
};
/**
 * What the history lists.
 */
export type Stored = Pick<Notification, "id" | "type" | "receiver" | "data" | "viewed" | "created">;
/**
 * How the client stands.
 */
export type State = {
    state: "idle" | "connecting" | "connected" | "waiting" | "closed";
    /**
     * whom the token names
     */
    user?: string | undefined;
    session?: string | undefined;
    /**
     * why it is waiting or closed: the server's ERROR code, or an Ending's (connection.js)
     */
    code?: string | undefined;
    /**
     * the same as a sentence
     */
    message?: string | undefined;
    /**
     * epoch ms of the next attempt, while waiting
     */
    retryAt?: number | undefined;
};
/**
 * What each event brings, by its name.
 */
export type Events = {
    notification: Notification;
    /**
     * a duplicate that was dropped
     */
    repeat: {
        id: string;
        attempt: number;
        replayed: boolean;
        confirmed: boolean;
    };
    state: State;
    /**
     * null: unknown
     */
    unread: number | null;
    /**
     * in this tab or another
     */
    viewed: {
        ids: string[];
    };
    deleted: {
        ids: string[];
    };
    /**
     * the server kept nothing before `from`
     */
    gap: {
        requested: number;
        from: number;
    };
    topic: {
        destination: string;
        data: any;
        body: string;
        headers: Record<string, string>;
    };
    /**
     * what no caller waits for
     */
    error: import("./error.js").NotifyError;
};

export class QuickNotifyBell extends HTMLElement {
    static observedAttributes: string[];
    set token(token: Token | null);
    /** @returns {Token | null} */
    get token(): Token | null;
    set client(client: QuickNotify | null);
    /** The client in use; set one to share it. @returns {QuickNotify | null} */
    get client(): QuickNotify | null;
    set texts(texts: Record<string, Table> | null);
    /** @returns {Record<string, Table> | null} */
    get texts(): Record<string, Table> | null;
    set renderItem(render: Render | null);
    /** @returns {Render | null} */
    get renderItem(): Render | null;
    /** @returns {number | null} null: unknown */
    get unread(): number | null;
    set url(url: string | null);
    /** @returns {string | null} */
    get url(): string | null;
    set label(label: string);
    /** @returns {string} */
    get label(): string;
    /** Opens the list. */
    show(): void;
    /** Closes it; the button has the focus if the list had it. */
    hide(): void;
    connectedCallback(): void;
    disconnectedCallback(): void;
    /** @param {string} name @param {string | null} before @param {string | null} now */
    attributeChangedCallback(name: string, before: string | null, now: string | null): void;
    #private;
}
export type QuickNotify = import("./quick-notify.js").QuickNotify;
export type Notification = import("./quick-notify.js").Notification;
export type State = import("./quick-notify.js").State;
export type Token = import("./types.js").Token;
export type Row = import("./bell/rows.js").Row;
export type Render = import("./bell/item.js").Render;
export type Table = import("./bell/texts.js").Table;
/**
 * The events by name, for `addEventListener`.
 */
export type BellEvents = {
    "quick-notify:open": CustomEvent<null>;
    "quick-notify:close": CustomEvent<null>;
    "quick-notify:notification": CustomEvent<{
        notification: Notification;
    }>;
    "quick-notify:select": CustomEvent<{
        notification: Omit<Row, "kept">;
    }>;
    "quick-notify:unread": CustomEvent<{
        unread: number | null;
    }>;
    "quick-notify:state": CustomEvent<State>;
    "quick-notify:error": CustomEvent<{
        error: unknown;
    }>;
};
export interface QuickNotifyBell {
    addEventListener<K extends keyof BellEvents>(type: K, listener: (this: QuickNotifyBell, event: BellEvents[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
    addEventListener<K extends keyof HTMLElementEventMap>(type: K, listener: (this: HTMLElement, event: HTMLElementEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
    addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
    removeEventListener<K extends keyof BellEvents>(type: K, listener: (this: QuickNotifyBell, event: BellEvents[K]) => unknown, options?: boolean | EventListenerOptions): void;
    removeEventListener<K extends keyof HTMLElementEventMap>(type: K, listener: (this: HTMLElement, event: HTMLElementEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
    removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}
declare global {
    interface HTMLElementTagNameMap {
        'quick-notify-bell': QuickNotifyBell;
    }
}

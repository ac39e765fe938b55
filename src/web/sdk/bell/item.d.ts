/**
 * What an item shows: what the application's hook makes, else the text, else the data as JSON.
 * @param {Row} row @param {Render | null} render @param {(error: unknown) => void} failed
 * @returns {Node | string}
 */
export function contentOf(row: Row, render: Render | null, failed: (error: unknown) => void): Node | string;
export class Item {
    /**
     * @param {Row} row @param {Words} words @param {Node | string} content
     * @param {{read: (row: Row) => void, remove: (row: Row) => void}} on
     */
    constructor(row: Row, words: Words, content: Node | string, on: {
        read: (row: Row) => void;
        remove: (row: Row) => void;
    });
    element: HTMLLIElement;
    /** What takes the focus. */ article: HTMLElement;
    /** @type {Row} */ row: Row;
    /** @param {Row} row @param {Words} words @param {number} now */
    show(row: Row, words: Words, now: number): void;
    /** One item is in the order of Tab, with its buttons; arrow keys lead to the others. @param {boolean} isCurrent */
    set current(isCurrent: boolean);
    #private;
}
export type Row = import("./rows.js").Row;
export type Words = import("./texts.js").Words;
export type Render = (notification: Row) => Node | string | null | undefined;

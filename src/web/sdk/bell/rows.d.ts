/** @param {Set<string>} set @param {string} id the oldest goes when there are too many */
export function note(set: Set<string>, id: string): void;
/**
 * A notification as the list shows it: of the SDK's shape; `kept` is false for what is in no inbox.
 * @typedef {{id: string, type: string, receiver: string, data: any, viewed: boolean, created: number, kept: boolean}} Row
 */
export class Rows {
    /** @param {number} max */
    constructor(max: number);
    /** @type {Row[]} newest first */ all: Row[];
    /** How many of them the inbox has. */
    get kept(): number;
    /** Those of the inbox that were here when a `replace` began, and older ones since. @returns {Set<string>} ids */
    get settled(): Set<string>;
    get isFull(): boolean;
    /** @param {string} id */
    get(id: string): Row | undefined;
    /** It came just now. @param {Row} row */
    arrive(row: Row): void;
    /** From here on a `replace` is under way: what comes live may be newer than its answer. */
    expectReplacement(): void;
    /** The newest rows of the inbox, as they are now: what is not among them is gone, unless it came meanwhile. @param {Row[]} rows */
    replace(rows: Row[]): void;
    /** A further page; answers how many were new. @param {Row[]} rows */
    append(rows: Row[]): number;
    /** @param {string[]} ids */
    markViewed(ids: string[]): void;
    /** @param {string[]} ids */
    remove(ids: string[]): void;
    #private;
}
/**
 * A notification as the list shows it: of the SDK's shape; `kept` is false for what is in no inbox.
 */
export type Row = {
    id: string;
    type: string;
    receiver: string;
    data: any;
    viewed: boolean;
    created: number;
    kept: boolean;
};

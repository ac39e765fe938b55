/** @typedef {import('../quick-notify.js').State} State */
/** The words of one language, and its way of counting and of telling times. */
export class Words {
    /** @param {string} wanted e.g. `zh-CN` @param {Record<string, Table> | null} [more] tables of further languages, or changed ones */
    constructor(wanted: string, more?: Record<string, Table> | null);
    /** The language that is spoken: the wanted one if it is known, else English; `zh-Hans` where `zh-TW` is wanted and nobody added it. @type {string} */ lang: string;
    /** @param {Key} key @param {Record<string, string | number>} [values] `count` also chooses the plural */
    say(key: Key, values?: Record<string, string | number>): string;
    /** How the connection stands, as a sentence. @param {State} state @param {number} now epoch ms */
    standing(state: State, now?: number): string;
    /** The same in a word, for the bell's name; nothing if all is well. @param {State} state */
    away(state: State): string;
    /** @param {number} time @param {number} now both epoch ms. A clock that is slow here makes nothing come from the future. */
    ago(time: number, now: number): string;
    /** @param {number} time */
    exactly(time: number): string;
    #private;
}
export type Text = string | {
    [category: string]: string;
};
/**
 * by the keys of `ENGLISH`
 */
export type Table = {
    [key: string]: Text;
};
export type Key = keyof typeof ENGLISH;
export type State = import("../quick-notify.js").State;
declare namespace ENGLISH {
    let title: string;
    let unread: string;
    let offline: string;
    let unreadMark: string;
    let everyone: string;
    let transient: string;
    let markRead: string;
    let markAll: string;
    let remove: string;
    let close: string;
    let more: string;
    let loading: string;
    let end: string;
    let full: string;
    let empty: string;
    let emptyHint: string;
    let unavailable: string;
    let failed: string;
    let retry: string;
    let idle: string;
    let connecting: string;
    let connected: string;
    namespace waiting {
        let one: string;
        let other: string;
    }
    namespace refused {
        let one_1: string;
        export { one_1 as one };
        let other_1: string;
        export { other_1 as other };
    }
    let closed: string;
    let tryNow: string;
    let arrived: string;
    namespace arrivedMany {
        let one_2: string;
        export { one_2 as one };
        let other_2: string;
        export { other_2 as other };
    }
    let removed: string;
    let read: string;
    let allRead: string;
    let someRead: string;
}
export {};

/** An error with a code that a program can branch on; the codes of ERROR frames are the server's. */
export class NotifyError extends Error {
    /** @param {string} code @param {string} message @param {object} [more] */
    constructor(code: string, message: string, more?: object);
    /** @type {string} */
    code: string;
}
export interface NotifyError {
    /** Of the HTTP answer that refused. */
    status?: number;
    /** The field of the request that was wrong. */
    field?: string;
    /** What the server's ERROR frame says beside the message. */
    detail?: string;
    /** The topic that was refused. */
    destination?: string;
    /** The notification whose handler failed. */
    id?: string;
    cause?: unknown;
}

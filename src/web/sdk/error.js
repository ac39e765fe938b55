/** An error with a code that a program can branch on; the codes of ERROR frames are the server's. */
export class NotifyError extends Error {
  /** @param {string} code @param {string} message @param {object} [more] */
  constructor(code, message, more) {
    super(message);
    this.name = 'NotifyError';
    /** @type {string} */
    this.code = code;
    Object.assign(this, more);
  }
}

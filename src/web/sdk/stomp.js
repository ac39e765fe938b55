/**
 * Turns STOMP 1.2 frames into text, and whatever a WebSocket brings into frames.
 *
 * In: strings or ArrayBuffers, with frames split, glued, or parted by heart-beats. Out: `{command, headers, body}`.
 * Never blocks, never keeps more than MAX_HEAD + MAX_BODY octets, and throws a `malformed-frame` instead of guessing.
 *
 * Why octets inside: content-length counts UTF-8 octets, and a binary message may end within a character.
 */

import { NotifyError } from './error.js';

const MAX_HEAD = 64 * 1024;
const MAX_BODY = 4 * 1024 * 1024;
const LF = 10, CR = 13, NUL = 0;

/** @typedef {{command: string, headers: Record<string, string>, body: string}} Frame */

export const HEART_BEAT = '\n';

/**
 * @param {string} command
 * @param {Record<string, unknown>} [headers] what is null or undefined is left out
 * @param {string} [body]
 */
export function encodeFrame(command, headers = {}, body = '') {
  // CONNECT stays unescaped, so that a STOMP 1.0 server can read it (STOMP 1.2, "Value Encoding").
  const write = command === 'CONNECT' ? bare : escape;
  let head = `${command}\n`;
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && value !== null) head += `${write(name)}:${write(String(value))}\n`;
  }
  if (body) head += `content-length:${encoder.encode(body).length}\n`;
  return `${head}\n${body}\0`;
}

export class FrameReader {
  #rest = new Uint8Array(0);
  #searched = 0; // octets of #rest that are known to hold no end of headers

  /** @param {string | ArrayBuffer} chunk @returns {Generator<Frame>} the frames that this chunk completes */
  *push(chunk) {
    const octets = typeof chunk === 'string' ? encoder.encode(chunk) : new Uint8Array(chunk);
    this.#rest = this.#rest.length ? join(this.#rest, octets) : octets;
    for (let frame; (frame = this.#next()); ) yield frame;
  }

  /** @returns {Frame | null} */
  #next() {
    let start = 0;
    while (this.#rest[start] === LF || this.#rest[start] === CR) start += 1; // heart-beats, and LF after a frame
    if (start) this.#drop(start);

    const head = this.#head();
    if (!head) return null;
    const [command, ...lines] = decode(this.#rest.subarray(0, head.end)).split('\n').map((line) => line.replace(/\r$/, ''));
    const headers = parseHeaders(lines, command === 'CONNECTED' ? bare : unescape);

    const end = this.#bodyEnd(head.body, headers['content-length']);
    if (end < 0) return null;
    const body = decode(this.#rest.subarray(head.body, end));
    this.#drop(end + 1);
    return { command, headers, body };
  }

  /** Finds the empty line. @returns {{end: number, body: number} | null} */
  #head() {
    for (let at = this.#searched; ; at += 1) {
      at = this.#rest.indexOf(LF, at);
      if ((at < 0 ? this.#rest.length : at) > MAX_HEAD) throw malformed('headers are too long');
      if (at < 0) return null;
      this.#searched = at;
      const next = this.#rest[at + 1] === CR ? at + 2 : at + 1;
      if (next >= this.#rest.length) return null;
      if (this.#rest[next] === LF) return { end: at, body: next + 1 };
    }
  }

  /** @param {number} from @param {string | undefined} length @returns {number} where the frame's NUL is, or -1 */
  #bodyEnd(from, length) {
    if (length === undefined) {
      const end = this.#rest.indexOf(NUL, from);
      if ((end < 0 ? this.#rest.length : end) - from > MAX_BODY) throw malformed('body is too long');
      return end;
    }
    if (!/^\d{1,10}$/.test(length) || Number(length) > MAX_BODY) throw malformed('content-length is out of bounds');
    const end = from + Number(length);
    if (end >= this.#rest.length) return -1;
    if (this.#rest[end] !== NUL) throw malformed('body is longer than its content-length');
    return end;
  }

  /** @param {number} octets */
  #drop(octets) {
    this.#rest = this.#rest.subarray(octets);
    this.#searched = 0;
  }
}

/** @param {string[]} lines @param {(text: string) => string} read @returns {Record<string, string>} */
function parseHeaders(lines, read) {
  const headers = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) throw malformed('a header has no name or no colon');
    const name = read(line.slice(0, colon));
    headers[name] ??= read(line.slice(colon + 1)); // the first of a repeated header counts
  }
  return headers;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @param {Uint8Array} octets */
function decode(octets) {
  try {
    return decoder.decode(octets);
  } catch {
    throw malformed('text is not UTF-8');
  }
}

/** @param {Uint8Array} a @param {Uint8Array} b */
function join(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** @type {Record<string, string>} */ const ESCAPES = { '\\': '\\\\', '\r': '\\r', '\n': '\\n', ':': '\\c' };
/** @type {Record<string, string>} */ const MEANINGS = { '\\\\': '\\', '\\r': '\r', '\\n': '\n', '\\c': ':' };

/** @param {string} text */
const escape = (text) => text.replace(/[\\\r\n:]/g, (c) => ESCAPES[c]);

/** @param {string} text */
const unescape = (text) =>
  text.replace(/\\.?/g, (pair) => {
    if (pair in MEANINGS) return MEANINGS[pair];
    throw malformed('a header has an undefined escape');
  });

/** @param {string} text */
const bare = (text) => {
  if (/[\r\n\0]/.test(text)) throw malformed('a CONNECT header cannot hold a line end');
  return text;
};

/** @param {string} what */
const malformed = (what) => new NotifyError('malformed-frame', `Malformed frame: ${what}.`);

/**
 * One STOMP session over one WebSocket: CONNECT, heart-beats, receipts. It ends once, with a reason, and never reconnects:
 * that is for the client above to decide.
 *
 * In: frames to send. Out: `onConnected(headers)`, `onFrame(frame)` for each MESSAGE, and `ended`, an Ending.
 * Never throws out of a socket event; never holds more than MAX_RECEIPTS receipts or MAX_BUFFERED unsent octets.
 */

import { NotifyError } from './error.js';
import { FrameReader, HEART_BEAT, encodeFrame } from './stomp.js';

const MAX_RECEIPTS = 2048;
const MAX_BUFFERED = 8 * 1024 * 1024;
const SIGN_OF_LIFE = 5000; // ms that the server has to answer when the line may be dead
const LAST_WORDS = 2000; // ms that the server has to close after ERROR, or to answer DISCONNECT

/**
 * Why a session ended: `code` is the ERROR frame's or that of the server's close (`draining`, `unavailable` ...), else `closed`
 * (without a word), `unreachable`, `connect-timeout`, `server-silent`, `malformed-frame`, `disconnected` (by us).
 * @typedef {{code: string, message: string, retryAfter: number | null, lasted: number}} Ending  times in ms
 */

export class Connection {
  #socket;
  #reader = new FrameReader();
  #receipts = new Map();
  #nextReceipt = 1;
  #timers = new Set();
  #connectedAt = 0;
  #lastSent = 0;
  #lastReceived = 0;
  #sendEvery = 0;
  /** @type {NotifyError | null} */ #error = null;
  #over = false;
  #probing = false;
  #resolve = /** @type {(ending: Ending) => void} */ (() => {});
  #on;

  /** @type {Promise<Ending>} */
  ended = new Promise((resolve) => (this.#resolve = resolve));

  /**
   * @param {{url: string, open: (url: string) => any, token: string, heartBeat: number, connectTimeout: number,
   *   onConnected: (headers: Record<string, string>) => void, onFrame: (frame: import('./stomp.js').Frame) => void}} options
   */
  constructor({ url, open, token, heartBeat, connectTimeout, onConnected, onFrame }) {
    this.#on = { connected: onConnected, frame: onFrame };
    try {
      this.#socket = open(url);
    } catch (error) {
      this.#end('unreachable', String(error));
      return;
    }
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => this.#guard(() => this.#write(encodeFrame('CONNECT', {
      'accept-version': '1.2',
      host: new URL(url).host,
      Authorization: token,
      'heart-beat': `${heartBeat},${heartBeat}`,
    })));
    this.#socket.onmessage = (/** @type {MessageEvent} */ event) => this.#guard(() => this.#receive(event.data, heartBeat));
    this.#socket.onerror = () => {}; // close follows, and says as much as a page may know
    this.#socket.onclose = (/** @type {CloseEvent} */ event) => this.#closed(event);
    this.#after(connectTimeout, () => this.#connectedAt || this.#end('connect-timeout', 'The server did not answer in time.'));
  }

  /** @param {string} command @param {Record<string, unknown>} headers @param {string} [body] */
  send(command, headers, body) {
    if (this.#over || !this.#connectedAt) throw new NotifyError('not-connected', 'There is no connection.');
    if (this.#socket.bufferedAmount > MAX_BUFFERED) throw new NotifyError('limit-exceeded', 'Too much waits to be sent.');
    this.#write(encodeFrame(command, headers, body));
  }

  /**
   * Sends with a receipt; resolves when the server has acted on it, rejects with the ERROR or the end of the session.
   * @param {string} command @param {Record<string, unknown>} headers @param {string} [body] @returns {Promise<void>}
   */
  request(command, headers, body) {
    return new Promise((resolve, reject) => {
      if (this.#receipts.size >= MAX_RECEIPTS) throw new NotifyError('limit-exceeded', 'Too many receipts are awaited.');
      const receipt = `r-${this.#nextReceipt++}`;
      this.send(command, { ...headers, receipt }, body);
      this.#receipts.set(receipt, { resolve, reject });
    });
  }

  /** Says goodbye and waits for the answer, so that what was sent before has arrived. Resolves when the session is over. */
  async disconnect() {
    if (this.#connectedAt && !this.#over) {
      this.#after(LAST_WORDS, () => this.#end('disconnected', 'Closed by this client.'));
      await this.request('DISCONNECT', {}).catch(() => {});
    }
    this.#end('disconnected', 'Closed by this client.');
    await this.ended;
  }

  /** Something came to pass that may have cut the line without a word, such as a sleep or another network: asks for a sign of life. */
  probe() {
    if (!this.#connectedAt || this.#over || this.#probing) return;
    this.#probing = true;
    const asked = performance.now();
    // It confirms nothing, and is answered.
    this.request('SEND', { destination: '/app/ack' }).catch(() => {});
    this.#after(SIGN_OF_LIFE, () => {
      this.#probing = false;
      if (this.#lastReceived < asked) this.#end('server-silent', 'The server went silent.');
    });
  }

  /** @param {string | ArrayBuffer} data @param {number} heartBeat */
  #receive(data, heartBeat) {
    this.#lastReceived = performance.now();
    for (const frame of this.#reader.push(data)) {
      if (this.#over || this.#error) return;
      if (frame.command === 'CONNECTED') this.#connected(frame.headers, heartBeat);
      else if (frame.command === 'MESSAGE') this.#on.frame(frame);
      else if (frame.command === 'RECEIPT') this.#receipt(frame.headers['receipt-id'])?.resolve();
      else if (frame.command === 'ERROR') this.#refused(frame);
    }
    // A hidden tab's timers may fire but once a minute; its WebSocket events do not wait. So a beat also answers a beat.
    if (this.#sendEvery && performance.now() - this.#lastSent > 0.9 * this.#sendEvery) this.#write(HEART_BEAT);
  }

  /** @param {Record<string, string>} headers @param {number} heartBeat */
  #connected(headers, heartBeat) {
    this.#connectedAt = performance.now();
    const [serverSends = 0, serverWants = 0] = (headers['heart-beat'] ?? '').split(',').map(Number);
    if (heartBeat && serverWants) {
      this.#sendEvery = Math.max(heartBeat, serverWants);
      this.#every(this.#sendEvery, () => this.#write(HEART_BEAT));
    }
    if (heartBeat && serverSends) {
      const silence = 2 * Math.max(heartBeat, serverSends);
      let looked = performance.now();
      this.#every(silence / 8, () => {
        const now = performance.now();
        const stoodStill = now - looked > silence / 2;
        looked = now;
        if (now - this.#lastReceived <= silence) return;
        // After a freeze what the server said meanwhile may still wait behind this timer.
        if (stoodStill) this.probe();
        else this.#end('server-silent', 'The server went silent.');
      });
    }
    this.#on.connected(headers);
  }

  /** @param {import('./stomp.js').Frame} frame */
  #refused({ headers, body }) {
    const message = headers.message || 'The server ended the session.';
    this.#error = new NotifyError(headers.code ?? 'closed', message, { detail: body });
    this.#receipt(headers['receipt-id'])?.reject(this.#error);
    // The server closes now, and its close frame may say when to come back. If it doesn't, we do.
    this.#after(LAST_WORDS, () => this.#end('closed', message));
  }

  /** @param {CloseEvent} event */
  #closed({ reason = '' }) {
    const retryAfter = /retry-after=(\d{1,9})/.exec(reason);
    const said = reason.replace(/[\s;,]*retry-after=\d+/, '');
    const code = /^[a-z]+(-[a-z]+)*$/.test(said) ? said : null; // the server's word, or a sentence of whatever stands between
    const [silent, sentence] = this.#connectedAt ? ['closed', 'The connection was closed.'] : ['unreachable', 'The server cannot be reached.'];
    this.#end(code ?? silent, said || sentence, retryAfter && Number(retryAfter[1]));
  }

  /** @param {string} code @param {string} message @param {number | null} [retryAfter] */
  #end(code, message, retryAfter = null) {
    if (this.#over) return;
    this.#over = true;
    for (const timer of this.#timers) clearTimeout(timer), clearInterval(timer);
    if (this.#socket) {
      // A dead line may take a minute to report its close: nobody listens for it any more.
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
    }
    const lasted = this.#connectedAt && performance.now() - this.#connectedAt;
    const cause = this.#error ?? { code, message };
    for (const { reject } of this.#receipts.values()) reject(new NotifyError('closed', 'The session ended before the receipt came.'));
    this.#receipts.clear();
    this.#resolve({ code: cause.code, message: cause.message, retryAfter, lasted });
  }

  /** @param {string | undefined} id */
  #receipt(id) {
    const waiting = id && this.#receipts.get(id);
    if (waiting) this.#receipts.delete(id);
    return waiting || null;
  }

  /** @param {string} text */
  #write(text) {
    if (this.#over || this.#socket.readyState !== 1) return;
    this.#lastSent = performance.now();
    this.#socket.send(text);
  }

  /** @param {() => void} step ends the session instead of throwing into the socket's event */
  #guard(step) {
    try {
      step();
    } catch (error) {
      this.#end(/** @type {any} */ (error).code ?? 'malformed-frame', String(/** @type {any} */ (error).message ?? error));
    }
  }

  /** @param {number} ms @param {() => void} step */
  #after(ms, step) {
    const timer = setTimeout(() => (this.#timers.delete(timer), step()), ms);
    this.#timers.add(timer);
  }

  /** @param {number} ms @param {() => void} step */
  #every(ms, step) {
    this.#timers.add(setInterval(step, ms));
  }
}

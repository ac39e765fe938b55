/** Tells a screen reader what came, politely: one sentence for all that came within QUIET ms. */

import { element } from './dom.js';

const QUIET = 1000;
const LONGEST = 200; // characters of a notification that are read out

export class Announcer {
  element = element('p', { class: 'hidden', role: 'status', 'aria-live': 'polite' });
  #words;
  #count = 0;
  #last = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {() => import('./texts.js').Words} words */
  constructor(words) {
    this.#words = words;
  }

  /** @param {string} text of a notification that came */
  arrived(text) {
    this.#count += 1;
    this.#last = text.slice(0, LONGEST);
    this.#timer ??= setTimeout(() => this.#tell(), QUIET);
  }

  /** What the user just did. @param {string} text */
  say(text) {
    this.#put(text);
    if (this.#timer === undefined) return;
    // What came is told after it has been read out, not over it.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), QUIET);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#count = 0;
  }

  #put(/** @type {string} */ text) {
    // The same words twice are two happenings: a changed text is read again.
    this.element.textContent = this.element.textContent === text ? `${text}\u00a0` : text;
  }

  #tell() {
    const words = this.#words();
    this.#put(this.#count > 1 ? words.say('arrivedMany', { count: this.#count }) : words.say('arrived', { text: this.#last }));
    this.stop();
  }
}

/**
 * One notification in the list: an article that takes the focus, with what can be done to it.
 *
 * What it shows is text, or a node that the application's own `renderItem` made; never HTML from a notification.
 */

import { attribute, element, icon, say } from './dom.js';

const LONGEST = 4000; // characters that are shown

/** @typedef {import('./rows.js').Row} Row */
/** @typedef {import('./texts.js').Words} Words */
/** @typedef {(notification: Row) => Node | string | null | undefined} Render */

let made = 0; // ids of elements are a shadow root's own; counted all the same, so that none comes twice

export class Item {
  element;
  /** What takes the focus. */ article;
  /** @type {Row} */ row;
  #time;
  #mark;
  #read;
  #remove;

  /**
   * @param {Row} row @param {Words} words @param {Node | string} content
   * @param {{read: (row: Row) => void, remove: (row: Row) => void}} on
   */
  constructor(row, words, content, on) {
    this.row = row;
    const id = `n${(made += 1)}`;
    const text = element('div', { part: 'text', class: 'text', id: `${id}-text`, dir: 'auto' }, [content]);
    if (typeof row.data !== 'string' && typeof content === 'string') text.classList.add('code');
    this.#time = element('time', { part: 'time', datetime: new Date(row.created).toISOString(), title: words.exactly(row.created) });
    this.#mark = element('span', { part: 'mark', class: 'mark' }, [element('span', { class: 'hidden' }, [words.say('unreadMark')])]);
    const tags = [
      row.type !== 'STRING_MSG' && row.type,
      row.receiver === '*' ? words.say('everyone') : !row.kept && words.say('transient'),
    ];
    const meta = element('div', { part: 'meta', class: 'meta', id: `${id}-meta` }, [
      this.#mark, this.#time, ...tags.map((tag) => tag && element('span', { part: 'tag', class: 'tag' }, [tag])),
    ]);
    const short = (text.textContent ?? '').slice(0, 80);
    /** @param {'markRead' | 'remove'} what @param {'check' | 'bin'} picture @param {(row: Row) => void} act */
    const button = (what, picture, act) => element('button', {
      type: 'button', part: `action ${what === 'remove' ? 'delete' : 'mark-read'}`, class: `action ${what === 'remove' ? 'delete' : 'read'}`,
      title: words.say(what), 'aria-label': `${words.say(what)}: ${short}`, onclick: () => act(this.row),
    }, [icon(picture)]);
    this.#read = button('markRead', 'check', on.read);
    this.#remove = button('remove', 'bin', on.remove);
    this.article = element('article', {
      part: 'item', class: 'item', 'aria-labelledby': `${id}-text ${id}-meta`, 'data-id': row.id, tabindex: '-1',
    }, [text, meta, element('div', { class: 'actions' }, [this.#read, this.#remove])]);
    this.element = element('li', { role: 'listitem' }, [this.article]);
  }

  /** @param {Row} row @param {Words} words @param {number} now */
  show(row, words, now) {
    this.row = row;
    this.article.part.toggle('unread', !row.viewed);
    this.article.classList.toggle('unread', !row.viewed);
    this.#mark.hidden = row.viewed;
    if (row.viewed && this.#read.matches(':focus')) this.article.focus(); // it is about to go
    this.#read.hidden = row.viewed;
    say(this.#time, words.ago(row.created, now));
  }

  /** One item is in the order of Tab, with its buttons; arrow keys lead to the others. @param {boolean} isCurrent */
  set current(isCurrent) {
    for (const each of [this.article, this.#read, this.#remove]) attribute(each, 'tabindex', isCurrent ? '0' : '-1');
  }
}

/**
 * What an item shows: what the application's hook makes, else the text, else the data as JSON.
 * @param {Row} row @param {Render | null} render @param {(error: unknown) => void} failed
 * @returns {Node | string}
 */
export function contentOf(row, render, failed) {
  try {
    const made = render?.(row);
    if (made instanceof Node) return made;
    if (made !== null && made !== undefined) return cut(String(made));
  } catch (error) {
    failed(error);
  }
  return cut(typeof row.data === 'string' ? row.data : JSON.stringify(row.data, null, 2) ?? '');
}

/** @param {string} text */
const cut = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);

/**
 * What opens below the bell: the head with the connection's state, the list, and what is said when there is none.
 *
 * In: `show(view)`, as often as anything changes. Out: the `act` functions. It moves the focus only when what had it goes, and
 * when an arrow key says so.
 */

import { attribute, element, icon, say } from './dom.js';
import { Item, contentOf } from './item.js';

/** @typedef {import('./rows.js').Row} Row */
/** @typedef {import('./texts.js').Words} Words */
/** @typedef {import('../quick-notify.js').State} State */
/**
 * @typedef {object} View  all that is shown
 * @property {Words} words
 * @property {string} label
 * @property {State} state
 * @property {number | null} unread
 * @property {import('./feed.js').Feed | null} feed
 * @property {number} max
 * @property {import('./item.js').Render | null} render
 * @property {string} problem  what went wrong last, or nothing
 */
/**
 * @typedef {object} Acts
 * @property {() => void} close
 * @property {() => void} connect
 * @property {() => void} retry
 * @property {() => void} more
 * @property {() => void} markAll
 * @property {(row: Row) => void} select
 * @property {(row: Row) => void} read
 * @property {(row: Row) => void} remove
 * @property {(error: unknown) => void} renderFailed
 */

// A small Mac keyboard has but one key to delete, and it says Backspace. Elsewhere Backspace is for going back, and deletes nothing.
const IS_MAC = /^(Mac|iP)/.test(globalThis.navigator?.platform ?? '');

export class Panel {
  element;
  /** @type {Map<string, Item>} by id, as they stand in the list */ #items = new Map();
  /** @type {string | null} the item in the order of Tab */ #current = null;
  /** The list was still on its way when the focus came: the first item is to have it. */ #awaitsItems = false;
  /** @type {Words | null} */ #words = null;
  /** @type {import('./item.js').Render | null} */ #render = null;
  #acts;
  #title = element('span', { part: 'title', class: 'title', id: 'title' });
  #stateText = element('span');
  /** Why it is not connected, as the server or the client says it. */ #reason = element('span', { part: 'reason', class: 'reason', dir: 'auto', hidden: true });
  #tryNow;
  #state;
  #markAll;
  #markAllText = element('span');
  #close;
  #notice;
  #noticeText = element('span');
  #retry;
  #list;
  #blank;
  #blankTitle = element('strong');
  #blankText = element('p');
  #more;
  #end;
  #body;

  /** @param {Acts} acts */
  constructor(acts) {
    this.#acts = acts;
    this.#tryNow = element('button', { type: 'button', class: 'plain', part: 'try-now', onclick: acts.connect });
    this.#state = element('span', { part: 'state', class: 'state' }, [
      element('span', { class: 'dot' }), this.#stateText, this.#tryNow, this.#reason,
    ]);
    this.#markAll = element('button', { type: 'button', class: 'plain mark-all', part: 'mark-all', onclick: () => this.#isOn(this.#markAll) && acts.markAll() }, [
      icon('checks'), this.#markAllText,
    ]);
    this.#close = element('button', { type: 'button', class: 'square', part: 'close', onclick: acts.close }, [icon('cross')]);
    this.#retry = element('button', { type: 'button', class: 'plain', part: 'retry', onclick: acts.retry });
    this.#notice = element('div', { part: 'notice', class: 'notice', role: 'alert', hidden: true }, [this.#noticeText, this.#retry]);
    this.#list = element('ul', { part: 'list', class: 'list', role: 'list', 'aria-labelledby': 'title' });
    this.#blank = element('div', { part: 'empty', class: 'blank' }, [icon('bell'), this.#blankTitle, this.#blankText]);
    this.#more = element('button', { type: 'button', class: 'plain', part: 'more', onclick: () => this.#isOn(this.#more) && acts.more() });
    this.#end = element('p', { part: 'end', class: 'foot' });
    this.#body = element('div', { part: 'body', class: 'body' }, [
      this.#list, this.#blank, element('div', { class: 'foot' }, [this.#more]), this.#end,
    ]);
    this.element = element('div', {
      part: 'panel', class: 'panel', id: 'panel', role: 'dialog', 'aria-labelledby': 'title', tabindex: '-1', onkeydown: this.#pressed,
    }, [
      element('div', { part: 'head', class: 'head' }, [
        this.#title, this.#markAll, this.#close, this.#state,
      ]),
      this.#notice, this.#body,
    ]);
    this.#list.addEventListener('click', this.#clicked);
    this.#list.addEventListener('focusin', ({ target }) => {
      const item = this.#itemOf(target);
      if (item) this.#makeCurrent(item.row.id);
    });
  }

  /** Where the focus goes at opening. */
  focus() {
    const item = this.#item(this.#current)?.article ?? this.#articles()[0];
    this.#awaitsItems = !item;
    (item ?? this.element).focus({ preventScroll: true });
  }

  scrollToTop() {
    this.#body.scrollTop = 0;
    this.#current = null;
  }

  /** @param {View} view */
  show(view) {
    const { words, feed } = view;
    this.#showHead(view);
    this.#showNotice(view);
    const last = this.#articles().at(-1);
    this.#showList(view);

    const isEmpty = !feed?.rows.all.length;
    const isLoading = feed?.standing === 'loading' || feed?.standing === 'unread';
    this.#blank.hidden = !isEmpty || feed?.standing === 'failed';
    say(this.#blankTitle, isLoading ? words.say('loading') : feed ? words.say('empty') : words.say('idle'));
    say(this.#blankText, isLoading || !feed ? '' : words.say('emptyHint'));
    attribute(this.#body, 'aria-busy', String(Boolean(isLoading || feed?.loadingMore)));

    const isFull = Boolean(feed?.rows.isFull);
    const foot = /** @type {HTMLElement} */ (this.#more.parentElement);
    const wantsMore = !isEmpty && !isFull && Boolean(feed?.hasMore);
    if (!wantsMore && this.#hasFocus(this.#more)) {
      // Reading goes on with the first that it brought.
      const articles = this.#articles();
      (articles[articles.indexOf(/** @type {HTMLElement} */ (last)) + 1] ?? articles.at(-1) ?? this.element).focus();
    }
    foot.hidden = !wantsMore;
    say(this.#more, words.say(feed?.loadingMore ? 'loading' : 'more'));
    attribute(this.#more, 'aria-disabled', String(Boolean(feed?.loadingMore)));
    this.#end.hidden = isEmpty || wantsMore || feed?.standing !== 'ready';
    say(this.#end, isFull ? words.say('full', { count: view.max }) : words.say('end'));
  }

  /** The times go on. @param {Words} words */
  tick(words) {
    const now = Date.now();
    for (const item of this.#items.values()) item.show(item.row, words, now);
  }

  /** Shows all of a long text. @param {Row} row */
  unfold(row) {
    this.#item(row.id)?.article.classList.add('whole');
  }

  /** What a notification says, as text. @param {View} view @param {Row} row */
  textOf({ render }, row) {
    const content = contentOf(row, render, this.#acts.renderFailed);
    return (typeof content === 'string' ? content : content.textContent ?? '').replace(/\s+/g, ' ').trim();
  }

  /** @param {View} view */
  #showHead({ words, label, state, unread, feed }) {
    say(this.#title, label);
    attribute(this.#state, 'data-state', state.state);
    say(this.#stateText, words.standing(state));
    const isOver = state.state === 'waiting' || (state.state === 'closed' && Boolean(feed));
    const reason = isOver && state.code !== 'disconnected' ? state.message ?? '' : ''; // what this page did itself needs no reason
    this.#reason.hidden = !reason;
    say(this.#reason, reason);
    attribute(this.#reason, 'title', reason); // there may be no room for all of it
    if (!isOver && this.#hasFocus(this.#tryNow)) this.element.focus();
    this.#tryNow.hidden = !isOver;
    say(this.#tryNow, words.say('tryNow'));
    say(this.#markAllText, words.say('markAll'));
    for (const name of ['title', 'aria-label']) attribute(this.#markAll, name, words.say('markAll')); // its text goes where there is no room
    const anyUnread = unread === null ? Boolean(feed?.rows.all.some(({ viewed }) => !viewed)) : unread > 0;
    // Not `disabled`: that would take the focus away from whoever has just pressed it.
    attribute(this.#markAll, 'aria-disabled', String(!anyUnread || Boolean(feed?.markingAll)));
    for (const name of ['title', 'aria-label']) attribute(this.#close, name, words.say('close'));
  }

  /** @param {View} view */
  #showNotice({ words, feed, problem }) {
    const failed = feed?.standing === 'failed';
    const text = failed ? words.say('unavailable') : problem && words.say('failed', { reason: problem });
    if (!failed && this.#hasFocus(this.#retry)) this.focus();
    this.#notice.hidden = !text;
    this.#retry.hidden = !failed;
    say(this.#noticeText, text);
    say(this.#retry, words.say('retry'));
  }

  /** @param {View} view */
  #showList({ words, feed, render }) {
    const rows = feed?.rows.all ?? [];
    // Another language or another hook: each item says something else.
    if (words !== this.#words || render !== this.#render) this.#drop([...this.#items.keys()]);
    [this.#words, this.#render] = [words, render];

    const wanted = new Set(rows.map(({ id }) => id));
    this.#drop([...this.#items.keys()].filter((id) => !wanted.has(id)));
    const now = Date.now();
    const items = new Map();
    rows.forEach((row, index) => {
      const item = this.#items.get(row.id) ?? new Item(row, words, contentOf(row, render, this.#acts.renderFailed), this.#acts);
      item.show(row, words, now);
      items.set(row.id, item);
      // What stands where it should is not touched: it would lose the focus.
      const there = this.#list.children[index] ?? null;
      if (there !== item.element) this.#list.insertBefore(item.element, there);
    });
    this.#items = items;
    if (this.#current === null || !items.has(this.#current)) this.#current = rows[0]?.id ?? null;
    for (const [id, item] of items) item.current = id === this.#current;
    if (this.#awaitsItems && items.size && this.#hasFocus(this.element)) this.focus();
  }

  /** Takes items away; if the focus was in one of them, the nearest that stays has it. @param {string[]} ids */
  #drop(ids) {
    const gone = new Set(ids);
    const focused = this.#itemOf(this.#active);
    if (focused && gone.has(focused.row.id)) {
      const all = [...this.#items.keys()];
      const at = all.indexOf(focused.row.id);
      const heir = all.slice(at).find((id) => !gone.has(id)) ?? all.slice(0, at).reverse().find((id) => !gone.has(id));
      (this.#item(heir ?? null)?.article ?? this.element).focus();
      this.#current = heir ?? null;
    }
    for (const id of ids) {
      this.#items.get(id)?.element.remove();
      this.#items.delete(id);
    }
  }

  /** @param {Event} event */
  #clicked = (event) => {
    const item = this.#itemOf(event.target);
    const at = /** @type {Element} */ (event.target);
    // A click on a link or button of an item's own is for that one.
    if (!item || at.closest('button, a[href], input, select, textarea, summary')) return;
    if (this.#selection()) return; // somebody copies a text
    this.#acts.select(item.row);
  };

  /** @param {KeyboardEvent} event */
  #pressed = (event) => {
    if (isWriting(event.composedPath()[0])) return; // in a field of an item's own
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const item = this.#itemOf(event.target);
    const isItem = item?.article === event.target;
    const articles = this.#articles();
    const at = item ? articles.indexOf(item.article) : -1;
    const own = event.target === this.element || item || event.target === this.#more;
    const { key } = event;
    if (own && key === 'ArrowDown') {
      if (event.target === this.#more) return;
      this.#go(articles[at + 1] ?? (this.#more.parentElement?.hidden ? null : this.#more));
    } else if (own && key === 'ArrowUp') this.#go(event.target === this.#more ? articles.at(-1) : articles[at - 1]);
    else if (own && key === 'Home') this.#go(articles[0]);
    else if (own && key === 'End') this.#go(articles.at(-1));
    else if (isItem && (key === 'Enter' || key === ' ')) this.#acts.select(item.row);
    else if (isItem && (key === 'Delete' || (IS_MAC && key === 'Backspace'))) event.repeat || this.#acts.remove(item.row);
    else return;
    event.preventDefault();
  };

  /** @param {HTMLElement | null | undefined} to */
  #go(to) {
    to?.focus();
    to?.scrollIntoView({ block: 'nearest' });
  }

  /** @param {string} id */
  #makeCurrent(id) {
    const [before, now] = [this.#item(this.#current), this.#item(id)];
    if (before) before.current = false;
    if (now) now.current = true;
    this.#current = id;
  }

  get #active() {
    return /** @type {ShadowRoot} */ (this.element.getRootNode()).activeElement ?? null;
  }

  /** @param {Element} of */
  #hasFocus(of) {
    return this.#active === of;
  }

  #selection() {
    const selection = getSelection();
    return selection?.type === 'Range' && selection.toString().trim() !== '';
  }

  /** @param {Element} button */
  #isOn(button) {
    return button.getAttribute('aria-disabled') !== 'true';
  }

  #articles() {
    return [...this.#items.values()].map(({ article }) => article);
  }

  /** @param {string | null} id */
  #item(id) {
    return id === null ? undefined : this.#items.get(id);
  }

  /** @param {EventTarget | null} at */
  #itemOf(at) {
    const article = at instanceof Element ? at.closest('article.item') : null;
    return article instanceof HTMLElement ? this.#items.get(article.dataset.id ?? '') : undefined;
  }
}

/** Whether keys pressed there are for what is written or chosen there. @param {EventTarget | undefined} at */
function isWriting(at) {
  return at instanceof HTMLElement && (at.isContentEditable || at.matches('input, textarea, select'));
}

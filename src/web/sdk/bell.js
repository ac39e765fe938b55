/**
 * A bell for any web page: how many notifications are unread, a list that opens, and both alike in all tabs and on all devices.
 *
 *     <script type="module" src="https://notify.example/sdk/bell.js"></script>   (or: import 'quick-notify/bell')
 *     <quick-notify-bell url="wss://notify.example/stomp-ws"></quick-notify-bell>
 *     <script type="module">
 *       document.querySelector('quick-notify-bell').token = async () => (await fetch('/my/token')).text();
 *     </script>
 *
 * Attributes:
 * - `url`        `wss://host/stomp-ws`, or several with spaces between; without it that of the page's own host
 * - `lang`       `en` and `zh` (simplified characters, also for `zh-TW`) are shipped, anything else is said in English unless `texts` has it.
 *                Without it the nearest `lang` around it counts, within its shadow tree, else the document's. It is heeded when the bell
 *                comes into the document, when its own `lang` changes, and when that of `<html>` does; not when one between changes
 * - `label`      what it is called instead of “Notifications”
 * - `page-size`  how many are loaded at once: 20; fewer if the server's `api.max_page` is smaller
 * - `max-items`  how many the list holds at most: 500
 * - `theme`      `light` or `dark`, against the page's own `color-scheme`
 * - `open`       set while the list is open; only to be read
 *
 * Properties beside these: `token`, a text or an (async) callback that gives one, asked as the SDK does; `client`, a QuickNotify that
 * the page has already, instead of `url` and `token`; `texts`, `{de: {title: 'Nachrichten', …}}` with the keys of bell/texts.js; `renderItem`,
 * `(notification) => Node | string | null`, which says what an item shows (null: as ever), and also what a screen reader is
 * told of one that comes, while the list is closed, too: it may be called at any time, and more than once for the same; `unread`, the number; `show()`, `hide()`.
 *
 * Events (they bubble, also out of shadow trees):
 * - `quick-notify:open`, `quick-notify:close`
 * - `quick-notify:notification`, `{notification}`: it came, told once even if another handler failed and it comes again. preventDefault(): neither shown before the inbox is read again, nor announced
 * - `quick-notify:select`, `{notification}`: somebody chose it. preventDefault(): it is not marked as read
 * - `quick-notify:unread`, `{unread}`; `quick-notify:state`, the SDK's State; `quick-notify:error`, `{error}`
 *
 * Keys: Enter or Space opens; Escape closes, and the button has the focus again; arrows, Home and End lead through the list; Enter or
 * Space chooses (marks as read, unfolds); Delete deletes, on a Mac Backspace, too; Tab goes on to the buttons, and out of the list, which closes it. Keys pressed in a field that `renderItem` made are the field's.
 *
 * Custom properties: `--quick-notify-` accent, on-accent, badge, on-badge, surface, text, dim, line, hover, unread, good, warn, bad, icon
 * (colours); font, size (of the button), width, height (of the list, at most), radius, shadow.
 * Parts: button, badge, panel, head, title, state, reason, try-now, mark-all, close, notice, retry, body, list, item, unread, text, meta, mark, time,
 * tag, action, mark-read, delete, empty, more, end.
 *
 * What you can rely on: what others wrote is shown as text, never as HTML. It needs no dependency, no build step, and no exception from
 * `default-src 'self'`, nor from `require-trusted-types-for 'script'`. Everything kept has a bound. Bells of the same `url` and
 * `token` share a session. Taken out of the document, it closes its client, unless that is the page's own. Nothing happens where there is
 * no document (on a server that renders pages).
 */

import { Announcer } from './bell/announcer.js';
import { borrow } from './bell/clients.js';
import { attribute, element, icon, say } from './bell/dom.js';
import { Feed } from './bell/feed.js';
import { Panel } from './bell/panel.js';
import { place } from './bell/place.js';
import { note } from './bell/rows.js';
import { style } from './bell/style.js';
import { Words } from './bell/texts.js';

/** @typedef {import('./quick-notify.js').QuickNotify} QuickNotify */
/** @typedef {import('./quick-notify.js').Notification} Notification */
/** @typedef {import('./quick-notify.js').State} State */
/** @typedef {import('./types.js').Token} Token */
/** @typedef {import('./bell/rows.js').Row} Row */
/** @typedef {import('./bell/item.js').Render} Render */
/** @typedef {import('./bell/texts.js').Table} Table */
/**
 * The events by name, for `addEventListener`.
 * @typedef {{
 *   'quick-notify:open': CustomEvent<null>,
 *   'quick-notify:close': CustomEvent<null>,
 *   'quick-notify:notification': CustomEvent<{notification: Notification}>,
 *   'quick-notify:select': CustomEvent<{notification: Omit<Row, 'kept'>}>,
 *   'quick-notify:unread': CustomEvent<{unread: number | null}>,
 *   'quick-notify:state': CustomEvent<State>,
 *   'quick-notify:error': CustomEvent<{error: unknown}>,
 * }} BellEvents
 */

const TICK = 1000; // ms between two looks at the clock while the list is open
const MOST = 99; // beyond it the badge says 99+
const PAGE_SIZE = 20;
const MAX_ITEMS = 500;

const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

export class QuickNotifyBell extends Base {
  static observedAttributes = ['url', 'lang', 'label', 'page-size', 'max-items'];

  /** @type {Token | null} */ #token = null;
  /** @type {QuickNotify | null} the page's own */ #given = null;
  /** @type {Record<string, Table> | null} */ #texts = null;
  /** @type {Render | null} */ #render = null;

  /** @type {QuickNotify | null} the one in use */ #client = null;
  /** Gives back what `#bind` took. */ #release = () => {};
  #bindSoon = false;
  /** @type {Feed | null} */ #feed = null;
  /** @type {string | undefined} */ #user;
  #problem = '';
  /** @type {Set<string>} ids that were told: one whose other handler failed comes again */ #told = new Set();
  #isOpen = false;

  #words = new Words('en');
  #announcer = new Announcer(() => this.#words);
  #button;
  #badge = element('span', { part: 'badge', class: 'badge', 'aria-hidden': 'true', hidden: true });
  #offSign = element('span', { class: 'off-sign', hidden: true });
  #panel;
  /** @type {MutationObserver | undefined} */ #language;
  /** @type {AbortController | undefined} what listens while the list is open */ #opened;

  constructor() {
    super();
    this.#button = element('button', {
      type: 'button', part: 'button', class: 'bell', 'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'aria-controls': 'panel',
      onclick: () => (this.#isOpen ? this.hide() : this.show()),
      onkeydown: this.#pressed,
    }, [icon('bell'), this.#badge, this.#offSign]);
    this.#button.addEventListener('animationend', () => this.#button.classList.remove('rings'));
    this.#panel = new Panel({
      close: () => this.hide(),
      connect: () => this.#client?.connect().catch(() => {}),
      retry: () => this.#feed?.reload(),
      more: () => this.#try(async (feed) => feed.more()),
      markAll: () => this.#try(async (feed) => {
        const isAll = await feed.markAllRead();
        this.#announcer.say(this.#words.say(isAll ? 'allRead' : 'someRead'));
      }),
      select: (row) => this.#select(row),
      read: (row) => this.#try(async (feed) => (await feed.markRead(row), this.#announcer.say(this.#words.say('read')))),
      remove: (row) => this.#try(async (feed) => (await feed.delete(row), this.#announcer.say(this.#words.say('removed')))),
      renderFailed: (error) => this.#report(error),
    });
    const shadow = this.attachShadow({ mode: 'open' });
    shadow.adoptedStyleSheets = [style()];
    shadow.append(this.#button, this.#panel.element, this.#announcer.element);
  }

  // ---- what the page says

  /** @returns {Token | null} */
  get token() { return this.#token; }

  set token(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.#rebind();
  }

  /** The client in use; set one to share it. @returns {QuickNotify | null} */
  get client() { return this.#given ?? this.#client; }

  set client(client) {
    if (client === this.#given) return;
    this.#given = client;
    this.#rebind();
  }

  /** @returns {Record<string, Table> | null} */
  get texts() { return this.#texts; }

  set texts(texts) {
    this.#texts = texts;
    this.#speak();
  }

  /** @returns {Render | null} */
  get renderItem() { return this.#render; }

  set renderItem(render) {
    this.#render = render;
    this.#draw();
  }

  /** @returns {number | null} null: unknown */
  get unread() { return this.#client?.unread ?? null; }

  /** @returns {string | null} */
  get url() { return this.getAttribute('url'); }

  set url(url) { url === null || url === undefined ? this.removeAttribute('url') : this.setAttribute('url', url); }

  /** @returns {string} */
  get label() { return this.getAttribute('label') || this.#words.say('title'); }

  set label(label) { this.setAttribute('label', label); }

  /** Opens the list. */
  show() {
    if (this.#isOpen || !this.isConnected) return;
    this.#isOpen = true;
    this.toggleAttribute('open', true);
    this.#button.setAttribute('aria-expanded', 'true');
    const panel = this.#panel.element;
    panel.popover = 'manual'; // the top layer, where there is one: no page's overflow cuts it
    panel.showPopover?.();
    this.#listen();
    this.#panel.scrollToTop();
    this.#feed?.look();
    this.#draw();
    place(panel, this.#button);
    this.#panel.focus();
    this.#dispatch('open', null);
  }

  /** Closes it; the button has the focus if the list had it. */
  hide() {
    if (!this.#isOpen) return;
    const hadFocus = this.shadowRoot?.activeElement && this.#panel.element.contains(this.shadowRoot.activeElement);
    this.#isOpen = false;
    this.#opened?.abort();
    this.#feed?.lookAway();
    this.#problem = '';
    this.#button.setAttribute('aria-expanded', 'false');
    if (hadFocus) this.#button.focus();
    if (this.#panel.element.isConnected) this.#panel.element.hidePopover?.();
    this.toggleAttribute('open', false);
    this.#dispatch('close', null);
  }

  // ---- its life

  connectedCallback() {
    // What was set before this class was known lies on the element itself, and hides what it is meant for.
    for (const name of ['token', 'client', 'texts', 'renderItem']) {
      if (!Object.hasOwn(this, name)) continue;
      const self = /** @type {any} */ (this);
      const value = self[name];
      delete self[name];
      self[name] = value;
    }
    this.#language ??= new MutationObserver(() => this.#speak());
    this.#language.observe(document.documentElement, { attributeFilter: ['lang'] });
    this.#speak();
    this.#rebind();
  }

  disconnectedCallback() {
    this.hide();
    this.#language?.disconnect();
    this.#announcer.stop();
    this.#rebind();
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === 'lang' || name === 'label') this.#speak();
    else this.#rebind();
  }

  /** Once for all that is said in one step; an element that is only moved keeps its session. */
  #rebind() {
    if (this.#bindSoon) return;
    this.#bindSoon = true;
    queueMicrotask(() => {
      this.#bindSoon = false;
      this.#bind();
    });
  }

  #bind() {
    const release = this.#release;
    this.#release = () => {};
    this.#client = null;
    this.#begin(undefined);
    if (this.isConnected) {
      try {
        this.#use();
      } catch (error) {
        this.#report(error); // an address that is none
      }
    }
    release(); // after another one was borrowed: it may be the same
    this.#draw();
  }

  #use() {
    const borrowed = this.#given || !this.#token ? null : borrow(this.url ?? '', this.#token);
    const client = (this.#client = this.#given ?? borrowed?.client ?? null);
    if (!client) return;
    const offs = [
      client.on('state', (state) => this.#stateChanged(state)),
      client.on('notification', (notification) => this.#came(notification)),
      client.on('unread', (unread) => (this.#draw(), this.#dispatch('unread', { unread }))),
      client.on('viewed', ({ ids }) => this.#feed?.viewed(ids)),
      client.on('deleted', ({ ids }) => this.#feed?.deleted(ids)),
      client.on('gap', () => this.#feed?.doubt()),
      client.on('error', (error) => this.#report(error)),
    ];
    this.#release = () => {
      for (const off of offs) off();
      borrowed?.give();
    };
    this.#begin(client.state.user);
    borrowed?.connect();
  }

  /** Another user's list, or nobody's. @param {string | undefined} user */
  #begin(user) {
    this.#feed?.close();
    this.#user = user;
    this.#problem = '';
    this.#told.clear();
    const client = this.#client;
    this.#feed = client && new Feed({
      client, size: this.#number('page-size', PAGE_SIZE), max: this.#number('max-items', MAX_ITEMS), changed: () => this.#draw(),
    });
    if (this.#isOpen && client?.state.state === 'connected') this.#feed?.look();
  }

  // ---- what happens

  /** @param {State} state */
  #stateChanged(state) {
    if (state.state === 'connected') {
      if (state.user !== this.#user && this.#user !== undefined) this.#begin(state.user);
      this.#user = state.user;
      this.#feed?.doubt(); // what others read or deleted meanwhile, nobody told us
      if (this.#isOpen) this.#feed?.look();
    }
    this.#draw();
    this.#dispatch('state', state);
  }

  /** @param {Notification} notification */
  #came(notification) {
    if (this.#told.has(notification.id)) return;
    note(this.#told, notification.id);
    if (!this.#dispatch('notification', { notification })) return;
    this.#feed?.arrive(notification);
    const row = { ...notification, kept: notification.seq !== null };
    this.#announcer.arrived(this.#panel.textOf(this.#view, row));
    this.#button.classList.add('rings');
  }

  /** @param {Row} row */
  #select(row) {
    this.#panel.unfold(row);
    const { kept, ...notification } = row;
    if (this.#dispatch('select', { notification })) this.#try(async (feed) => feed.markRead(row));
  }

  /** Does something to the inbox; what goes wrong is said. @param {(feed: Feed) => Promise<unknown>} act */
  async #try(act) {
    const feed = this.#feed;
    if (!feed) return;
    try {
      this.#problem = '';
      await act(feed);
    } catch (error) {
      if (feed !== this.#feed) return;
      this.#problem = String(/** @type {any} */ (error)?.message ?? error);
      this.#report(error);
    }
    this.#draw();
  }

  // ---- what is seen

  #speak() {
    const around = /** @type {HTMLElement | null} */ (this.closest('[lang]') ?? document.documentElement);
    this.#words = new Words(around?.lang || 'en', this.#texts);
    this.#button.lang = this.#panel.element.lang = this.#announcer.element.lang = this.#words.lang;
    this.#draw();
  }

  get #view() {
    return {
      words: this.#words, label: this.label, state: this.#client?.state ?? /** @type {State} */ ({ state: 'idle' }), unread: this.unread,
      feed: this.#feed, max: this.#number('max-items', MAX_ITEMS), render: this.#render, problem: this.#problem,
    };
  }

  #draw() {
    const view = this.#view;
    const { words, state, unread } = view;
    const away = this.#client ? words.away(state) : '';
    this.#badge.hidden = !unread;
    say(this.#badge, unread && unread > MOST ? `${MOST}+` : String(unread ?? ''));
    this.#offSign.hidden = !away;
    this.#button.classList.toggle('off', Boolean(away));
    const name = [view.label, unread ? words.say('unread', { count: unread }) : '', away].filter(Boolean).join(', ');
    attribute(this.#button, 'aria-label', name);
    attribute(this.#button, 'title', name);
    if (!this.#isOpen) return;
    this.#panel.show(view);
    place(this.#panel.element, this.#button);
  }

  #listen() {
    this.#opened = new AbortController();
    const { signal } = this.#opened;
    const again = () => place(this.#panel.element, this.#button);
    addEventListener('resize', again, { signal });
    addEventListener('scroll', again, { signal, capture: true, passive: true });
    document.addEventListener('pointerdown', (event) => event.composedPath().includes(this) || this.hide(), { signal });
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.defaultPrevented) return;
      event.preventDefault();
      this.hide();
    }, { signal });
    this.addEventListener('focusout', ({ relatedTarget }) => {
      // Nothing has the focus when the window loses it, or when what had it went: neither is a farewell.
      if (relatedTarget instanceof Node && relatedTarget !== this && !this.contains(relatedTarget)) this.hide();
    }, { signal });
    let minute = 0;
    const timer = setInterval(() => {
      if (this.#client?.state.state === 'waiting') this.#draw();
      if ((minute = (minute + 1) % 20) === 0) this.#panel.tick(this.#words);
    }, TICK);
    signal.addEventListener('abort', () => clearInterval(timer));
  }

  /** @param {KeyboardEvent} event of the button: an arrow leads into the list */
  #pressed = (event) => {
    if (event.key !== 'ArrowDown' || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (this.#isOpen) this.#panel.focus();
    else this.show();
  };

  /** @param {string} name @param {any} detail @returns {boolean} false: a listener wants no default */
  #dispatch(name, detail) {
    return this.dispatchEvent(new CustomEvent(`quick-notify:${name}`, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  /** @param {unknown} error */
  #report(error) {
    this.#dispatch('error', { error });
  }

  /** @param {string} attribute @param {number} otherwise */
  #number(attribute, otherwise) {
    const value = Number(this.getAttribute(attribute));
    return Number.isInteger(value) && value > 0 ? value : otherwise;
  }
}

if (globalThis.customElements && !customElements.get('quick-notify-bell')) customElements.define('quick-notify-bell', QuickNotifyBell);

/**
 * What the bell says, in English and Chinese, and in whatever an application adds.
 *
 * A text is a string with places such as `{count}`, or an object of them by plural category of its language (`one`, `other`,
 * and so on: Intl.PluralRules). What a language lacks is said in English.
 */

/** @typedef {string | {[category: string]: string}} Text */
/** @typedef {{[key: string]: Text}} Table  by the keys of `ENGLISH` */

const ENGLISH = {
  title: 'Notifications',
  unread: '{count} unread',
  offline: 'offline',
  unreadMark: 'Unread',
  everyone: 'To everyone',
  transient: 'Not kept',
  markRead: 'Mark as read',
  markAll: 'Mark all as read',
  remove: 'Delete',
  close: 'Close',
  more: 'Load older ones',
  loading: 'Loading…',
  end: 'That is all',
  full: 'The newest {count} are shown',
  empty: 'No notifications',
  emptyHint: 'What comes will be shown here.',
  unavailable: 'The notifications could not be loaded.',
  failed: 'That did not work. {reason}',
  retry: 'Try again',
  idle: 'Not connected',
  connecting: 'Connecting…',
  connected: 'Live',
  waiting: { one: 'Offline, trying again in {count} second', other: 'Offline, trying again in {count} seconds' },
  refused: { one: 'Not connected, trying again in {count} second', other: 'Not connected, trying again in {count} seconds' },
  closed: 'Disconnected',
  tryNow: 'Try now',
  arrived: 'New notification: {text}',
  arrivedMany: { one: '{count} new notification', other: '{count} new notifications' },
  removed: 'Deleted',
  read: 'Marked as read',
  allRead: 'All are marked as read',
  someRead: 'The newest are marked as read; older ones may be left',
};

const CHINESE = {
  title: '通知',
  unread: '{count} 条未读',
  offline: '离线',
  unreadMark: '未读',
  everyone: '发给所有人',
  transient: '不保存',
  markRead: '标为已读',
  markAll: '全部标为已读',
  remove: '删除',
  close: '关闭',
  more: '加载更早的通知',
  loading: '正在加载…',
  end: '没有更多了',
  full: '只显示最新的 {count} 条',
  empty: '暂无通知',
  emptyHint: '新通知会显示在这里。',
  unavailable: '通知加载失败。',
  failed: '操作失败。{reason}',
  retry: '重试',
  idle: '未连接',
  connecting: '正在连接…',
  connected: '实时',
  waiting: '已离线，{count} 秒后重试',
  refused: '未连接，{count} 秒后重试',
  closed: '连接已断开',
  tryNow: '立即重试',
  arrived: '新通知：{text}',
  arrivedMany: '{count} 条新通知',
  removed: '已删除',
  read: '已标为已读',
  allRead: '已全部标为已读',
  someRead: '较新的已标为已读，可能还有更早的未读',
};

/** @typedef {keyof typeof ENGLISH} Key */

/** @type {Record<string, Table>} */
const SHIPPED = { en: ENGLISH, zh: CHINESE };

// Nothing answered. Any other code is the server's or the token callback's: the reason is not the line.
const UNREACHED = ['closed', 'unreachable', 'connect-timeout', 'server-silent'];

/** @typedef {import('../quick-notify.js').State} State */

/** The words of one language, and its way of counting and of telling times. */
export class Words {
  /** The language that is spoken: the wanted one if it is known, else English; `zh-Hans` where `zh-TW` is wanted and nobody added it. @type {string} */ lang;
  #table;
  #plural;
  #number;
  #relative;
  #day;
  #exact;

  /** @param {string} wanted e.g. `zh-CN` @param {Record<string, Table> | null} [more] tables of further languages, or changed ones */
  constructor(wanted, more) {
    const tables = lowered(more ?? {});
    const { language: short, script } = new Intl.Locale(canonical(wanted)).maximize();
    const [lang, written] = [canonical(wanted), `${short}-${script}`].map((name) => name.toLowerCase()); // zh-tw, zh-hant
    const known = [lang, written, short].some((name) => name in tables || name in SHIPPED);
    // The Chinese that is shipped is written in simplified characters: who wants others is told so.
    const isOther = short === 'zh' && script === 'Hant' && !(lang in tables) && !(written in tables);
    this.lang = isOther ? 'zh-Hans' : known ? canonical(wanted) : 'en';
    this.#table = /** @type {Table} */ ({
      ...ENGLISH, ...(known ? { ...SHIPPED[short], ...tables[short], ...tables[written], ...tables[lang] } : tables.en),
    });
    this.#plural = new Intl.PluralRules(this.lang);
    this.#number = new Intl.NumberFormat(this.lang);
    this.#relative = new Intl.RelativeTimeFormat(this.lang, { numeric: 'auto' });
    this.#day = new Intl.DateTimeFormat(this.lang, { dateStyle: 'medium' });
    this.#exact = new Intl.DateTimeFormat(this.lang, { dateStyle: 'full', timeStyle: 'medium' });
  }

  /** @param {Key} key @param {Record<string, string | number>} [values] `count` also chooses the plural */
  say(key, values = {}) {
    const text = this.#table[key] ?? key;
    const form = typeof text === 'string' ? text : text[this.#plural.select(Number(values.count ?? 0))] ?? text.other ?? key;
    return form.replace(/\{(\w+)\}/g, (place, name) => {
      const value = values[name];
      return typeof value === 'number' ? this.#number.format(value) : value ?? place;
    });
  }

  /** How the connection stands, as a sentence. @param {State} state @param {number} now epoch ms */
  standing(state, now = Date.now()) {
    const count = Math.max(0, Math.ceil(((state.retryAt ?? 0) - now) / 1000));
    return this.say(state.state === 'waiting' && !isOffline(state) ? 'refused' : state.state, { count });
  }

  /** The same in a word, for the bell's name; nothing if all is well. @param {State} state */
  away(state) {
    if (state.state === 'connected' || state.state === 'idle') return '';
    return this.say(state.state !== 'waiting' ? state.state : isOffline(state) ? 'offline' : 'idle');
  }

  /** @param {number} time @param {number} now both epoch ms. A clock that is slow here makes nothing come from the future. */
  ago(time, now) {
    const seconds = Math.max(0, (now - time) / 1000);
    if (seconds < 45) return this.#relative.format(0, 'second');
    if (seconds < 45 * 60) return this.#relative.format(-Math.max(1, Math.round(seconds / 60)), 'minute');
    if (seconds < 22 * 3600) return this.#relative.format(-Math.max(1, Math.round(seconds / 3600)), 'hour');
    if (seconds < 6.5 * 86_400) return this.#relative.format(-Math.max(1, Math.round(seconds / 86_400)), 'day');
    return this.#day.format(time);
  }

  /** @param {number} time */
  exactly(time) {
    return this.#exact.format(time);
  }
}

/** @param {State} state */
const isOffline = ({ code }) => UNREACHED.includes(code ?? 'closed');

/** @param {string} lang what a page says may be anything */
function canonical(lang) {
  try {
    return Intl.getCanonicalLocales(lang)[0] ?? 'en';
  } catch {
    return 'en';
  }
}

/** @param {Record<string, Table>} tables */
function lowered(tables) {
  return Object.fromEntries(Object.entries(tables).map(([lang, table]) => [lang.toLowerCase(), table]));
}

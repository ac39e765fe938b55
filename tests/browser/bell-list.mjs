/**
 * What is below the bell, without a browser: its list against an inbox that changes while it is read, its words, and the client that
 * bells share; and against a server whose `api.max_page` is smaller than what the bell would ask for.
 *
 *     node bell-list.mjs http://127.0.0.1:2025 test1
 */

import { Feed } from '../../src/web/sdk/bell/feed.js';
import { borrow } from '../../src/web/sdk/bell/clients.js';
import { Words } from '../../src/web/sdk/bell/texts.js';
import { Inbox } from '../../src/web/sdk/inbox.js';
import { Api, equal, fail, run, within } from './story.mjs';

const row = (id, more) => ({ id, type: 'STRING_MSG', receiver: 'test1', data: id, viewed: false, created: 1_767_225_600_000, ...more });
const ids = (rows) => rows.map(({ id }) => id);

/** Sixty rows; what is to happen while an answer is on its way is told beforehand, one step for each request. */
class Shelf {
  rows = Array.from({ length: 60 }, (_, index) => row(`n${60 - index}`));
  unread = 60;
  /** @type {(() => unknown)[]} */ meanwhile = [];

  async history({ page, size }) {
    const answer = this.rows.slice(page * size, (page + 1) * size);
    await this.meanwhile.shift()?.();
    return answer;
  }

  async markViewed(read) {
    for (const each of this.rows) each.viewed ||= read.includes(each.id);
  }
}

const over = (client, size = 20) => new Feed({ client, size, max: 500, changed() {} });

const chapters = {
  async 'older ones that are asked for while it reads anew stay'() {
    const shelf = new Shelf();
    const feed = over(shelf);
    await feed.reload();
    equal('the first page', ids(feed.rows.all), ids(shelf.rows.slice(0, 20)));
    shelf.meanwhile = [() => feed.more()];
    await feed.reload();
    equal('both pages', ids(feed.rows.all), ids(shelf.rows.slice(0, 40)));
  },

  async 'what another device deletes between two pages leaves no gap'() {
    const shelf = new Shelf();
    const feed = over(shelf);
    await feed.reload();
    await feed.more();
    shelf.meanwhile = [() => feed.deleted(ids(shelf.rows.splice(3, 1)))];
    await feed.reload();
    equal('what is listed', ids(feed.rows.all), ids(shelf.rows.slice(0, feed.rows.all.length)));
    equal('both pages', feed.rows.all.length >= 39, true);
  },

  async 'what was read before it came is read'() {
    const feed = over(new Shelf());
    await feed.reload();
    feed.viewed(['early']);
    feed.arrive({ ...row('early'), seq: 61, attempt: 1, replayed: false });
    feed.arrive({ ...row('new'), seq: 62, attempt: 1, replayed: false });
    equal('read', [feed.rows.get('early')?.viewed, feed.rows.get('new')?.viewed], [true, false]);
  },

  async 'all are read only if all were seen'() {
    const shelf = new Shelf();
    equal('sixty of sixty', await over(shelf).markAllRead(), true);
    equal('left', shelf.rows.filter(({ viewed }) => !viewed).length, 0);
    const endless = { unread: null, history: async ({ page, size }) => Array.from({ length: size }, (_, index) => row(`${page}-${index}`)), markViewed: async () => [] };
    equal('of an endless inbox', await over(endless).markAllRead(), false);
  },

  async 'a server that gives less at once is asked for less'(url, user) {
    const api = new Api(url, user);
    const { items } = await api.publish(Array.from({ length: 25 }, (_, index) => ({ receiver: user, data: `Number ${index}` })));
    const newest = ids(items).reverse();
    const inbox = new Inbox(() => url, async () => user);
    const listed = async () => {
      while ((await inbox.unread()).unread < 25) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await within('an inbox that lists them', listed());
    const refused = await inbox.history({ size: 8 }).catch((error) => error);
    equal('what it says to eight', [refused.code, refused.field], ['invalid-field', 'page_size']);

    const client = { unread: 25, history: (range) => inbox.history(range), markViewed: (read) => inbox.markViewed(read) };
    const feed = over(client);
    await feed.reload();
    equal('standing', [feed.standing, feed.hasMore], ['ready', true]);
    for (let tries = 0; feed.hasMore && tries < 25; tries += 1) await feed.more();
    equal('what is listed', ids(feed.rows.all), newest);
    equal('all are marked', await feed.markAllRead(), true);
    equal('unread by REST', (await inbox.unread()).unread, 0);

    const lost = over(new Inbox(() => 'http://127.0.0.1:9', async () => user));
    await lost.reload();
    equal('a server that is away', lost.standing, 'failed');
  },

  async 'a second bell does not cut a wait short'() {
    globalThis.WebSocket ??= class {}; // never opened: there is no token
    const token = () => {
      throw new Error('not now');
    };
    const first = borrow('ws://127.0.0.1:9/stomp-ws', token);
    const waits = new Promise((resolve) => first.client.on('state', (state) => state.state === 'waiting' && resolve(state)));
    first.connect();
    const waiting = await within('a client that waits', waits);
    const second = borrow('ws://127.0.0.1:9/stomp-ws', token);
    second.connect();
    await new Promise((resolve) => setImmediate(resolve));
    equal('clients', first.client === second.client, true);
    equal('the wait', first.client.state, waiting);
    first.give();
    second.give();
  },

  async 'Chinese in other characters is called what it is'() {
    for (const lang of ['zh-TW', 'zh-HK', 'zh-Hant', 'zh-hant-tw']) equal(`${lang} is`, new Words(lang).lang, 'zh-Hans');
    for (const lang of ['zh', 'zh-CN', 'zh-SG']) equal(`${lang} is`, new Words(lang).lang, lang);
    const taught = new Words('zh-TW', { 'zh-Hant': { close: '關閉' } });
    equal('taught by its characters', [taught.lang, taught.say('close')], ['zh-TW', '關閉']);
    equal('another', new Words('pl').lang, 'en');
  },

  async 'offline is what cannot be reached, not what is refused'() {
    const words = new Words('en');
    const said = (state) => words.standing({ retryAt: Date.now() + 900, ...state });
    equal('lost', said({ state: 'waiting', code: 'closed' }), 'Offline, trying again in 1 second');
    for (const code of ['too-many-sessions', 'callback-failed', 'token-expired']) {
      equal(code, said({ state: 'waiting', code }), 'Not connected, trying again in 1 second');
    }
    equal('live', said({ state: 'connected' }), 'Live');
    equal('over', said({ state: 'closed', code: 'token-missing' }), 'Disconnected');
  },
};

async function story(...about) {
  const wrong = [];
  for (const [name, chapter] of Object.entries(chapters)) {
    await chapter(...about).catch((error) => wrong.push(`${name}: ${error.message}`));
  }
  if (wrong.length) fail(wrong.join('\n'));
}

run(story);

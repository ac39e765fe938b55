/**
 * `<quick-notify-bell>` in a real Chromium: by the keyboard alone, through a screen reader's eyes (axe-core), with every kind of
 * notification, in English and Chinese, while things come and go and servers die. Screenshots go into the folder that the third argument names.
 *
 *     node bell.mjs http://127.0.0.1:2025 test1 /tmp/pictures
 */

import { join } from 'node:path';
import { Api, PATIENCE, ask, equal, fail, run, say, within } from './story.mjs';
import { AWAY, Browser, isAccessible, movements } from './chromium.mjs';
import { Bell } from './bell-tab.mjs';

const HTML = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script><b>bold</b> &amp; \u{1F600}';
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 860 };

async function story(url, user, pictures) {
  const browser = new Browser([url]);
  await browser.tell(pictures, async () => {
    const api = new Api(url, user);
    const page = browser.context.pages()[0];
    browser.watch(page);
    await page.goto(`${url}/`);
    const bell = new Bell(page);
    const publish = async (data, more) => (await api.publish({ receiver: user, data, ...more })).id;
    const about = { bell, page, api, publish, user, url, browser, pictures };
    return Object.fromEntries(Object.entries(chapters).map(([name, chapter]) => [name, () => chapter(about)]));
  });
}

const chapters = {
  async 'the page is sent with a policy that lets nothing else in'({ page, url }) {
    const policy = (await page.request.get(`${url}/`)).headers()['content-security-policy'];
    for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) {
      if (!policy.split('; ').includes(rule)) fail(`the policy lacks ${rule}: ${policy}`);
    }
    equal('exceptions', /unsafe|\*|https?:|wss?:|data:/.test(policy), false);
  },

  async 'is empty, and says so'({ bell, page, pictures }) {
    equal('its name', await bell.name(), 'Notifications');
    await bell.open();
    await bell.shows('.blank', 'Not connected');
    await isAccessible(page, 'a bell without a session');
    await bell.close();
    await bell.connect();
    await bell.open();
    await bell.shows('.blank', 'No notificationsWhat comes will be shown here.');
    await bell.shows('.state', /^Live/);
    await page.screenshot({ path: join(pictures, 'empty.png'), animations: 'disabled' });
    await isAccessible(page, 'an empty bell');
    await bell.close();
  },

  async 'is used by the keyboard alone'({ bell, page, api, user }) {
    const { items } = await api.publish(Array.from({ length: 25 }, (_, index) => ({ receiver: user, data: `Number ${index + 1}` })));
    const ids = items.map(({ id }) => id).reverse(); // newest first
    const key = async (...keys) => {
      for (const name of keys) await page.keyboard.press(name);
    };
    await page.reload(); // what came live would be listed already, beyond the first page
    await bell.connect();
    await bell.isNamed('Notifications, 25 unread');
    await page.evaluate(() => document.activeElement?.blur());
    await bell.tabTo('the bell', ({ part }) => part === 'button');
    equal('a focus that is seen', await page.evaluate(() => document.querySelector('#bell').shadowRoot.activeElement.matches(':focus-visible')), true);

    await key('Enter');
    await bell.focused('the first', { id: ids[0] });
    equal('expanded', await bell.$('.bell').getAttribute('aria-expanded'), 'true');
    await key('ArrowDown', 'ArrowDown', 'ArrowUp');
    await bell.focused('the second', { id: ids[1] });
    await key('End');
    await bell.focused('the last of the first page', { id: ids[19] });
    await key('ArrowDown');
    await bell.focused('the way to more', { part: 'more' });
    await key('Enter');
    await bell.focused('the first of the second page', { id: ids[20] });
    equal('what is listed', await bell.ids(), ids);
    await bell.shows('[part=end]', 'That is all');
    await key('Home');
    await bell.focused('the first', { id: ids[0] });

    await key(' ');
    await bell.isNamed('Notifications, 24 unread');
    await bell.isRead(ids[0]);
    await bell.focused('the same', { id: ids[0] });
    await key('ArrowDown', 'Tab');
    await bell.focused('its first button', { part: 'action mark-read' });
    await key('Enter');
    await bell.isNamed('Notifications, 23 unread');
    await bell.focused('the item whose button went', { id: ids[1] });
    equal('unread by REST', await api.unread(), 23);

    await key('Delete');
    await bell.focused('the next after a deletion', { id: ids[2] });
    await api.delete([ids[2]]); // on another device
    await bell.focused('the next after a deletion elsewhere', { id: ids[3] });
    await key('End', 'Delete');
    await bell.focused('the last but one', { id: ids[23] });
    const left = ids.filter((_, index) => ![1, 2, 24].includes(index));
    equal('what is listed', await bell.ids(), left);
    equal('the inbox', (await api.history()).map(({ id }) => id), left);
    await bell.isNamed('Notifications, 21 unread');

    await key('Home', 'Shift+Tab', 'Shift+Tab');
    await bell.focused('what marks all', { part: 'mark-all' });
    await key('Enter');
    await bell.isNamed('Notifications');
    await bell.focused('what marked all', { part: 'mark-all' });
    await bell.says('All are marked as read');
    equal('unread by REST', await api.unread(), 0);

    await key('Escape');
    await bell.isClosed();
    await bell.focused('the bell', { part: 'button' });
    await key(' ');
    await bell.focused('the first', { id: left[0] });
    await key('Shift+Tab', 'Enter');
    await bell.isClosed(); // by its own button
    await bell.focused('the bell', { part: 'button' });
    await key('ArrowDown');
    await bell.focused('the first', { id: left[0] });
    await key('Tab', 'Tab');
    await bell.isClosed(); // the focus left it
    await api.delete(left);
  },

  async 'tells a screen reader what comes, in few words'({ bell, page, api, user, publish }) {
    await page.reload(); // nothing of the chapter before waits to be told
    await bell.connect();
    await publish('One alone');
    await bell.says('New notification: One alone');
    await api.publish(Array.from({ length: 3 }, (_, index) => ({ receiver: user, data: `Of three: ${index}` })));
    await bell.says('3 new notifications');
  },

  async 'shows HTML as the text that it is'({ bell, page, publish }) {
    const id = await publish(HTML);
    await bell.open();
    equal('its text', await bell.item(id).locator('.text').textContent(), HTML);
    equal('elements that it made', await bell.$('.text *').count(), 0);
    equal('the page’s', await page.locator(`#live li[data-id="${id}"] .data`).textContent(), HTML);
    await bell.says(/^New notification: <img src=x/);
    if ((await page.title()).includes('owned')) fail('it ran');
    await bell.close();
  },

  async 'shows data that is no text, and what an application makes of it'({ bell, page, api, publish, user }) {
    const order = await publish({ order: 42, paid: true }, { type: 'ORDER_PAID' });
    const everyone = (await api.publish({ everyone: true, data: 'Maintenance at 22:00' })).id;
    const passing = await publish('Passing by', { persist: false });
    await bell.open();
    equal('as JSON', JSON.parse(await bell.item(order).locator('.text').textContent()), { order: 42, paid: true });
    await bell.shows(`[data-id="${order}"] .tag`, 'ORDER_PAID');
    await bell.shows(`[data-id="${everyone}"] .tag`, 'To everyone');
    await bell.shows(`[data-id="${passing}"] .tag`, 'Not kept');
    await page.evaluate(() => {
      document.querySelector('#bell').renderItem = ({ type, data }) => {
        if (type !== 'ORDER_PAID') return data.startsWith('Maint') ? '<i>Soon</i>' : null;
        const link = document.createElement('a');
        Object.assign(link, { href: '#order-42', textContent: `Order ${data.order}` });
        return link;
      };
    });
    await bell.shows(`[data-id="${order}"] .text a`, 'Order 42');
    await bell.shows(`[data-id="${everyone}"] .text`, '<i>Soon</i>');
    await bell.shows(`[data-id="${passing}"] .text`, 'Passing by');
    await isAccessible(page, 'a bell with items of the application’s own');
    const errors = await page.evaluate(() => {
      const seen = [];
      const bell = document.querySelector('#bell');
      bell.addEventListener('quick-notify:error', ({ detail }) => seen.push(detail.error.message), { once: true });
      bell.renderItem = () => { throw new Error('of the application'); };
      return seen;
    });
    equal('what is told', errors, ['of the application']);
    await bell.shows(`[data-id="${passing}"] .text`, 'Passing by');
    await page.evaluate(() => (document.querySelector('#bell').renderItem = null));
    // What is in no inbox goes from the list alone.
    await bell.item(everyone).locator('.delete').click();
    await bell.item(everyone).waitFor({ state: 'detached' });
    equal('the inbox', (await api.history(1))[0], { ...(await api.history(1))[0], id: order, receiver: user });
    await bell.close();
  },

  async 'asks the page before it acts'({ bell, page, publish, api }) {
    await page.evaluate(() => {
      globalThis.heard = [];
      const bell = document.querySelector('#bell');
      const note = (event) => heard.push([event.type, event.detail?.notification?.data]);
      for (const type of ['open', 'close', 'notification', 'select']) document.addEventListener(`quick-notify:${type}`, note);
      bell.addEventListener('quick-notify:notification', (event) => event.detail.notification.data === 'Not here' && event.preventDefault());
      bell.addEventListener('quick-notify:select', (event) => event.preventDefault());
    });
    await bell.open();
    const hidden = await publish('Not here');
    const shown = await publish('Here');
    await bell.item(shown).click();
    equal('listed', await bell.item(hidden).count(), 0);
    await bell.close();
    equal('what the page heard', await page.evaluate(() => heard), [
      ['quick-notify:open', undefined], ['quick-notify:notification', 'Not here'], ['quick-notify:notification', 'Here'],
      ['quick-notify:select', 'Here'], ['quick-notify:close', undefined],
    ]);
    equal('marked as read', (await api.history()).find(({ id }) => id === shown).viewed, false);
    await page.reload();
    await bell.connect();
    await bell.open();
    await bell.item(hidden).waitFor(); // the inbox has it all the same
    await bell.item(shown).click();
    await bell.isRead(shown);
    await bell.close();
    await api.delete((await api.history()).map(({ id }) => id));
  },

  async 'pages without gaps and doubles while things come and go'({ bell, page, api, user }) {
    const many = async (count, name) => (await api.publish(Array.from({ length: count }, (_, index) => ({ receiver: user, data: `${name} ${index + 1}` })))).items.map(({ id }) => id);
    const first = await many(97, 'Many');
    await page.evaluate(() => document.querySelector('#bell').setAttribute('page-size', '10'));
    await bell.open();
    await bell.count(10);
    let gone = first.slice(80, 95); // more than a page, which was loaded
    await bell.$('[part=more]').click();
    await bell.count(20);
    await api.delete(gone);
    for (let page = 1; page < 20 && (await bell.$('[part=more]').isVisible()); page += 1) {
      const before = (await bell.ids()).length;
      // What was loaded goes, what was not loaded goes, and something comes, all while the next page is under way.
      const some = [first[97 - 10 * page], first[page]].filter((id) => id && !gone.includes(id));
      gone = [...gone, ...some];
      const [, , came] = await Promise.all([bell.$('[part=more]').click(), api.delete(some), many(2, `Meanwhile ${page}`)]);
      await longer(bell, before);
      await api.lists(came);
    }
    const inbox = (await api.history(200)).map(({ id }) => id);
    await bell.lists(inbox);
    equal('what went', inbox.some((id) => gone.includes(id)), false);
    await bell.close();

    await page.evaluate(() => document.querySelector('#bell').setAttribute('max-items', '30'));
    await bell.open();
    for (let pages = 1; pages < 3; pages += 1) {
      await bell.count(10 * pages);
      await bell.$('[part=more]').click();
    }
    await bell.count(30);
    await bell.shows('[part=end]', 'The newest 30 are shown');
    const [next] = await many(1, 'One more');
    await bell.lists([next, ...inbox].slice(0, 30));
    await bell.close();
    await page.evaluate(() => ['max-items', 'page-size'].forEach((name) => document.querySelector('#bell').removeAttribute(name)));
    await api.delete([next, ...inbox]);
  },

  async 'says what goes wrong'({ bell, page, publish, browser }) {
    const id = await publish('Hard to reach');
    await bell.isNamed('Notifications, 1 unread');
    browser.expected = [/net::ERR_FAILED/];
    await page.route('**/api/notify/{history,delete,viewed}*', (route) => route.abort());
    await page.evaluate(() => document.querySelector('#bell').setAttribute('page-size', '5')); // begins anew
    await bell.open();
    await bell.shows('[part=notice]', 'The notifications could not be loaded.Try again');
    await isAccessible(page, 'a bell that could not load');
    await page.unroute('**/api/notify/{history,delete,viewed}*');
    await bell.$('[part=retry]').click();
    await bell.item(id).waitFor();
    equal('the notice', await bell.$('[part=notice]').isVisible(), false);
    await page.route('**/api/notify/{delete,viewed}*', (route) => route.abort());
    await bell.item(id).locator('.delete').click();
    await bell.shows('[part=notice]', /^That did not work\. The server cannot be reached/);
    equal('it is still there', await bell.item(id).count(), 1);
    await page.unroute('**/api/notify/{delete,viewed}*');
    browser.expected = [];
    await bell.item(id).locator('.delete').click();
    await bell.item(id).waitFor({ state: 'detached' });
    equal('the notice', await bell.$('[part=notice]').isVisible(), false);
    await page.evaluate(() => document.querySelector('#bell').removeAttribute('page-size'));
    await bell.close();
  },

  async 'speaks Chinese, and what an application teaches it'({ bell, page, publish, api, pictures }) {
    const ids = [await publish('您的导出已完成：客户-2025.csv'), await publish('订单 4712 已发货')];
    await bell.isNamed('Notifications, 2 unread');
    await page.evaluate(() => (document.documentElement.lang = 'zh-CN'));
    await bell.isNamed('通知, 2 条未读');
    await bell.open();
    await bell.shows('.state', /^实时/);
    await bell.shows('[part=mark-all]', '全部标为已读');
    await bell.shows(`[data-id="${ids[0]}"] time`, '现在');
    equal('a button’s name', await bell.item(ids[0]).locator('.delete').getAttribute('aria-label'), '删除: 您的导出已完成：客户-2025.csv');
    await page.screenshot({ path: join(pictures, 'chinese.png'), animations: 'disabled' });
    await isAccessible(page, 'the bell in Chinese');
    await bell.close();
    await page.evaluate(() => {
      const bell = document.querySelector('#bell');
      Object.assign(bell, { lang: 'pl', texts: { pl: { title: 'Powiadomienia', unread: { one: '{count} nieprzeczytane', few: '{count} nieprzeczytane', many: '{count} nieprzeczytanych' } } } });
    });
    await bell.isNamed('Powiadomienia, 2 nieprzeczytane');
    await page.evaluate(() => (document.querySelector('#bell').lang = 'en'));
    await bell.isNamed('Notifications, 2 unread');
    await page.evaluate(() => {
      document.querySelector('#bell').removeAttribute('lang');
      document.documentElement.lang = 'en';
    });
    await api.delete(ids);
  },

  async 'stands on any page with an address and a token, and shares a session'({ page, url, api, publish }) {
    const opened = [];
    const closed = [];
    page.on('websocket', (socket) => {
      opened.push(socket);
      socket.on('close', () => closed.push(socket));
    });
    await api.lists([await publish('For all bells')]);
    await page.evaluate(async (address) => {
      const token = async () => 'test1';
      globalThis.bells = ['', '/stomp-ws', address, address].map((url) => {
        const bell = document.createElement('quick-notify-bell');
        if (url) bell.url = url;
        bell.token = token;
        document.querySelector('.bar-end').append(bell);
        return bell;
      });
      const late = document.createElement('quick-notify-bell');
      Object.assign(late, { token: 'test1' });
      globalThis.bells.push(late);
      document.querySelector('.bar-end').append(late);
    }, `${url.replace('http', 'ws')}/stomp-ws`);
    await page.waitForFunction((unread) => bells.every((bell) => bell.unread === unread), await api.unread());
    equal('sessions: by address and by token', opened.length, 4);
    // An element that is only moved keeps its session; the last one that goes takes it along.
    await page.evaluate(() => {
      document.querySelector('.brand').append(bells[2]);
      bells[3].remove();
    });
    await api.lists([await publish('To those that are left')]);
    await page.waitForFunction((unread) => bells[2].unread === unread, await api.unread());
    equal('sessions after a move', [opened.length, closed.length], [4, 0]);
    await page.evaluate(() => bells.forEach((bell) => bell.remove()));
    const all = async () => {
      while (closed.length < 4) await page.waitForTimeout(20);
    };
    await within('the end of their sessions', all());
    equal('the page’s own', await page.evaluate(() => document.querySelector('#bell').client.state.state), 'connected');
    await api.delete((await api.history()).map(({ id }) => id));
  },

  async 'is accessible and fits, in the light, in the dark and on a phone'({ bell, page, api, publish, pictures }) {
    const texts = ['Order 4712 has been shipped and will be with you tomorrow between 9:00 and 12:00. Somebody needs to be at home to sign for it; otherwise it goes to the shop at the corner, where it waits for a week.', 'Your export is ready: customers-2025.csv', 'Build 218 passed in 3 min 12 s', HTML];
    const ids = [];
    for (const text of texts) ids.push(await publish(text));
    ids.push(await publish({ order: 42, paid: true }, { type: 'ORDER_PAID' }));
    await publish('Anna mentioned you in “Release notes”').then((id) => ids.push(id));
    await api.viewed([ids[2]]);
    await bell.isNamed('Notifications, 5 unread');
    for (const scheme of ['light', 'dark']) {
      for (const [name, size] of Object.entries({ desktop: DESK, phone: PHONE })) {
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize(size);
        await page.evaluate(() => scrollTo(0, 0));
        await isAccessible(page, `the page, ${name}, ${scheme}`);
        await bell.open();
        await bell.isRead(ids[2]);
        await isAccessible(page, `the open bell, ${name}, ${scheme}`);
        await page.screenshot({ path: join(pictures, `open-${name}-${scheme}.png`), animations: 'disabled' });
        await bell.fits();
        await bell.close();
      }
    }
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    // 320 px: a small phone, and 1280 px at 400 %.
    for (const size of [{ width: 320, height: 480 }, { width: 640, height: 430 }]) {
      await page.setViewportSize(size);
      await bell.open();
      equal('what moves', await movements(page), 0);
      await bell.fits();
      await page.screenshot({ path: join(pictures, `open-${size.width}.png`) });
      await bell.close();
    }
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await page.setViewportSize(DESK);
    await api.delete(ids);
  },

  async 'says that it is offline, and learns what happened meanwhile'({ bell, page, api, publish, browser, pictures }) {
    const [old, doomed] = [await publish('Read it elsewhere'), await publish('Deleted elsewhere')];
    await bell.open();
    await bell.item(doomed).waitFor();
    await meanwhile(browser, async () => {
      await bell.isNamed(/offline$/);
      await bell.shows('.state', /^(Offline, trying again in|Connecting)/);
      await isAccessible(page, 'a bell that is offline');
      await page.screenshot({ path: join(pictures, 'offline.png'), animations: 'disabled' });
    }, async () => {
      await api.viewed([old]);
      await api.delete([doomed]);
    });
    await bell.shows('.state', /^Live/);
    await bell.item(doomed).waitFor({ state: 'detached' }); // though nothing new came to tell of it
    await bell.isRead(old);
    await bell.isNamed('Notifications');
    browser.expected = [];
    await bell.close();
  },

  async 'keeps what it showed when more than a page came meanwhile'({ bell, api, user, browser }) {
    const [old] = (await api.history()).map(({ id }) => id);
    await bell.open();
    await bell.lists([old]);
    let ids;
    await meanwhile(browser, () => bell.isNamed(/offline$/), async () => {
      ids = (await api.publish(Array.from({ length: 25 }, (_, index) => ({ receiver: user, data: `Meanwhile ${index}` })))).items.map(({ id }) => id);
      await api.lists(ids);
    });
    await bell.shows('.state', /^Live/);
    await bell.lists([old, ...ids].reverse());
    await bell.isNamed('Notifications, 25 unread');
    await bell.shows('[part=end]', 'That is all');
    browser.expected = [];
    await bell.close();
  },
};

/** The server dies, which the tab sees (`seen`); it is there again for all but this tab (`others`), and then for this tab. */
async function meanwhile(browser, seen, others) {
  browser.expected = [...AWAY, /ERR_INTERNET_DISCONNECTED/];
  await ask('KILL', 'KILLED');
  await seen();
  await browser.context.setOffline(true);
  await ask('RESTART', 'RESTARTED');
  await others();
  await browser.context.setOffline(false);
}

/** Until the list is longer, or there is no more. */
async function longer(bell, before) {
  const looking = async () => {
    while ((await bell.ids()).length <= before || (await bell.$('[part=more]').getAttribute('aria-disabled')) === 'true') await bell.page.waitForTimeout(20);
  };
  await within('a further page', looking(), PATIENCE);
}

run(story);

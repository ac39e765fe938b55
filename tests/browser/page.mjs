/**
 * The page at `/` in a real Chromium, as a person uses it. Screenshots go into the folder that the third argument names.
 *
 *     node page.mjs http://127.0.0.1:2025 test1 /tmp/pictures
 */

import { join } from 'node:path';
import { Api, ask, equal, fail, run, say, within } from './story.mjs';
import { AWAY, Browser } from './chromium.mjs';

const HTML = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script><b>bold</b> &amp; \u{1F600}';

async function story(url, user, pictures) {
  const browser = new Browser([url]);
  await browser.tell(pictures, async () => {
    const page = browser.context.pages()[0];
    browser.watch(page);
    await page.goto(`${url}/`);
    const api = new Api(url, user);
    const about = {
      tab: new Tab(page), api, user, url, pictures, browser,
      publish: async (data) => (await api.publish({ receiver: user, data })).id,
      open: async (size) => new Tab(await browser.open(`${url}/`, size)),
    };
    return Object.fromEntries(Object.entries(chapters).map(([name, chapter]) => [name, () => chapter(about)]));
  });
}

/** A tab with the page, by what a person sees of it. */
class Tab {
  constructor(page) {
    this.page = page;
  }

  $ = (selector) => this.page.locator(selector);

  /** Waits until the element's text is (or matches) this. */
  async shows(selector, text) {
    const ok = (found) => (text instanceof RegExp ? text.test(found) : found === text);
    let found;
    const look = async () => {
      while (!ok((found = (await this.$(selector).first().textContent())?.trim().replace(/\s+/g, ' ')))) await this.page.waitForTimeout(20);
    };
    await within(`${selector} showing ${text}`, look()).catch((error) => fail(`${error.message}; it shows “${found}”`));
  }

  async connect() {
    await this.$('#connect').click();
    await this.shows('#state-text', /^Connected as /);
  }

  live(id) {
    return this.$(`#live li[data-id="${id}"]`);
  }

  inbox(id) {
    return this.$(`#history li[data-id="${id}"]`);
  }

  async shown(id) {
    await this.live(id).waitFor();
    return this.live(id);
  }

  confirmed(id) {
    return this.live(id).locator('.confirmed').waitFor();
  }

  unread(count) {
    return this.shows('#unread', String(count));
  }

  /** Publishes with the form; answers with the id that the receipt shows. */
  async send(text) {
    await this.$('#data').fill(text);
    const answer = this.page.waitForResponse((response) => response.url().endsWith('/api/notify'));
    await this.$('#send').click();
    const { id } = await (await answer).json();
    await this.shows('#receipt code', id);
    return id;
  }

  async autoConfirm(on) {
    await this.$('#auto-confirm').setChecked(on);
  }

  async picture(path) {
    await this.page.evaluate(() => (document.activeElement?.blur(), scrollTo(0, 0)));
    await this.page.screenshot({ path, animations: 'disabled' });
    const [wide, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > window) fail(`${path}: the page is ${wide} wide, and the window ${window}`);
  }
}

let published = 0; // what is unread: nothing is viewed before the inbox's chapter

const chapters = {
  async 'today’s address leads to the page'({ tab, url }) {
    await tab.page.goto(`${url}/stomp-websocket-sockjs.html`);
    equal('the address', tab.page.url(), `${url}/`);
    equal('the title', await tab.page.title(), 'quick-notify');
  },

  async 'connects and sees what is published from outside'({ tab, publish, user, pictures }) {
    await tab.shows('#state-text', 'Not connected');
    await tab.picture(join(pictures, 'desktop-first.png'));
    await tab.shows('#curl', new RegExp(`curl .*/api/notify .*"receiver":"${user}"`));
    equal('the token that is offered', await tab.$('#token').inputValue(), user);
    await tab.connect();
    await tab.shows('#state-text', `Connected as ${user}`);
    say('READY');
    const id = await publish('Order 4711 has been paid');
    const item = await tab.shown(id);
    await tab.shows(`#live li[data-id="${id}"] .attempt`, 'attempt 1');
    await tab.shows(`#live li[data-id="${id}"] .data`, 'Order 4711 has been paid');
    const latency = Number(await item.locator('.latency').getAttribute('data-latency'));
    if (!(latency >= -5 && latency < 5000)) fail(`the latency shown is ${latency} ms`);
    equal('its seq', await item.locator('[data-seq]').getAttribute('data-seq'), '1');
    await tab.confirmed(id);
    await tab.unread((published = 1));
    equal('the title', await tab.page.title(), '(1) quick-notify');
  },

  async 'confirms by hand, and what is not confirmed comes again'({ tab, publish }) {
    await tab.autoConfirm(false);
    const id = await publish('Confirm me by hand');
    const item = await tab.shown(id);
    await item.locator('.attempt[data-attempt="2"]').waitFor();
    equal('shown', await item.count(), 1);
    await item.locator('.confirm').click();
    await tab.confirmed(id);
    const other = await publish('Confirmed by the switch');
    await tab.shown(other);
    await tab.live(other).locator('.confirm').waitFor();
    await tab.autoConfirm(true);
    await tab.confirmed(other);
    await tab.unread((published += 2));
  },

  async 'publishes to a user, a topic and everyone'({ tab, user }) {
    await tab.$('#to').fill(user);
    const id = await tab.send('From the form, to a user');
    await tab.shows('#receipt', `Accepted, fsynced. ${id}`);
    await tab.confirmed(id);
    await tab.unread((published += 1));

    await tab.$('#topic').fill('orders');
    await tab.$('#subscribe').click();
    await tab.shows('#topic-list', /\/topic\/orders/);
    await tab.$('#to-kind').selectOption('topic');
    await tab.$('#to').fill('orders');
    const topic = await tab.send('From the form, to a topic');
    await tab.shows('#receipt', `Accepted, transient. ${topic}`);
    await tab.shows(`#live li[data-id="${topic}"]`, /\/topic\/orders/);

    await tab.$('#to-kind').selectOption('everyone');
    const everyone = await tab.send('From the form, to everyone');
    await tab.shows(`#live li[data-id="${everyone}"]`, /to everyone/);
    equal('confirm buttons of a broadcast', await tab.live(everyone).locator('.confirm, .confirmed').count(), 0);
    await tab.$('#topic-list button').click();
    await tab.$('#topic-list li').waitFor({ state: 'detached' });
    await tab.$('#to-kind').selectOption('receiver');
    await tab.$('#to').fill(user);
  },

  async 'shows what is wrong, and where'({ tab, browser }) {
    browser.expected = [/Failed to load resource: the server responded with a status of 400/];
    await tab.$('#type').selectOption('');
    await tab.$('#type-name').fill('NO_SUCH');
    await tab.$('#data').fill('{"order": 42');
    await tab.$('#send').click();
    await tab.shows('#receipt', /^This is not JSON/);
    equal('the field', await tab.$('#data').getAttribute('aria-invalid'), 'true');
    await tab.$('#data').fill('{"order": 42}');
    await tab.$('#send').click();
    await tab.shows('#receipt', /^type: "NO_SUCH" is not a known type; known: .*STRING_MSG/);
    equal('the field', await tab.$('#type-name').getAttribute('aria-invalid'), 'true');
    equal('the focus', await tab.page.evaluate(() => document.activeElement.id), 'type-name');
    await tab.$('#type').selectOption('STRING_MSG');
    await tab.$('#to').fill('a'.repeat(65));
    await tab.$('#data').fill('Too far');
    await tab.$('#send').click();
    await tab.shows('#receipt', /^receiver: /);
    equal('the field', await tab.$('#to').getAttribute('aria-invalid'), 'true');
    await tab.$('#to').fill('');
    await tab.$('#send').click();
    await tab.shows('#receipt', 'To whom?');
    browser.expected = [];
  },

  async 'shows HTML as the text that it is'({ tab, api, user, publish }) {
    const id = await publish(HTML);
    await tab.confirmed(id);
    equal('its text', await tab.live(id).locator('.data').textContent(), HTML);
    equal('elements that it made', await tab.$('#main .data *').count(), 0);
    equal('the title', await tab.page.title(), `(${(published += 1)}) quick-notify`);
    await tab.$('#topic').fill('<b>bold</b>');
    await tab.$('#subscribe').click();
    await tab.$('#topic-list li, #topic-error:not([hidden])').first().waitFor();
    equal('elements that a topic made', await tab.$('#topics b').count(), 0);
    await tab.page.locator('#topic-list button').first().click({ timeout: 1000 }).catch(() => {});
    equal('the inbox', (await api.history())[0].data, HTML);
    equal('whose', (await api.history())[0].receiver, user);
  },

  async 'takes pictures'({ tab, api, publish, pictures, user, open }) {
    await tab.$('#clear').click();
    await tab.autoConfirm(false);
    await tab.$('#topic').fill('orders');
    await tab.$('#subscribe').click();
    await tab.$('#to').fill(user);
    const confirm = async (id) => {
      await tab.live(id).locator('.confirm').click();
      await tab.confirmed(id);
    };
    const waits = await publish('Your export is ready: customers-2025.csv');
    await tab.live(waits).locator('.attempt[data-attempt="2"]').waitFor();
    const build = await publish('Build 218 passed in 3 min 12 s');
    await confirm((await tab.shown(build), build));
    await tab.shown((await api.publish({ topic: 'orders', data: 'Order 4712 has been shipped' })).id);
    await tab.shown((await api.publish({ everyone: true, data: 'Maintenance tonight between 22:00 and 22:15' })).id);
    const anna = await publish('Anna mentioned you in “Release notes”');
    await confirm((await tab.shown(anna), anna));
    const hello = await tab.send('Hello from the page');
    await tab.shown(hello);
    await tab.unread((published += 4));
    await tab.page.setViewportSize({ width: 1280, height: 1000 });
    await tab.picture(join(pictures, 'desktop-light.png'));
    await tab.page.emulateMedia({ colorScheme: 'dark' });
    await tab.picture(join(pictures, 'desktop-dark.png'));
    await tab.page.emulateMedia({ colorScheme: 'light' });

    const phone = await open({ width: 390, height: 844 });
    await phone.picture(join(pictures, 'phone-first.png'));
    await phone.connect();
    await phone.shown(hello); // unconfirmed in the other tab: it comes to this one too
    await phone.picture(join(pictures, 'phone-light.png'));
    await phone.$('details.card summary').first().click();
    await phone.page.emulateMedia({ colorScheme: 'dark' });
    await phone.picture(join(pictures, 'phone-dark.png'));
    await phone.page.close();

    await tab.$('#topic-list button').first().click();
    await tab.autoConfirm(true);
    await Promise.all([waits, hello].map((id) => tab.confirmed(id)));
  },

  async 'reads and tidies the inbox, in two tabs at once'({ tab, api, user, publish, open, pictures }) {
    const many = await api.publish(Array.from({ length: 15 }, (_, index) => ({ receiver: user, data: `Number ${index + 1}` })));
    published += many.accepted;
    await tab.unread(published);
    const other = await open();
    await other.connect();
    await other.unread(published);
    const [newest, second] = many.items.map(({ id }) => id).reverse();
    for (const each of [tab, other]) {
      await each.$('#tab-history').click();
      await each.inbox(newest).waitFor();
    }
    equal('the first page', await tab.$('#history li').count(), 20);
    await tab.page.bringToFront();
    await tab.picture(join(pictures, 'inbox.png'));
    await tab.$('#load-more').click();
    await tab.page.waitForFunction((count) => document.querySelectorAll('#history li').length === count, published);
    equal('once each', new Set(await tab.$('#history li').evaluateAll((items) => items.map((item) => item.dataset.id))).size, published);

    equal('its state', await other.inbox(newest).getAttribute('data-viewed'), 'false');
    await tab.inbox(newest).locator('.view').click();
    await other.$(`#history li[data-id="${newest}"][data-viewed="true"]`).waitFor();
    await other.shows(`#history li[data-id="${newest}"] .seen`, 'viewed');
    await Promise.all([tab.unread(published - 1), other.unread(published - 1)]);

    await other.inbox(second).locator('.delete').click();
    await tab.inbox(second).waitFor({ state: 'detached' });
    await tab.shows(`#live li[data-id="${second}"] .acts`, 'deleted');
    await Promise.all([tab.unread(published - 2), other.unread(published - 2)]);
    equal('the newest that is left', (await api.history())[0], { ...(await api.history())[0], id: newest, viewed: true });

    // What comes while the inbox is open shows in it.
    const fresh = await publish('While the inbox is open');
    await tab.inbox(fresh).waitFor();
    await tab.unread(published - 1);
    await tab.$('#view-all').click();
    await Promise.all([tab.unread(0), other.unread(0)]);
    equal('unread by REST', await api.unread(), 0);
    await tab.$('#tab-live').click();
    await other.page.close();
  },

  async 'comes back after the server died, with nothing lost and nothing twice'({ tab, publish, api, user, browser }) {
    await tab.$('#clear').click();
    await tab.autoConfirm(false);
    const [seen, sure] = [await publish('Seen before the crash'), await publish('Confirmed before the crash')];
    await tab.shown(sure);
    await tab.live(sure).locator('.confirm').click();
    await tab.confirmed(sure); // which shows only when the record has it
    browser.expected = AWAY;
    const accepted = await publish('Accepted just before the crash');
    await ask('KILL', 'KILLED');
    await tab.shows('#state-text', /^(Reconnecting in|Connecting)/);
    await tab.$('#send').click();
    await tab.shows('#receipt', /^The server cannot be reached/);
    await ask('RESTART', 'RESTARTED');
    const after = await publish('Published after it');
    await tab.shows('#state-text', `Connected as ${user}`);
    browser.expected = [];
    const all = [seen, sure, accepted, after];
    for (const id of all) await tab.shown(id);
    await tab.autoConfirm(true);
    for (const id of all) await tab.confirmed(id);
    const last = await publish('The last');
    await tab.shown(last);
    equal('what is shown, newest first', await tab.$('#live li').evaluateAll((items) => items.map((item) => item.dataset.id)), [...all, last].reverse());
    equal('the inbox', (await api.history(5)).map(({ id }) => id), [...all, last].reverse());
    await tab.unread(5);
  },

  async 'leaves, misses something, and says that it was replayed'({ tab, publish, api }) {
    await tab.$('#connect').click();
    await tab.shows('#state-text', 'Disconnected');
    const missed = await publish('While nobody looked');
    await api.lists([missed]);
    await tab.connect();
    await tab.shows(`#live li[data-id="${missed}"]`, /replayed/);
    await tab.confirmed(missed);
    equal('shown', await tab.live(missed).count(), 1);
    await tab.$('#connect').click();
    await tab.shows('#state-text', 'Disconnected');
    await tab.$('#token').fill('nobody');
    await tab.$('#connect').click();
    await tab.shows('#reason', /token/);
    await tab.shows('#state-text', /^Closed: /);
  },
};

run(story);

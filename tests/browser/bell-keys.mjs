/**
 * `<quick-notify-bell>` in a real Chromium: keys that are not for the list, what comes a second time, and why it is not connected.
 *
 *     node bell-keys.mjs http://127.0.0.1:2025 test1 /tmp/pictures
 */

import { Api, equal, run } from './story.mjs';
import { Browser, isAccessible } from './chromium.mjs';
import { Bell } from './bell-tab.mjs';

async function story(url, user, pictures) {
  const browser = new Browser([url]);
  const api = new Api(url, user);
  const publish = async (data) => (await api.publish({ receiver: user, data })).id;

  await browser.tell(pictures, async () => {
    const page = browser.context.pages()[0];
    browser.watch(page);
    await page.goto(`${url}/`);
    const bell = new Bell(page);
    await bell.connect();
    return {
      async 'keys in a field of an item are the field’s, and Backspace deletes nothing'() {
        await page.evaluate(() => {
          document.querySelector('#bell').renderItem = ({ data }) => Object.assign(document.createElement('input'), { value: data, ariaLabel: 'Answer' });
        });
        const [other, id] = [await publish('Other'), await publish('Answer me')];
        await bell.open();
        const field = bell.item(id).locator('input');
        await field.focus();
        for (const key of ['Home', 'Delete', 'End', 'Backspace', 'ArrowDown', 'Space']) await page.keyboard.press(key);
        equal('what is written', await field.inputValue(), 'nswer m ');
        equal('who has the focus', await field.evaluate((field) => field.getRootNode().activeElement === field), true);
        equal('read', (await api.history()).map(({ viewed }) => viewed), [false, false]);
        await bell.item(id).focus();
        await page.keyboard.press('Backspace');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Delete'); // by now the other key would have done it
        await bell.item(other).waitFor({ state: 'detached' });
        equal('what is listed', await bell.ids(), [id]);
        equal('the inbox', (await api.history()).map(({ id }) => id), [id]);
        await page.evaluate(() => (document.querySelector('#bell').renderItem = null));
        await bell.close();
      },

      async 'what comes again because another handler failed is told once'() {
        await page.evaluate(() => {
          globalThis.told = [];
          globalThis.handed = [];
          const bell = document.querySelector('#bell');
          bell.addEventListener('quick-notify:notification', ({ detail: { notification } }) => notification.data === 'Twice' && told.push(notification.id));
          // What the inbox listed before may come only now.
          bell.client.on('notification', ({ id, data }) => {
            if (data === 'Twice' && handed.push(id) === 1) throw new Error('of another handler');
          });
        });
        const id = await publish('Twice');
        await page.waitForFunction(() => handed.length === 2);
        equal('what was told', await page.evaluate(() => told), [id]);
      },

      async 'says why it is not connected, and calls offline only what cannot be reached'() {
        await page.evaluate(() => {
          const other = Object.assign(document.createElement('quick-notify-bell'), { id: 'other' });
          other.token = () => {
            throw new Error('you are signed out');
          };
          // Half of a fade, for so long that whoever doesn't wait for its end looks at it.
          const slow = new CSSStyleSheet();
          slow.replaceSync('.panel { animation: half 4s !important } @keyframes half { from, to { opacity: .5 } }');
          other.shadowRoot.adoptedStyleSheets.push(slow);
          document.querySelector('.bar-end').append(other);
        });
        const other = new Bell(page, '#other');
        await other.isNamed('Notifications, Not connected');
        await other.open();
        await other.shows('.state', /^Not connected, trying again in \d+ seconds?Try nowNo token could be had: you are signed out$/);
        await other.has('[part=reason]', 'title', 'No token could be had: you are signed out');
        await other.fits();
        await isAccessible(page, 'a bell without a token');
        await page.screenshot({ path: `${pictures}/refused.png`, animations: 'disabled' });
        await other.close();
        await page.evaluate(() => document.querySelector('#other').remove());
      },
    };
  });
}

run(story);

/**
 * The examples for browsers, in a real Chromium, from another origin than the server's: what is published is shown, once, as text.
 *
 *     node examples.mjs http://127.0.0.1:2025 test1 /tmp/pictures
 */

import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AWAY, Browser } from './chromium.mjs';
import { SDK, tsc } from './declarations.mjs';
import { serveExamples } from './site.mjs';
import { Api, ask, equal, run, say, within } from './story.mjs';

const HTML = '<b onclick="x">bold</b> & \u{1F600}';
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The React example is right by its own tsconfig.json, with React's types and the package's. */
async function typed() {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-react-'));
  try {
    await cp(here('../../examples/react/'), folder, { recursive: true, filter: (path) => !path.includes('node_modules') });
    await mkdir(join(folder, 'node_modules'));
    for (const name of ['@types', 'csstype', 'react', 'react-dom']) await symlink(here(`node_modules/${name}`), join(folder, 'node_modules', name));
    await symlink(SDK, join(folder, 'node_modules/quick-notify'));
    tsc(folder, '-p', '.');
    say('DONE types');
  } finally {
    await rm(folder, { recursive: true });
  }
}

run(async (url, user, pictures) => {
  equal('the user whom the examples name', user, 'test1');
  await typed();
  const api = new Api(url, user);
  const site = await serveExamples(url);
  const browser = new Browser([url, site.url]);
  const items = async (page, expected) => {
    let found;
    const look = async () => {
      const same = () => JSON.stringify(found) === JSON.stringify(expected);
      while (((found = await page.locator('li').evaluateAll((all) => all.map((item) => item.firstChild.textContent.trim()))), !same())) await page.waitForTimeout(20);
    };
    await within(`${expected}`, look()).catch((error) => equal(error.message, found, expected));
  };
  const unread = (page, count) => page.locator('output', { hasText: new RegExp(`^${count}$`) }).waitFor();

  await browser.tell(pictures, async () => ({
    async 'plain HTML shows what comes'() {
      const page = await browser.open(`${site.url}/browser/`);
      await page.getByRole('status').getByText('connected').waitFor();
      say('READY');
      await api.publish({ receiver: user, data: HTML });
      await items(page, [HTML]);
      await unread(page, 1);
      await page.getByRole('button', { name: /^Notifications.*1/ }).waitFor();
      await api.publish({ receiver: user, data: 'second' });
      await items(page, ['second', HTML]);
      await page.close();
    },

    async 'React shows the inbox, and what comes, in strict mode'() {
      const page = await browser.open(`${site.url}/react/`);
      await page.getByRole('status').getByText('Connected as test1').waitFor();
      await items(page, ['second', HTML]);
      await api.publish({ receiver: user, data: 'third' });
      await items(page, ['third', 'second', HTML]);
      await unread(page, 3);
      await page.getByRole('button', { name: /^Notifications.*3/ }).waitFor();

      await page.locator('li', { hasText: 'second' }).getByRole('button', { name: 'Mark as read' }).click();
      await page.locator('li[data-viewed=true]', { hasText: 'second' }).waitFor();
      await unread(page, 2);
      await page.locator('li', { hasText: 'bold' }).getByRole('button', { name: 'Delete' }).click();
      await items(page, ['third', 'second']);
      await unread(page, 1);
    },

    async 'React goes on when the server is back'() {
      const [page] = browser.context.pages().slice(-1);
      browser.expected = AWAY;
      await ask('KILL', 'KILLED');
      await page.getByRole('status').getByText(/closed|cannot/).waitFor();
      await ask('RESTART', 'RESTARTED');
      await api.publish({ receiver: user, data: 'after the crash' });
      await items(page, ['after the crash', 'third', 'second']);
      await page.getByRole('status').getByText('Connected as test1').waitFor();
      browser.expected = [];
    },

    async 'React has another list for another user'() {
      const [page] = browser.context.pages().slice(-1);
      await page.getByLabel('User').selectOption('test2');
      await page.getByRole('status').getByText('Connected as test2').waitFor();
      await items(page, []);
      await api.publish({ receiver: 'test2', data: 'for the other' });
      await items(page, ['for the other']);
      await page.getByLabel('User').selectOption('test1');
      await items(page, ['after the crash', 'third', 'second']);
    },

    async 'React says why a button failed, and has none for what is in no inbox'() {
      const [page] = browser.context.pages().slice(-1);
      const row = (text) => page.locator('li', { hasText: text });
      browser.expected = [/ERR_FAILED/];
      await page.route('**/api/notify/delete', (route) => route.abort());
      await row('third').getByRole('button', { name: 'Delete' }).click();
      await page.getByRole('alert').getByText('The server cannot be reached.').waitFor();
      await page.unroute('**/api/notify/delete');
      browser.expected = [];
      await api.publish({ everyone: true, data: 'to all' });
      await row('to all').waitFor();
      equal('the buttons of a broadcast', await row('to all').getByRole('button').count(), 0);
      equal('the buttons of others', await row('after the crash').getByRole('button').count(), 2);
    },

    async 'React believes no answer that is older than what it was told'() {
      const [page] = browser.context.pages().slice(-1);
      let answered, release;
      const [old, later] = [new Promise((resolve) => (answered = resolve)), new Promise((resolve) => (release = resolve))];
      await page.route('**/api/notify/history*', async (route) => {
        const response = await route.fetch();
        answered();
        await later;
        await route.fulfill({ response });
      });
      await page.reload();
      await within('the old answer', old);
      await unread(page, 2);
      const [newest, third] = await api.history();
      equal('what is unread', [newest.data, third.data], ['after the crash', 'third']);
      await api.viewed([newest.id]);
      await unread(page, 1);
      await api.delete([third.id]);
      await unread(page, 0);
      release();
      await items(page, ['after the crash', 'second']);
      equal('what is viewed', await page.locator('li[data-viewed=true]').count(), 2);
    },
  }));
  site.close();
});

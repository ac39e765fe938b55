/**
 * Two tabs of one user, on two nodes: what one reads the other shows, and the tab whose node is killed is back on another one with
 * nothing lost and nothing twice on the screen. The first tab goes through a balancer, the second straight to its node.
 *
 *     node bell-nodes.mjs NODE_OF_THE_FIRST test1 /tmp/pictures BALANCER NODE_OF_THE_SECOND
 */

import { join } from 'node:path';
import { Api, ask, equal, run, within } from './story.mjs';
import { AWAY, Browser } from './chromium.mjs';
import { Bell } from './bell-tab.mjs';

async function story(url, user, pictures, balancer, second) {
  const browser = new Browser([balancer, second]);
  const api = new Api(second, user);
  let sent = 0;
  const publish = async (count = 1) => {
    const drafts = Array.from({ length: count }, () => ({ receiver: user, data: `Number ${(sent += 1)}` }));
    return (await api.publish(drafts)).items.map(({ id }) => id);
  };
  /** What the live list shows, oldest first. */
  const live = (tab) => tab.page.locator('#live li').evaluateAll((items) => items.map(({ dataset }) => dataset.id).reverse());
  const showsLive = (tab, count) => {
    const shown = async () => {
      while ((await live(tab)).length < count) await tab.page.waitForTimeout(20);
    };
    return within(`${count} in the live list`, shown());
  };
  const ids = [];
  let tabs = [];

  await browser.tell(pictures, async () => ({
    async 'both get it, and what one reads the other shows as read'() {
      tabs = [new Bell(await browser.open(`${balancer}/`)), new Bell(await browser.open(`${second}/`))];
      for (const tab of tabs) await tab.connect();
      ids.push(...(await publish(3)));
      for (const tab of tabs) {
        await tab.isNamed('Notifications, 3 unread');
        await tab.page.bringToFront();
        await tab.open();
        await tab.lists([...ids].reverse());
      }
      await tabs[1].item(ids[0]).locator('.read').click();
      for (const tab of tabs) {
        await tab.isRead(ids[0]);
        await tab.isNamed('Notifications, 2 unread');
      }
      const [gone] = ids.splice(1, 1);
      await tabs[0].page.bringToFront();
      await tabs[0].item(gone).locator('.delete').click();
      for (const tab of tabs) {
        await tab.lists([...ids].reverse());
        await tab.isNamed('Notifications, 1 unread');
      }
    },

    async 'the node of one is killed: it is back on another one, with nothing lost and nothing twice'() {
      await showsLive(tabs[0], 3); // the bell may have read them in the inbox before they came
      const before = await live(tabs[0]);
      browser.expected = AWAY;
      const gone = within('the loss of the session', tabs[0].page.evaluate(() => new Promise((lost) => document.querySelector('#bell').addEventListener('quick-notify:state', lost, { once: true }))));
      await ask('KILL', 'KILLED');
      const began = Date.now();
      const back = gone.then(() => tabs[0].shows('.state', /^Live/)).then(() => console.error(`back after ${Date.now() - began} ms`));
      const meanwhile = await publish(20);
      await tabs[1].item(ids[0]).locator('.delete').click(); // which the first tab can't be told
      await tabs[1].item(ids.shift()).waitFor({ state: 'detached' });
      await back;
      const after = await publish(2);
      ids.push(...meanwhile, ...after);
      for (const tab of tabs) {
        await tab.lists([...ids].reverse());
        await tab.isNamed(`Notifications, ${ids.length} unread`);
      }
      browser.expected = [];
      const all = [...before, ...meanwhile, ...after];
      await showsLive(tabs[0], all.length);
      equal('the live list', await live(tabs[0]), all);
      equal('the inbox', (await api.history()).map(({ id }) => id), [...ids].reverse());
      await tabs[0].page.bringToFront();
      await tabs[0].page.screenshot({ path: join(pictures, 'back.png') });
    },

    async 'and all is as it was'() {
      await tabs[0].$('[part=mark-all]').click();
      for (const tab of tabs) await tab.isNamed('Notifications');
      equal('unread by REST', await api.unread(), 0);
    },
  }));
}

run(story);

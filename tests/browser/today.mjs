/**
 * A page of today's users (`today.html`), as a person uses it, on another origin than the server's.
 *
 *     node today.mjs http://127.0.0.1:2025 3000 websocket
 */

import { inChromium } from './chromium.mjs';
import { serve } from './elsewhere.mjs';
import { Api, ask, equal, giveUp, run, say, within } from './story.mjs';

const USER = 'test1';
const PUSHED = '200 Message pushed successfully';
const ODD = 'Hello World & 100% = \u{1F44B} + </script> \u2028';

run((url, port, transport) => inChromium({}, async (context) => {
  const elsewhere = await serve(port);
  const page = context.pages()[0];
  page.on('pageerror', giveUp);
  await page.goto(`${elsewhere}/today.html?server=${url}&transports=${transport}`);
  const $ = (selector) => page.locator(selector);
  const api = new Api(url, USER);
  const publish = async (data) => (await api.publish({ receiver: USER, data })).id;
  const state = (text) => $(`#state:text-is("${text}")`).waitFor();
  const shown = async (list) => (await $(`#${list} li`).allTextContents()).reverse();
  const listed = async (list, count) => {
    await $(`#${list} li`).nth(count - 1).waitFor();
    equal(`#${list}`, await $(`#${list} li`).count(), count);
  };
  const press = async (button, text) => {
    await $('#text').fill(text);
    await $(`#${button}`).click();
    await $(`#answer:text-is("${PUSHED}")`).waitFor();
  };

  // History is there before anything is live; what waited comes once it is connected.
  const before = [await publish('one'), await publish('two')];
  await api.lists(before);
  await $('#token').fill(USER);
  await $('#connect').click();
  await state(`here as ${USER}`);
  equal('the transport', await page.evaluate(() => used), transport);
  say('READY');
  await listed('past', 2);
  equal('the history', await shown('past'), [`STRING_MSG to ${USER}: one`, `STRING_MSG to ${USER}: two`]);
  await listed('live', 2);

  // Live, as typed, and confirmed by /app/ack: nothing comes a second time.
  await publish(ODD);
  await listed('live', 3);
  equal('what is live', (await shown('live')).at(-1), `STRING_MSG to ${USER}: ${ODD}`);

  // The buttons. A user and a cluster's user are kept; all are told once.
  await $('#to').fill(USER);
  await press('to-one', ODD);
  await listed('live', 4);
  await press('to-cluster', 'in the cluster');
  await listed('live', 5);
  await press('to-all', 'to all');
  await listed('live', 6);
  equal('the last three', (await shown('live')).slice(-3), [`STRING_MSG to ${USER}: ${ODD}`, `STRING_MSG to ${USER}: in the cluster`, 'STRING_MSG to *: to all']);
  await $('#load').click();
  await listed('past', 5);

  // What it says itself comes back on the topic; one message behind the other, and the page skips them.
  const words = ['a', ODD, 'b', 'c', 'd'];
  await page.evaluate((words) => words.forEach((word) => ((document.getElementById('text').value = word), document.getElementById('say').click())), words);
  await page.waitForFunction((count) => said.length >= count, words.length);
  equal('what was said', await page.evaluate(() => said), words.map((payload) => ({ payload })));
  await listed('live', 6);

  // The server dies and returns: the page is back by its own timer, and shows what it missed once.
  await ask('KILL', 'KILLED');
  await ask('RESTART', 'RESTARTED');
  const missed = await publish('missed');
  await page.waitForFunction((id) => document.querySelector(`#live [data-id="${id}"]`), missed);
  await state(`here as ${USER}`);
  const last = await publish('last');
  await page.waitForFunction((id) => document.querySelector(`#live [data-id="${id}"]`), last);
  await listed('live', 8);

  // All that was confirmed stays away: the page, opened anew, is told what is new alone.
  const stored = (id) => page.evaluate((id) => new Promise((resolve) => {
    client.onreceipt = resolve;
    client.send('/app/ack', { receipt: 'stored' }, id);
  }), id);
  await within('the confirmation, stored', stored(last));
  await $('#disconnect').click();
  await state('away');
  await page.reload();
  await $('#token').fill(USER);
  await $('#connect').click();
  await state(`here as ${USER}`);
  await listed('past', 7);
  await publish('new');
  await listed('live', 1);
  equal('what is live', await shown('live'), [`STRING_MSG to ${USER}: new`]);
  await $('#disconnect').click();
  await state('away');
}));

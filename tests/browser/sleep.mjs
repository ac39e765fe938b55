/**
 * A page that is away, in a real Chromium: frozen in the background, kept in the back/forward cache, loaded anew, without a line. Each
 * time it is back it has what it missed, once, in order.
 *
 *     node sleep.mjs http://127.0.0.1:2025 test1
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { Api, PATIENCE, ask, equal, run, say, within } from './story.mjs';

/** In the page: a client with a list of what it was handed, which lives as long as the page. */
async function begin({ user, options }) {
  const { QuickNotify } = await import('/sdk/quick-notify.js');
  globalThis.seen = [];
  globalThis.states = [];
  globalThis.client = new QuickNotify({ token: user, storage: sessionStorage, ...options });
  globalThis.client.on('notification', ({ data }) => globalThis.seen.push(data));
  globalThis.losses = [];
  globalThis.client.on('state', ({ state, code }) => (globalThis.states.push(state), state === 'waiting' && globalThis.losses.push(code)));
  await globalThis.client.connect();
}

run(async (url, user) => {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-sleep-'));
  const executablePath = execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim();
  const context = await chromium.launchPersistentContext(folder, {
    executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'], ignoreDefaultArgs: ['--disable-back-forward-cache'], timeout: 60_000,
  });
  context.setDefaultTimeout(PATIENCE);
  try {
    const [page] = context.pages();
    const api = new Api(url, user);
    let count = 0;
    const expected = [];
    const publish = async () => {
      const texts = [`${++count}`, `${++count}`];
      await api.publish(texts.map((data) => ({ receiver: user, data })));
      expected.push(...texts);
    };
    const saw = async (what) => {
      await within(`${what}: ${expected}`, page.waitForFunction((last) => globalThis.seen.includes(last), expected.at(-1)));
      equal(what, await page.evaluate(() => globalThis.seen), expected);
    };
    const states = (from = 0) => page.evaluate((from) => globalThis.states.slice(from), from);
    const start = async (options = {}) => {
      await page.goto(`${url}/`);
      await page.evaluate(begin, { user, options });
    };

    await start();
    say('READY');
    await publish();
    await saw('what came while it was seen');

    // Frozen in the background, over a crash of the server.
    const devtools = await context.newCDPSession(page);
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    await publish();
    await ask('KILL', 'KILLED');
    await ask('RESTART', 'RESTARTED');
    await publish();
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    await saw('what came while it was frozen');
    say('DONE frozen');

    // Another page, and back: the page goes on where it was, if the browser kept it.
    await page.goto(`${url}/icon.svg`);
    await publish();
    await page.goBack({ waitUntil: 'commit' });
    const kept = await page.evaluate(() => 'seen' in globalThis);
    equal('kept in the back/forward cache', kept, true);
    await saw('what came while it was in the cache');
    say('DONE cached');

    // Loaded anew: what it was given is confirmed, what came since is not. A page that goes writes its place at once.
    await page.evaluate(() => globalThis.client.close());
    expected.length = 0;
    await publish();
    await start();
    await saw('what came while it was loaded anew');
    await publish();
    await saw('what came then');
    const last = await page.evaluate(() => globalThis.client.lastSeq);
    await page.goto(`${url}/icon.svg`);
    const place = await page.evaluate(() => Object.values({ ...sessionStorage }));
    equal('the place', place, [String(last)]);
    expected.length = 0;
    await start();
    await publish();
    await saw('what came after the load');
    say('DONE loaded');

    // Nobody there, and a long wait before it: it is cut short when the computer is online again.
    await page.evaluate(() => globalThis.client.close());
    expected.length = 0;
    // Without heart-beats, so that nothing but what is asked below finds the dead line; and dice that make the first wait ten minutes long.
    await start({ heartBeat: 0 });
    await page.evaluate(() => (Math.dice = Math.random, Math.random = () => 1200));
    await ask('KILL', 'KILLED');
    await within('a long wait', page.waitForFunction(() => globalThis.client.state.retryAt - Date.now() > 300_000));
    await page.evaluate(() => (Math.random = Math.dice));
    await ask('RESTART', 'RESTARTED');
    const before = (await states()).length;
    await page.evaluate(() => dispatchEvent(new Event('online')));
    await publish();
    await saw('what came after it was online');
    equal('its ways', await states(before), ['connecting', 'connected']);
    say('DONE online');

    // The line is dead and nobody said so: it is asked for a sign of life, and left.
    const losses = await page.evaluate(() => globalThis.losses.length);
    await ask('STOP', 'STOPPED');
    await page.evaluate(() => dispatchEvent(new Event('online')));
    // It may be on its next try when it is looked at: what counts is why the first one ended.
    await within('the loss', page.waitForFunction((from) => globalThis.losses.length > from, losses));
    equal('why', await page.evaluate((from) => globalThis.losses[from], losses), 'server-silent');
    await ask('CONTINUE', 'CONTINUED');
    await publish();
    await saw('what came after the silence');
    say('DONE silent');
  } finally {
    await context.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

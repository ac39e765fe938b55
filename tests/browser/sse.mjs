/**
 * Two readers of server-sent events in a real Chromium: an `EventSource` with tickets, and `fetch` with a header.
 *
 *     node sse.mjs http://127.0.0.1:2025 test1
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { Api, PATIENCE, ask, equal, fail, run, say, within } from './story.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
const HTML = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>\nid: 99\n\ndata: &amp; \u{1F600}';

async function story(url, user) {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-chromium-'));
  const executablePath = execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim();
  const context = await chromium.launchPersistentContext(folder, { executablePath, args: FLAGS, timeout: 60_000 });
  context.setDefaultTimeout(PATIENCE);
  try {
    const page = context.pages()[0];
    await page.goto(`${url}/`);
    await page.evaluate(readers, { url, user });
    const example = await context.newPage();
    await example.goto(`${new URL('../../examples/sse.html', import.meta.url)}?${new URLSearchParams({ server: url, user: `${user}2` })}`);
    await tell(page, url, user, example);
  } finally {
    await context.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function tell(page, url, user, example) {
  const api = new Api(url, user);
  const publish = async (data) => (await api.publish({ receiver: user, data })).id;
  const got = (reader) => page.evaluate((reader) => window.readers[reader].got, reader);
  const state = (reader) => page.evaluate((reader) => window.readers[reader].opened, reader);
  const until = async (what, check) => {
    let found;
    const look = async () => {
      while (!check((found = await Promise.all(['source', 'fetched'].map(got))))) await page.waitForTimeout(20);
    };
    await within(what, look()).catch((error) => fail(`${error.message}: ${JSON.stringify(found)}`));
  };
  const both = (ids) => until(`both got ${ids}`, (all) => all.every((got) => ids.every((id) => got.some((event) => event.id === id))));

  const first = await publish(HTML);
  await both([first]);
  for (const reader of ['source', 'fetched']) {
    const [event] = await got(reader);
    equal(`${reader}: its text`, event.data, HTML);
    equal(`${reader}: the id to resume behind`, event.lastEventId, '1');
    equal(`${reader}: opened`, await state(reader), 1);
  }
  await until('an attempt more at what is not confirmed', (all) => all.every((got) => got.some((event) => event.attempt === 2)));
  const again = (await got('source')).find((event) => event.attempt === 2);
  equal('the id to resume behind, after an attempt more', again.lastEventId, '1');
  await page.evaluate((ids) => window.confirm_(ids), [first]);
  const shown = async (data) => {
    const { id } = await api.publish({ receiver: `${user}2`, data });
    await example.locator(`li[data-id="${id}"]`).waitFor();
    equal('what the example shows', await example.locator(`li[data-id="${id}"]`).allTextContents(), [data]);
  };
  await shown(HTML);
  say('READY');

  await ask('KILL', 'KILLED');
  await ask('RESTART', 'RESTARTED');
  const missed = [];
  for (let n = 0; n < 20; n += 1) missed.push(await publish(`while they come back ${n}`));
  await both(missed);
  for (const reader of ['source', 'fetched']) {
    const events = await got(reader);
    const firsts = [...new Set(events.map((event) => event.id))];
    equal(`${reader}: in order, each once`, firsts, [first, ...missed]);
    const opened = await state(reader);
    if (opened < 2) fail(`${reader} was opened ${opened} times`);
  }
  await page.evaluate((ids) => window.confirm_(ids), missed);
  const last = await publish('the last');
  await both([last]);
  await shown('after the restart');
  await confirmed(url, `${user}2`);
  equal('the title of the example', await example.title(), 'Notifications by server-sent events');
  equal('the title', (await page.title()).includes('owned'), false);
}

/** Waits until nothing of this user waits to be confirmed: a stream that is opened anew gets nothing. */
async function confirmed(url, user) {
  const look = async () => {
    for (;;) {
      const answer = await fetch(`${url}/sse/notify`, { headers: { Authorization: user } });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      // The place where it begins comes behind the first page of the inbox is read, and before what is in it.
      while (!/^id: /m.test(text)) text += (await reader.read()).value;
      const marker = await new Api(url, user).publish({ everyone: true, data: 'a mark' });
      while (!text.includes(marker.id)) text += (await reader.read()).value;
      await reader.cancel();
      if (!text.includes('"replayed":true')) return;
    }
  };
  await within('the confirmation of all that the example showed', look());
}

/** What a page does, in the page. */
function readers({ url, user }) {
  const post = async (path, body) => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers: { Authorization: user }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  };
  const soon = () => new Promise((resolve) => setTimeout(resolve, 100));
  window.confirm_ = (ids) => post('/api/notify/ack', ids);
  const source = { got: [], opened: 0 };
  const fetched = { got: [], opened: 0 };
  window.readers = { source, fetched };

  // An EventSource comes back by itself while nobody answers; one that is refused, since its ticket is used, is opened anew with a fresh one.
  (async function open() {
    let ticket;
    try {
      ({ ticket } = await post('/api/ticket'));
    } catch {
      await soon();
      return open();
    }
    const query = new URLSearchParams({ ticket });
    if (source.last !== undefined) query.set('last_event_id', source.last);
    const events = new EventSource(`${url}/sse/notify?${query}`);
    events.addEventListener('connected', () => (source.opened += 1));
    events.addEventListener('notification', (event) => {
      if (event.lastEventId) source.last = event.lastEventId;
      source.got.push({ ...JSON.parse(event.data), lastEventId: event.lastEventId });
    });
    events.addEventListener('error', async () => {
      if (events.readyState !== EventSource.CLOSED) return;
      await soon();
      open();
    });
  })();

  (async function read() {
    const headers = { Authorization: `Bearer ${user}`, ...(fetched.last && { 'Last-Event-ID': fetched.last }) };
    try {
      const answer = await fetch(`${url}/sse/notify`, { headers });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          const field = (name) => event.split('\n').filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join('\n');
          fetched.last = field('id') || fetched.last;
          if (field('event') === 'connected') fetched.opened += 1;
          if (field('event') === 'notification') fetched.got.push({ ...JSON.parse(field('data')), lastEventId: fetched.last });
        }
      }
    } catch {
      // It is away.
    }
    await soon();
    return read();
  })();
}

run(story);

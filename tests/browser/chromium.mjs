/**
 * A real Chromium for the stories: it is started, watched and taken away again. What a page says or asks for that no page of ours
 * should (errors, broken policies, dialogs, requests to elsewhere) is a complaint, and fails the chapter.
 */

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { PATIENCE, equal, fail, say } from './story.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Runs `story(context)` in one of its own, without a window and with an empty profile, and closes it. */
export async function inChromium(options, story) {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-chromium-'));
  const executablePath = execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim();
  const context = await chromium.launchPersistentContext(folder, { executablePath, args: FLAGS, timeout: 60_000, ...options });
  context.setDefaultTimeout(PATIENCE);
  try {
    return await story(context);
  } finally {
    await context.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Browser {
  /** What the pages said and asked for that no page of ours should. */
  complaints = [];
  /** What the browser itself complains of, and is expected to: patterns, while they are. */
  expected = [];

  /** @param {string[]} origins which the pages may ask */
  constructor(origins) {
    this.origins = origins;
  }

  /** Tells each chapter; what goes wrong is pictured. @param {(browser: Browser) => Promise<Record<string, () => Promise<void>>>} chapters */
  async tell(pictures, chapters) {
    await inChromium({ viewport: { width: 1280, height: 860 }, colorScheme: 'light', locale: 'en-US' }, async (context) => {
      this.context = context;
      await this.#prepare(context);
      try {
        await mkdir(pictures, { recursive: true });
        for (const [name, chapter] of Object.entries(await chapters(this))) {
          await chapter();
          equal(`what went wrong in “${name}”`, this.complaints, []);
          say(`DONE ${name}`);
        }
      } catch (error) {
        const pages = context.pages();
        for (const [index, page] of pages.entries()) await page.screenshot({ path: join(pictures, `failed-${index}.png`) }).catch(() => {});
        for (const complaint of this.complaints) console.error(`complaint: ${complaint}`);
        throw error;
      }
    });
  }

  #prepare(context) {
    context.on('request', (request) => {
      if (!this.origins.includes(new URL(request.url()).origin)) this.complaints.push(`a request to ${request.url()}`);
    });
    return context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`));
    });
  }

  /** A further tab at this address. @param {string} address @param {{width: number, height: number}} [size] */
  async open(address, size) {
    const page = await this.context.newPage();
    this.watch(page);
    if (size) await page.setViewportSize(size);
    await page.goto(address);
    return page;
  }

  watch(page) {
    const complain = (text) => this.expected.some((pattern) => pattern.test(text)) || this.complaints.push(text);
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complain(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => complain(`exception: ${error.message} ${error.stack}`));
    page.on('dialog', (dialog) => complain(`a dialog: ${dialog.message()}`));
    page.on('websocket', (socket) => {
      if (!this.origins.includes(new URL(socket.url()).origin.replace(/^ws/, 'http'))) complain(`a WebSocket to ${socket.url()}`);
    });
  }
}

/** What the browser says while a server is away. */
export const AWAY = [/ERR_CONNECTION_REFUSED/, /WebSocket connection to .* failed/, /ERR_CONNECTION_RESET/, /ERR_EMPTY_RESPONSE/, /status of 50[234]/];

let axe;

/** What axe-core finds that shuts somebody out: nothing. Shadow trees are looked into. */
export async function isAccessible(page, what) {
  axe ??= await readFile(fileURLToPath(new URL('node_modules/axe-core/axe.min.js', import.meta.url)), 'utf8');
  await page.evaluate(`${axe}; 0`);
  await settled(page);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
  const found = violations.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target.flat()} ${failureSummary}`).join('; ')}`);
  equal(`what shuts somebody out of ${what}`, found, []);
  if (passes.length < 30) fail(`axe looked at ${passes.length} things only in ${what}`);
}

/** Until what moves has come to its end: half of a fade has no contrast. */
export async function settled(page) {
  await page.evaluate(`Promise.allSettled((${moving})(document).filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity).map(({ finished }) => finished)).then(() => {})`);
}

/** How many things move. */
export async function movements(page) {
  return page.evaluate(`(${moving})(document).length`);
}

/** What moves in a tree and in the shadow trees below it, which `getAnimations` of the outer one leaves out. Runs in the page. */
function moving(root) {
  const inside = (tree) => [...tree.getAnimations(), ...[...tree.querySelectorAll('*')].flatMap(({ shadowRoot }) => (shadowRoot ? inside(shadowRoot) : []))];
  return inside(root);
}

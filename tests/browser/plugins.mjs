/**
 * The page's section of attached plugins in a real Chromium. Beside the server of the first argument `censor` is attached, `groups` is refused for an
 * order that is HTML, and `stranger` may not attach. At the address of the fourth no plugins attach; that of the fifth asks for the key of the sixth.
 *
 *     node plugins.mjs http://127.0.0.1:2025 test1 /tmp/pictures http://127.0.0.1:2026 http://127.0.0.1:2027 KEY
 */

import { join } from 'node:path';
import { equal, fail, run, within } from './story.mjs';
import { Browser, isAccessible } from './chromium.mjs';

async function story(url, _user, pictures, without, keyed, key) {
  const browser = new Browser([url, without, keyed]);
  await browser.tell(pictures, async () => {
    const page = browser.context.pages()[0];
    browser.watch(page);
    await page.goto(`${url}/`);
    const about = { page, url, pictures, browser, without, keyed, key };
    return Object.fromEntries(Object.entries(chapters).map(([name, chapter]) => [name, () => chapter(about)]));
  });
}

/** Waits until what is said of a plugin matches. */
async function says(page, name, pattern) {
  let found;
  const look = async () => {
    const item = page.locator(`#plugin-list li[data-plugin="${name}"]`);
    while (!pattern.test((found = (await item.allTextContents()).join(' ')))) await page.waitForTimeout(20);
  };
  await within(`${name} showing ${pattern}`, look()).catch((error) => fail(`${error.message}; it shows “${found}”`));
}

const chapters = {
  async 'lists who is attached, who is refused and why, and who may not attach'({ page }) {
    await says(page, 'censor', /^censorattached1\.0\.01 instance/);
    await says(page, 'censor', /revieworder 500, 0 answered, 0 failed/);
    await says(page, 'groups', /refused.*its metadata's order is "<img src=x.*To mend it: say such a number/);
    await says(page, 'stranger', /not allowed.*\[attach\.plugins\.stranger\]\s+hooks = \["review"\]/);
    equal('elements that a plugin made', await page.locator('#plugins img').count(), 0);
  },

  async 'shuts nobody out, in light and dark'({ page, pictures }) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await isAccessible(page, `the page with plugins, ${colorScheme}`);
      await page.screenshot({ path: join(pictures, `plugins-${colorScheme}.png`), fullPage: true, animations: 'disabled' });
    }
    const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > window) fail(`the page is ${wide} wide, and the window ${window}`);
  },

  async 'follows what happens, and leaves what is the same alone'({ page, url }) {
    const decide = async (verb) => equal(verb, (await fetch(`${url}/api/plugins/censor/${verb}`, { method: 'POST' })).status, 200);
    await decide('disable');
    await says(page, 'censor', /^censordisabled/);
    await decide('enable');
    await says(page, 'censor', /^censorattached/);
    const same = await page.locator('#plugin-list li').first().elementHandle();
    // The answer of a round is shown before the next round asks.
    for (let rounds = 0; rounds < 3; rounds += 1) await page.waitForResponse((response) => response.url().endsWith('/api/plugins'));
    if (!(await same.evaluate((node) => node.isConnected))) fail('it was made anew, and nothing had changed');
  },

  async 'is not there where no plugins attach, and asks for nothing'({ browser, without }) {
    const asked = [];
    browser.context.on('request', (request) => asked.push(request.url()));
    const page = await browser.open(`${without}/`);
    await page.locator('#mode:not([hidden])').waitFor(); // it knows what the server is
    equal('the section', await page.locator('#plugins').isVisible(), false);
    equal('questions', asked.filter((url) => url.startsWith(`${without}/api/plugins`)), []);
    await page.close();
  },

  async 'asks with the key of the form, and not without one'({ browser, keyed, key }) {
    const page = await browser.open(`${keyed}/`);
    await page.locator('#api-key').waitFor();
    equal('the section', await page.locator('#plugins').isVisible(), false);
    browser.expected = [/status of 401/];
    const refused = page.waitForResponse((response) => response.url().endsWith('/api/plugins') && response.status() === 401);
    const type = async (text) => (await page.locator('#api-key').fill(text), await page.locator('#api-key').press('Tab'));
    await type('not the key of anybody');
    await refused;
    equal('the section', await page.locator('#plugins').isVisible(), false);
    await type(key);
    await says(page, 'censor', /^censor(attached|absent)/);
    equal('the section', await page.locator('#plugins').isVisible(), true);
    browser.expected = [];
    await page.close();
  },
};

run(story);

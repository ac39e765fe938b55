/** A tab with the page at `/`, by what a person sees of its bell, and what a screen reader is told. */

import { equal, fail, within } from './story.mjs';

export class Bell {
  constructor(page, selector = '#bell') {
    Object.assign(this, { page, selector });
  }

  /** Playwright looks into open shadow trees. */
  $ = (inside) => this.page.locator(`${this.selector} ${inside}`);

  item(id) {
    return this.$(`[data-id="${id}"]`);
  }

  async connect() {
    await this.page.locator('#connect').click();
    await this.#until('a connected page', () => this.page.locator('#state-text').textContent(), /^Connected as /);
  }

  async open() {
    await this.$('.bell').click();
    await this.$('.panel').waitFor();
  }

  async close() {
    await this.page.keyboard.press('Escape');
    await this.isClosed();
  }

  async isClosed() {
    await this.$('.panel').waitFor({ state: 'hidden' });
    equal('expanded', await this.$('.bell').getAttribute('aria-expanded'), 'false');
  }

  name() {
    return this.$('.bell').getAttribute('aria-label');
  }

  isNamed(name) {
    return this.#until('its name', () => this.name(), name);
  }

  shows(inside, text) {
    return this.#until(inside, async () => (await this.$(inside).first().textContent())?.trim().replace(/\s+/g, ' '), text);
  }

  has(inside, attribute, value) {
    return this.#until(`${attribute} of ${inside}`, () => this.$(inside).first().getAttribute(attribute), value);
  }

  /** What a screen reader is told. */
  says(text) {
    return this.#until('what is said', async () => (await this.$('[role=status]').textContent()).trim(), text);
  }

  /** Newest first, as they are listed. */
  ids() {
    return this.$('article').evaluateAll((items) => items.map(({ dataset }) => dataset.id));
  }

  lists(ids) {
    return this.#until('what is listed', async () => (await this.ids()).join(' '), ids.join(' '));
  }

  count(count) {
    return this.#until('how many are listed', async () => String((await this.ids()).length), String(count));
  }

  isRead(id) {
    return this.#until(`read ${id}`, async () => String(await this.item(id).evaluate((item) => item.classList.contains('unread'))), 'false');
  }

  /** What has the focus, within the bell. */
  async focus() {
    return this.page.evaluate(() => {
      let active = document.activeElement;
      while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
      return { id: active?.dataset?.id, part: active?.getAttribute('part') };
    });
  }

  /** @param {{id?: string, part?: string}} wanted */
  focused(what, wanted) {
    const [[key, value]] = Object.entries(wanted);
    return this.#until(`the focus on ${what}`, async () => (await this.focus())[key], value);
  }

  /** As somebody without a mouse gets there. */
  async tabTo(what, isThere) {
    for (let presses = 0; presses < 60; presses += 1) {
      await this.page.keyboard.press('Tab');
      if (isThere(await this.focus())) return;
    }
    fail(`60 times Tab did not lead to ${what}`);
  }

  /** Nothing is cut off, and all targets are large enough (WCAG 2.2, 2.5.8). */
  async fits() {
    const found = await this.page.evaluate((selector) => {
      const root = document.querySelector(selector).shadowRoot;
      const panel = root.querySelector('.panel').getBoundingClientRect();
      const small = [...root.querySelectorAll('button')].map((button) => [button.getAttribute('part'), button.getBoundingClientRect()])
        .filter(([, { width, height }]) => width && (width < 24 || height < 24)).map(([part, { width, height }]) => `${part} ${width}×${height}`);
      const wide = [...root.querySelectorAll('.head, .body, .item')].filter((each) => each.scrollWidth > each.clientWidth + 1).map(({ className }) => className);
      const outside = panel.left < 0 || panel.top < 0 || panel.right > innerWidth || panel.bottom > innerHeight;
      return { small, wide, outside, page: document.documentElement.scrollWidth > innerWidth };
    }, this.selector);
    equal('what does not fit', found, { small: [], wide: [], outside: false, page: false });
  }

  async #until(what, look, wanted) {
    let found;
    const ok = () => (wanted instanceof RegExp ? wanted.test(found ?? '') : found === wanted);
    const asking = async () => {
      while ((found = await look(), !ok())) await this.page.waitForTimeout(20);
    };
    await within(`${what}: ${wanted}`, asking()).catch((error) => fail(`${error.message}; it is ${found}`));
  }
}

/** Elements by a few words. What is said goes in as text: nothing here reads HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {{[property: string]: unknown}} [properties] `part`, `role`, `type` and the like; `aria-…` and `data-…` become attributes,
 *   `on…` listeners
 * @param {(Node | string | null | false)[]} [children]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(name, properties = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === 'function') made.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else if (key in made && typeof value !== 'string') Object.assign(made, { [key]: value });
    else if (key === 'textContent') made.textContent = String(value);
    else made.setAttribute(key, String(value));
  }
  made.append(.../** @type {(Node | string)[]} */ (children.filter(Boolean)));
  return made;
}

/** Changes a text only if it is another one: a screen reader need not hear it again. @param {Element} of @param {string} text */
export function say(of, text) {
  if (of.textContent !== text) of.textContent = text;
}

/** @param {Element} of @param {string} name @param {string} value */
export function attribute(of, name, value) {
  if (of.getAttribute(name) !== value) of.setAttribute(name, value);
}

const SVG = 'http://www.w3.org/2000/svg';

/** The pictures, as strokes in a box of 24. */
const PATHS = {
  bell: ['M18 8.5a6 6 0 0 0-12 0c0 6.5-2.5 8-2.5 8h17S18 15 18 8.5Z', 'M10.2 20a2.1 2.1 0 0 0 3.6 0'],
  check: ['m5 12.5 4.5 4.5L19 7.5'],
  checks: ['m2.5 12.5 4.5 4.5L16 8', 'm12 16 1 1 8.5-9'],
  bin: ['M4 7h16', 'M9.5 7V4.5h5V7', 'm6.5 7 .9 12.5h9.2L17.5 7', 'M10.2 10.8v5', 'M13.8 10.8v5'],
  cross: ['M6.5 6.5l11 11', 'M17.5 6.5l-11 11'],
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', 'aria-hidden': 'true', class: `icon icon-${name}` })) svg.setAttribute(key, value);
  for (const d of PATHS[name]) svg.appendChild(document.createElementNS(SVG, 'path')).setAttribute('d', d);
  return svg;
}

/** Puts the panel below its button, or above it where there is more room, and within the window. */

const MARGIN = 8;
const GAP = 6;
const LEAST = 260; // px of height below which the other side is looked at

/** @param {HTMLElement} panel @param {HTMLElement} button */
export function place(panel, button) {
  const at = button.getBoundingClientRect();
  const [width, height] = [document.documentElement.clientWidth, window.innerHeight];
  const below = height - at.bottom - GAP - MARGIN;
  const above = at.top - GAP - MARGIN;
  const isBelow = below >= LEAST || below >= above;
  // A button that was scrolled out of the window takes nothing along.
  const room = Math.min(Math.max(isBelow ? below : above, LEAST), height - 2 * MARGIN);
  const set = (/** @type {string} */ name, /** @type {number} */ value) => panel.style.setProperty(name, `${Math.round(value)}px`);
  set('--room', room);
  const box = panel.getBoundingClientRect();
  const isRightToLeft = getComputedStyle(button).direction === 'rtl';
  // Its far edge below the button's far edge, as long as that fits.
  const left = isRightToLeft ? at.left : at.right - box.width;
  set('left', Math.min(Math.max(left, MARGIN), Math.max(MARGIN, width - box.width - MARGIN)));
  const top = isBelow ? at.bottom + GAP : at.top - GAP - box.height;
  set('top', Math.min(Math.max(top, MARGIN), Math.max(MARGIN, height - box.height - MARGIN)));
}

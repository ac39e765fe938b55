/**
 * What a browser tells of a page's life: it is seen again, thawed, taken back from the back/forward cache, the computer is
 * online again, or the page goes. Where there is no page (Node), nothing is ever told.
 *
 * `back(many)`: it may have been away. `many`: others are likely to be back in the same moment, a whole office with its line.
 * `leaving()`: what is to be kept must be written now.
 */

/** @param {{back: (many: boolean) => void, leaving: () => void}} listener @returns {() => void} stops listening */
export function listenForWakes({ back, leaving }) {
  const hooks = new AbortController();
  const on = (/** @type {any} */ target, /** @type {string} */ type, /** @type {(event: any) => void} */ step) =>
    target?.addEventListener?.(type, step, { signal: hooks.signal });
  const page = globalThis.document;
  on(globalThis, 'online', () => back(true)); // a hidden tab wants its notifications, too
  on(globalThis, 'pageshow', ({ persisted }) => persisted && back(false));
  on(globalThis, 'pagehide', leaving);
  on(page, 'resume', () => back(false));
  on(page, 'freeze', leaving);
  on(page, 'visibilitychange', () => (page.visibilityState === 'hidden' ? leaving() : back(false)));
  return () => hooks.abort();
}

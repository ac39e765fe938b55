/**
 * How the bell looks. A constructed stylesheet, which a strict content-security-policy lets pass; all bells share it.
 *
 * Colours are custom properties of the bell's own, each of which one of the documented `--quick-notify-…` replaces. Light or dark is what
 * `color-scheme` is where the bell stands.
 */

/** @type {CSSStyleSheet | undefined} */ let sheet;

export function style() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}

/** Name, light, dark. */
const COLOURS = [
  ['accent', '#4f46e5', '#8b8bff'],
  ['on-accent', '#ffffff', '#0c0d1c'],
  ['badge', '#c4271d', '#ff8f87'],
  ['on-badge', '#ffffff', '#2a0605'],
  ['surface', '#ffffff', '#171a20'],
  ['text', '#171a21', '#e9ebf0'],
  ['dim', '#5b6372', '#9aa3b3'],
  ['line', '#e2e5eb', '#2a2f39'],
  ['hover', '#f4f5f8', '#20242c'],
  ['unread', '#f3f3ff', '#1e2033'],
  ['good', '#0b7a4b', '#5fd39b'],
  ['warn', '#8f5200', '#f0b75a'],
  ['bad', '#b3261e', '#ff8f87'],
];
const colours = (/** @type {(light: string, dark: string) => string} */ choose) =>
  COLOURS.map(([name, light, dark]) => `--${name}: var(--quick-notify-${name}, ${choose(light, dark)});`).join(' ');

const CSS = `
/* Not on the host: what the page calls --text is none of ours. */
.bell, .panel { ${colours((light) => light)} }
@supports (color: light-dark(#000, #fff)) {
  .bell, .panel { ${colours((light, dark) => `light-dark(${light}, ${dark})`)} }
}
.bell, .panel {
  --radius: var(--quick-notify-radius, 14px);
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
:host {
  display: inline-block; position: relative; vertical-align: middle;
  font: var(--quick-notify-font, 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", "PingFang SC", "Microsoft YaHei", sans-serif);
}
:host([hidden]) { display: none; }
:host([theme=light]) { color-scheme: light; }
:host([theme=dark]) { color-scheme: dark; }
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
.hidden { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button { font: inherit; color: inherit; cursor: pointer; border: 0; background: none; margin: 0; padding: 0; }
.icon { display: block; width: 1.25rem; height: 1.25rem; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }

/* ---- the button */

.bell {
  position: relative; display: grid; place-items: center; width: var(--quick-notify-size, 2.5rem); height: var(--quick-notify-size, 2.5rem);
  border-radius: 50%; color: var(--quick-notify-icon, var(--text));
}
.bell:hover, .bell[aria-expanded=true] { background: var(--hover); }
.bell .icon { width: 55%; height: 55%; }
.bell.off .icon { opacity: .55; }
.badge {
  position: absolute; top: 0; inset-inline-start: 52%; min-width: 1.2rem; height: 1.2rem; padding: 0 .3rem; border-radius: 1rem;
  font-size: .72rem; font-weight: 700; line-height: 1.2rem; text-align: center; font-variant-numeric: tabular-nums; white-space: nowrap;
  background: var(--badge); color: var(--on-badge); border: 0 solid transparent; box-shadow: 0 0 0 2px var(--surface);
}
.off-sign {
  position: absolute; bottom: 12%; inset-inline-end: 12%; width: .65rem; height: .65rem; border-radius: 50%;
  background: var(--surface); border: 2px solid var(--warn);
}

/* ---- the panel */

.panel {
  position: fixed; inset: auto; margin: 0; padding: 0; z-index: 2147483000; width: min(var(--quick-notify-width, 25rem), 100vw - 16px);
  max-height: min(var(--quick-notify-height, 36rem), var(--room, 80vh)); display: flex; flex-direction: column; overflow: hidden; container-type: inline-size;
  background: var(--surface); color: var(--text); border: 1px solid var(--line); border-radius: var(--radius); text-align: start;
  box-shadow: var(--quick-notify-shadow, 0 12px 36px rgb(16 20 34 / 18%), 0 2px 8px rgb(16 20 34 / 10%));
}
.panel:focus { outline: none; }
:host(:not([open])) .panel { display: none; }
.head { display: flex; flex-wrap: wrap; align-items: center; gap: 0 .35rem; padding: .45rem .5rem .55rem 1rem; border-bottom: 1px solid var(--line); }
@container (max-width: 21rem) { .mark-all span { display: none; } }
.title { flex: 1 1 0; min-width: min-content; font-weight: 650; font-size: 1.02em; letter-spacing: -.005em; overflow-wrap: anywhere; }
.state { flex: 1 0 100%; display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; min-width: 0; font-size: .8em; color: var(--dim); font-variant-numeric: tabular-nums; }
.state .reason { flex: 1 0 100%; max-height: 4.5em; overflow: hidden; overflow-wrap: anywhere; }
.state .dot { flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: currentColor; }
.state[data-state=connected] { color: var(--good); }
.state[data-state=connecting], .state[data-state=waiting] { color: var(--warn); }
.state[data-state=closed] { color: var(--bad); }
.plain { min-height: 2rem; padding: .2rem .6rem; border-radius: 8px; font-size: .87em; font-weight: 550; color: var(--accent); display: inline-flex; align-items: center; gap: .35rem; }
.plain:hover { background: var(--hover); }
.plain[aria-disabled=true] { color: var(--dim); cursor: default; background: none; }
.state .plain { min-height: 1.6rem; margin-block: -.2rem; white-space: nowrap; padding: 0 .4rem; font-size: 1em; text-decoration: underline; text-underline-offset: 2px; }
.square { display: grid; place-items: center; width: 2rem; height: 2rem; border-radius: 8px; color: var(--dim); }
.square:hover { background: var(--hover); color: var(--text); }
.notice {
  display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .3rem .6rem; margin: 0; padding: .55rem 1rem;
  border-bottom: 1px solid var(--line); color: var(--bad); font-size: .9em; overflow-wrap: anywhere;
}
.body { overflow-y: auto; overscroll-behavior: contain; min-height: 0; }
.list { list-style: none; margin: 0; padding: 0; }
.list > li + li { border-top: 1px solid var(--line); }
.item {
  position: relative; display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: .2rem .6rem; align-items: start;
  padding: .75rem .6rem .75rem 1rem; cursor: default;
}
.item.unread { background: var(--unread); }
.item:hover { background: var(--hover); }
.item:focus-visible { outline-offset: -2px; }
.text {
  grid-column: 1; white-space: pre-wrap; overflow-wrap: anywhere; overflow: hidden;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4;
}
.text.code { font-family: var(--mono); font-size: .84em; }
.item.whole .text { display: block; }
.item.unread .text:not(.code) { font-weight: 550; }
.meta { grid-column: 1; display: flex; flex-wrap: wrap; align-items: center; gap: .2rem .5rem; color: var(--dim); font-size: .82em; }
.mark { flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: var(--accent); }
.tag { padding: 0 .45rem; border: 1px solid var(--line); border-radius: 6px; font-size: .92em; overflow-wrap: anywhere; }
.actions { grid-column: 2; grid-row: 1 / span 2; display: flex; gap: .1rem; color: var(--dim); }
.action { display: grid; place-items: center; width: 2rem; height: 2rem; border-radius: 8px; }
.action .icon { width: 1.1rem; height: 1.1rem; }
.action:hover { background: var(--surface); color: var(--accent); }
.action.delete:hover { color: var(--bad); }
.foot { display: flex; justify-content: center; margin: 0; padding: .45rem 1rem; border-top: 1px solid var(--line); color: var(--dim); font-size: .87em; }
.blank { display: grid; justify-items: center; gap: .2rem; padding: 2.6rem 1.5rem 2.8rem; text-align: center; color: var(--dim); }
.blank .icon { width: 2.4rem; height: 2.4rem; stroke-width: 1.25; margin-bottom: .5rem; opacity: .7; }
.blank strong { color: var(--text); font-weight: 600; }
.blank p { margin: 0; font-size: .92em; }

@media (prefers-reduced-motion: no-preference) {
  .panel { animation: appear .14s ease-out; }
  @keyframes appear { from { opacity: 0; transform: translateY(-4px); } }
    .bell.rings .icon { animation: ring .7s ease-in-out; transform-origin: 50% 10%; }
  @keyframes ring { 20% { transform: rotate(13deg); } 40% { transform: rotate(-10deg); } 60% { transform: rotate(6deg); } 80% { transform: rotate(-3deg); } }
  .state[data-state=connecting] .dot { animation: pulse 1s infinite alternate; }
  @keyframes pulse { to { opacity: .25; } }
}
@media (forced-colors: active) {
  .badge { border-width: 1px; forced-color-adjust: none; background: Highlight; color: HighlightText; }
  .dot, .mark { forced-color-adjust: none; background: CanvasText; }
  .item.unread { border-inline-start: 3px solid Highlight; }
}
`;

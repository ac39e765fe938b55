/**
 * The page's section of attached plugins: who is attached, and what became of the questions to them, as the node that is asked sees it.
 *
 * Asks every few seconds while somebody sees it. It isn't there where no plugins attach, nor before there is a key where one is needed.
 * What plugins say of themselves is shown as text, never as HTML.
 */

const EVERY = 3_000;
const STATES = { attached: 'good', absent: '', refused: 'bad', disabled: 'warn' };

const section = document.getElementById('plugins');
const list = document.getElementById('plugin-list');

/** @param {() => string | null} key what to say as `X-API-Key`; null where none is asked for, '' where it isn't known yet */
export function watchPlugins(key) {
  let asking = false;
  let refused = null; // a key that is not asked with again
  const ask = async () => {
    const said = key();
    if (said === '' || said === refused && said !== null) return void (section.hidden = true);
    if (asking || document.hidden || (!section.hidden && !section.open)) return;
    asking = true;
    try {
      const headers = said === null ? {} : { 'X-API-Key': said };
      const response = await fetch('/api/plugins', { headers, signal: AbortSignal.timeout(10_000) });
      if (response.status === 401) refused = said;
      if (response.ok) show(await response.json());
    } catch {
      // The server is away, as the top of the page says.
    } finally {
      asking = false;
    }
  };
  setInterval(ask, EVERY);
  document.addEventListener('visibilitychange', ask);
  section.addEventListener('toggle', ask);
  ask();
}

function show({ enabled, plugins, strangers }) {
  const fresh = list.cloneNode(false);
  fresh.append(...plugins.map(pluginItem), ...strangers.map(strangerItem));
  if (!fresh.childElementCount) fresh.append(item([line('No plugin may attach yet: name one in attach.plugins.')]));
  // What somebody selected stays selected while nothing changes.
  if (!fresh.isEqualNode(list)) list.replaceChildren(...fresh.childNodes);
  section.hidden = !enabled;
}

function pluginItem({ name, state, version, description, required, instances, hooks, events }) {
  const unfit = instances.filter((instance) => instance.refused);
  return item([
    element('div', 'signs', [
      element('strong', '', name),
      element('span', `tag ${state === 'absent' && required ? 'bad' : STATES[state] ?? ''}`, state),
      version && element('span', 'hint', version),
      instances.length > 0 && element('span', 'hint', instances.length === 1 ? '1 instance' : `${instances.length} instances`),
    ]),
    description && line(description),
    ...hooks.map(hookLine),
    events.length > 0 && line(`Is told: ${events.join(', ')}`),
    ...unfit.slice(0, 3).map(({ refused, mend }) => element('p', 'notice bad', `Refused: ${refused}. To mend it: ${mend}.`)),
  ], name);
}

function hookLine({ hook, order, breaker, answered, failed, latency, last_failure: last }) {
  const failures = Object.values(failed).reduce((sum, count) => sum + count, 0);
  const told = [`order ${order}`, `${answered} answered`, `${failures} failed`, latency && `99 % in ${round(latency.p99_ms)} ms`];
  return element('div', 'hook', [
    element('span', 'tag type', hook),
    breaker !== 'closed' && element('span', 'tag bad', breaker === 'open' ? 'left alone' : 'being tried'),
    element('span', 'hint', told.filter(Boolean).join(', ')),
    last && element('span', 'hint', `Last failure, ${new Date(last.at).toLocaleString()}: ${last.text}`),
  ]);
}

function strangerItem({ name, version, allow }) {
  return item([
    element('div', 'signs', [element('strong', '', name), element('span', 'tag warn', 'not allowed'), element('span', 'hint', version)]),
    line('To allow it, say in the configuration:'),
    element('pre', '', allow),
  ], name);
}

const round = (ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
const line = (text) => element('p', 'hint', text);

function item(children, name = '') {
  const made = element('li', '', children);
  made.dataset.plugin = name;
  return made;
}

/** @param {string} name @param {string} className @param {string | (Node | false | null | undefined | '')[]} content a string goes in as text */
function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...(typeof content === 'string' ? [content] : content.filter(Boolean)));
  return made;
}

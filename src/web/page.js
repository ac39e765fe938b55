/**
 * The page at `/`: a person connects as a user, watches what comes, publishes, confirms, and tidies the inbox.
 *
 * All it knows comes through the browser client, which the bell in the header shares; only publishing is a plain fetch, since
 * that is a back end's work, and `plugins.js` asks who is attached. The bell also tells a screen reader what comes.
 * What others wrote is shown as text, never as HTML. Lists are bounded: the live one holds the newest
 * MAX_SHOWN, the inbox MAX_HISTORY.
 */

import '/sdk/bell.js';
import { QuickNotify } from '/sdk/quick-notify.js';
import { watchPlugins } from '/plugins.js';

const MAX_SHOWN = 200;
const MAX_HISTORY = 1000;
const PAGE_SIZE = 20;
const $ = (id) => document.getElementById(id);

let about = { version: '', auth: 'dev', publish: 'open', plugins: false };
let client = null;
let apiKey = ''; // as it was when it was typed to its end

async function start() {
  if (matchMedia('(max-width: 860px)').matches) for (const card of document.querySelectorAll('details.card')) card.open = false;
  $('session').addEventListener('submit', (event) => (event.preventDefault(), client ? disconnect() : connect()));
  $('retry').addEventListener('click', () => client?.connect().catch(() => {}));
  $('refresh').addEventListener('click', refreshToken);
  $('auto-confirm').addEventListener('change', autoConfirmChanged);
  $('clear').addEventListener('click', clearLive);
  $('copy').addEventListener('click', copyCommand);
  $('publish').addEventListener('submit', (event) => (event.preventDefault(), publish()));
  for (const id of ['to-kind', 'type']) $(id).addEventListener('change', shapePublishForm);
  $('data').addEventListener('keydown', (event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && $('publish').requestSubmit());
  $('publish').addEventListener('input', ({ target }) => target.removeAttribute('aria-invalid'));
  $('token').addEventListener('input', showEmpty);
  $('api-key').addEventListener('change', () => (apiKey = $('api-key').value));
  $('topics').addEventListener('submit', (event) => (event.preventDefault(), addTopic()));
  $('reload').addEventListener('click', () => loadHistory(true));
  $('load-more').addEventListener('click', () => loadHistory(false));
  $('view-all').addEventListener('click', () => markViewed(unviewedShown()));
  hookTabs();
  setInterval(showState, 250);
  shapePublishForm();
  showState();
  showEmpty();
  await readAbout();
}

async function readAbout() {
  try {
    about = { ...about, ...(await (await fetch('/api/about')).json()) };
  } catch {
    showNotice('reason', 'The server cannot be reached. The page goes on trying when you connect.', 'bad');
  }
  const dev = about.auth === 'dev';
  const hint = $('token-hint');
  hint.textContent = dev ? 'Development mode: any token that starts with “test” is the name of the user.' : 'A signed token; its subject is the user.';
  $('token').type = dev ? 'text' : 'password';
  if (dev && !$('token').value) $('token').value = 'test1';
  if (dev && !$('to').value) $('to').value = 'test1';
  $('mode').textContent = 'development mode';
  $('mode').hidden = !dev;
  $('api-key-field').hidden = about.publish !== 'key';
  $('version').textContent = `quick-notify ${about.version}`;
  showEmpty();
  if (about.plugins) watchPlugins(() => (about.publish === 'key' ? apiKey : null));
}

// ---- session

function connect() {
  const token = $('token').value.trim();
  if (!token) return;
  showNotice('reason', '');
  client = new QuickNotify({ token, autoConfirm: $('auto-confirm').checked });
  client.on('state', stateChanged);
  client.on('notification', addLive);
  client.on('repeat', repeated);
  client.on('topic', addTopicMessage);
  client.on('unread', showUnread);
  client.on('viewed', ({ ids }) => ids.forEach(showViewed));
  client.on('deleted', ({ ids }) => ids.forEach(showDeleted));
  client.on('gap', ({ from }) => announce(`Older notifications are no longer kept; it goes on at ${from}.`));
  client.on('error', (error) => error.destination ? topicRefused(error) : showNotice('reason', error.message, 'bad'));
  for (const topic of topics.keys()) topics.set(topic, client.subscribe(topic));
  $('bell').client = client;
  client.connect().catch(() => {});
}

async function disconnect() {
  await client?.close();
}

async function refreshToken() {
  try {
    await client.refreshToken($('token').value.trim());
    showNotice('reason', 'The session goes on with this token.', 'good');
  } catch (error) {
    showNotice('reason', error.message, 'bad');
  }
}

let lastUser = null;
let ended = ''; // why the session is over, unless the user wanted it

function stateChanged(state) {
  if (state.state === 'connected') {
    showNotice('reason', '');
    if (state.user !== lastUser) {
      if (lastUser !== null) clearLive();
      lastUser = state.user;
      forgetHistory();
      $('to').value ||= state.user;
    }
    if (!$('panel-history').hidden) loadHistory(true);
    showEmpty();
  } else if (state.state === 'closed') {
    ended = state.code === 'disconnected' ? '' : state.message;
    if (ended) showNotice('reason', `${ended} (${state.code})`, 'bad');
    $('bell').client = client = null;
    forgetHistory();
    showUnread(null);
    showEmpty();
    for (const item of $('live').querySelectorAll('.confirm')) item.disabled = true;
  } else if (state.state === 'waiting' && state.code === 'too-many-sessions') {
    showNotice('reason', 'This user has as many sessions as are allowed. Close one of them elsewhere.', 'bad');
  }
  showState();
}

function showState() {
  const state = client?.state ?? { state: $('state').dataset.state === 'idle' ? 'idle' : 'closed' };
  const seconds = Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000));
  const text = {
    idle: 'Not connected',
    connecting: 'Connecting…',
    connected: `Connected as ${state.user}`,
    waiting: `Reconnecting in ${seconds} s`,
    closed: ended ? `Closed: ${ended}` : 'Disconnected',
  }[state.state];
  $('state').dataset.state = state.state;
  if ($('state-text').textContent !== text) $('state-text').textContent = text;
  $('state').classList.toggle('clean', !ended);
  $('state').title = state.message ?? ended;
  $('retry').hidden = state.state !== 'waiting';
  $('connect').textContent = client ? 'Disconnect' : 'Connect';
  $('connect').classList.toggle('off', Boolean(client));
  $('refresh').hidden = !client || about.auth === 'dev';
  $('token').disabled = Boolean(client) && about.auth === 'dev';
}

function showUnread(unread) {
  const count = unread ?? 0;
  $('unread').textContent = count > 9999 ? '9999+' : String(count);
  $('unread').parentElement.dataset.count = String(count);
  document.title = count ? `(${count}) quick-notify` : 'quick-notify';
}

// ---- live

function addLive(notification) {
  const { id, type, receiver, data, created, seq, attempt, replayed } = notification;
  if (receiver !== '*' && seq !== null) addToHistory(notification);
  const late = Date.now() - created;
  const item = element('li', { className: 'fresh', dataset: { id } });
  const signs = element('div', { className: 'signs' }, [
    element('span', { className: 'tag type', textContent: type }),
    receiver === '*' && element('span', { className: 'tag', textContent: 'to everyone' }),
    seq === null && receiver !== '*' && element('span', { className: 'tag', textContent: 'not kept' }),
    replayed && element('span', { className: 'tag warn', textContent: 'replayed', title: 'It was stored before this session began' }),
  ]);
  const meta = element('div', { className: 'meta' }, [
    seq !== null && element('span', { textContent: `seq ${seq}`, dataset: { seq } }),
    element('span', { className: 'attempt', textContent: `attempt ${attempt}`, dataset: { attempt } }),
    element('span', { className: 'latency', textContent: `${replayed ? 'waited' : 'in'} ${span(late)}`, title: 'Now − created, by the clock of this computer', dataset: { latency: late } }),
    element('time', { textContent: new Date(created).toLocaleTimeString(), dateTime: new Date(created).toISOString() }),
    element('span', { className: 'id', textContent: id }),
  ]);
  const acts = element('div', { className: 'acts' });
  signs.append(meta);
  if (receiver !== '*') acts.append(client?.autoConfirm ? confirmedSign() : confirmButton(id));
  item.append(signs, dataElement(data), acts);
  addToLive(item);
}

function addTopicMessage({ destination, data, headers }) {
  const body = data && typeof data === 'object' && 'type' in data && 'data' in data ? data : { data };
  const item = element('li', { className: 'fresh', dataset: { id: body.id ?? headers['message-id'] ?? '' } });
  item.append(
    element('div', { className: 'signs' }, [
      body.type && element('span', { className: 'tag type', textContent: body.type }),
      element('span', { className: 'tag good', textContent: destination }),
      element('div', { className: 'meta' }, [
        body.created && element('span', { className: 'latency', textContent: `in ${span(Date.now() - body.created)}`, title: 'Now − created, by the clock of this computer' }),
        element('time', { textContent: new Date().toLocaleTimeString() }),
        body.id && element('span', { className: 'id', textContent: body.id }),
      ]),
    ]),
    dataElement(body.data),
  );
  addToLive(item);
  announceSoon(`${destination}: ${asText(body.data)}`);
}

function addToLive(item) {
  $('live').prepend(item);
  while ($('live').childElementCount > MAX_SHOWN) $('live').lastElementChild.remove();
  showEmpty();
}

function clearLive() {
  $('live').replaceChildren();
  showEmpty();
}

function confirmButton(id) {
  const button = element('button', { className: 'small confirm', type: 'button', textContent: 'Confirm' });
  button.setAttribute('aria-label', `Confirm: ${id}`);
  button.addEventListener('click', async () => {
    if (!client) return;
    button.disabled = true;
    button.textContent = client.state.state === 'connected' ? 'Confirming…' : 'Confirms later';
    if (await client.confirm(id)) button.replaceWith(confirmedSign());
    else button.textContent = 'Confirm';
  });
  return button;
}

const confirmedSign = () => element('span', { className: 'tag good confirmed', textContent: 'confirmed' });

function autoConfirmChanged() {
  if (client) client.autoConfirm = $('auto-confirm').checked;
  if (!$('auto-confirm').checked) return;
  for (const button of $('live').querySelectorAll('.confirm:not(:disabled)')) button.click();
}

/** A re-send: the same notification, one attempt later. */
function repeated({ id, attempt, replayed }) {
  const shown = find('live', id)?.querySelector('.attempt');
  if (!shown) return;
  shown.textContent = replayed ? `attempt ${attempt}, replayed` : `attempt ${attempt}`;
  shown.dataset.attempt = attempt;
}

// ---- publish

function shapePublishForm() {
  const kind = $('to-kind').value;
  $('to-field').hidden = kind === 'everyone';
  $('to-label').textContent = kind === 'topic' ? 'Topic' : 'User';
  $('to').placeholder = kind === 'topic' ? 'orders' : 'alice';
  if (kind === 'topic' && $('to').value === lastOr('test1')) $('to').value = [...topics.keys()][0]?.replace('/topic/', '') ?? '';
  if (kind === 'receiver' && !$('to').value) $('to').value = lastOr('');
  $('persist-field').hidden = kind !== 'receiver';
  const json = !$('type').value;
  $('type-name-field').hidden = !json;
  $('data-label').textContent = json ? 'Data, as JSON' : 'Text';
  $('data').classList.toggle('code', json);
  if (json && $('data').value === 'Hello') $('data').value = '{"order": 42, "paid": true}';
  if (!json && $('data').value === '{"order": 42, "paid": true}') $('data').value = 'Hello';
}

const lastOr = (fallback) => lastUser ?? fallback;

/** Where the server's `field` shows on this form. */
const FIELDS = { receiver: 'to', topic: 'to', everyone: 'to-kind', type: 'type-name', data: 'data', id: 'id', persist: 'persist' };

async function publish() {
  for (const field of $('publish').querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
  showNotice('receipt', '');
  const [draft, wrong] = readDraft();
  if (wrong) return refuse(wrong.id, wrong.reason);
  const headers = { 'Content-Type': 'application/json' };
  if (about.publish === 'key') headers['X-API-Key'] = $('api-key').value;

  $('send').disabled = true;
  try {
    const response = await fetch('/api/notify', { method: 'POST', headers, body: JSON.stringify(draft), signal: AbortSignal.timeout(15_000) });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return showReceipt(answer);
    const { field, reason = `The server answered ${response.status}.` } = answer.error ?? {};
    refuse(response.status === 401 || response.status === 403 ? 'api-key' : FIELDS[field], field ? `${field}: ${reason}` : reason);
  } catch {
    refuse(null, 'The server cannot be reached. It is not known whether it was accepted.');
  } finally {
    $('send').disabled = false;
  }
}

/** @returns {[object, null] | [null, {id: string, reason: string}]} */
function readDraft() {
  const kind = $('to-kind').value;
  const to = $('to').value.trim();
  const type = $('type').value || $('type-name').value.trim();
  if (kind !== 'everyone' && !to) return [null, { id: 'to', reason: kind === 'topic' ? 'Which topic?' : 'To whom?' }];
  if (!type) return [null, { id: 'type-name', reason: 'Which type?' }];
  let data = $('data').value;
  if (!$('type').value) {
    try {
      data = JSON.parse(data);
    } catch (error) {
      return [null, { id: 'data', reason: `This is not JSON: ${error.message}` }];
    }
  }
  const draft = { [kind]: kind === 'everyone' ? true : kind === 'topic' ? to.replace(/^\/topic\//, '') : to, type, data };
  if ($('id').value.trim()) draft.id = $('id').value.trim();
  if (kind === 'receiver' && !$('persist').checked) draft.persist = false;
  return [draft, null];
}

function showReceipt({ id, state, durability }) {
  const receipt = $('receipt');
  receipt.className = 'notice good';
  receipt.replaceChildren(`${state === 'duplicate' ? 'Known already, not sent again' : 'Accepted'}, ${durability}. `, element('code', { textContent: id }));
  receipt.hidden = false;
}

function refuse(id, reason) {
  showNotice('receipt', reason, 'bad');
  const field = id && $(id);
  if (!field || field.closest('[hidden]')) return;
  field.closest('details.more')?.setAttribute('open', '');
  field.setAttribute('aria-invalid', 'true');
  field.focus();
}

// ---- topics

/** @type {Map<string, (() => void) | null>} destination to what unsubscribes */
const topics = new Map();

function addTopic() {
  const name = $('topic').value.trim().replace(/^\/topic\//, '');
  if (!name) return $('topic').focus();
  const destination = `/topic/${name}`;
  showNotice('topic-error', '');
  try {
    if (!topics.has(destination)) topics.set(destination, client?.subscribe(destination) ?? null);
    $('topic').value = '';
  } catch (error) {
    showNotice('topic-error', error.message, 'bad');
  }
  showTopics();
}

function topicRefused({ destination, message }) {
  topics.delete(destination);
  showTopics();
  showNotice('topic-error', `${destination}: ${message}`, 'bad');
}

function showTopics() {
  $('topic-list').replaceChildren(...[...topics].map(([destination]) => {
    const button = element('button', { type: 'button', textContent: '×' });
    button.setAttribute('aria-label', `Unsubscribe from ${destination}`);
    button.addEventListener('click', () => {
      topics.get(destination)?.();
      topics.delete(destination);
      showTopics();
      $('topic').focus();
    });
    return element('li', { dataset: { topic: destination } }, [element('span', { textContent: destination }), button]);
  }));
}

// ---- inbox

let historyPage = 0; // beyond what was created before the oldest shown; only rows of one millisecond need it
let historyLoading = false;

function forgetHistory() {
  $('history').replaceChildren();
  historyPage = 0;
  $('load-more').hidden = true;
  showHistoryEmpty();
}

async function loadHistory(afresh) {
  if (!client || historyLoading) return;
  const of = client;
  historyLoading = true;
  showNotice('history-error', '');
  try {
    const last = $('history').lastElementChild;
    const before = afresh || !last ? undefined : Number(last.dataset.created) + 1; // + 1: another row of that millisecond
    const page = afresh ? 0 : historyPage;
    const size = before ? PAGE_SIZE + 1 : PAGE_SIZE; // and so the oldest shown comes again
    const rows = await of.history({ before, page, size });
    if (of !== client) return;
    if (afresh) forgetHistory();
    const fresh = rows.filter(({ id }) => !find('history', id));
    $('history').append(...fresh.map(historyItem));
    historyPage = rows.at(-1)?.created + 1 === before ? page + 1 : 0;
    $('load-more').hidden = rows.length < size || $('history').childElementCount >= MAX_HISTORY;
  } catch (error) {
    showNotice('history-error', `The inbox could not be read: ${error.message}`, 'bad');
  } finally {
    historyLoading = false;
    showHistoryEmpty();
  }
}

function historyItem({ id, type, data, viewed, created }) {
  const item = element('li', { className: viewed ? '' : 'unread', dataset: { id, created, viewed: String(Boolean(viewed)) } });
  const view = element('button', { className: 'small view', type: 'button', textContent: 'Mark viewed', hidden: Boolean(viewed) });
  const remove = element('button', { className: 'small delete', type: 'button', textContent: 'Delete' });
  view.setAttribute('aria-label', `Mark viewed: ${id}`);
  remove.setAttribute('aria-label', `Delete: ${id}`);
  view.addEventListener('click', () => markViewed([id]));
  remove.addEventListener('click', () => deleteOne(id, remove));
  item.append(
    element('div', { className: 'signs' }, [
      element('span', { className: 'tag type', textContent: type }),
      element('span', { className: 'tag seen', textContent: viewed ? 'viewed' : 'unread' }),
      element('div', { className: 'meta' }, [
        element('time', { textContent: new Date(created).toLocaleString(), dateTime: new Date(created).toISOString() }),
        element('span', { className: 'id', textContent: id }),
      ]),
    ]),
    dataElement(data),
    element('div', { className: 'acts' }, [view, remove]),
  );
  return item;
}

/** What comes live is the inbox's newest. */
function addToHistory(notification) {
  if ($('panel-history').hidden || find('history', notification.id) || notification.replayed) return;
  $('history').prepend(historyItem(notification));
  while ($('history').childElementCount > MAX_HISTORY) $('history').lastElementChild.remove();
  showHistoryEmpty();
}

async function markViewed(ids) {
  if (!ids.length || !client) return;
  try {
    for (let from = 0; from < ids.length; from += 100) {
      const some = ids.slice(from, from + 100);
      await client.markViewed(some);
      some.forEach(showViewed);
    }
  } catch (error) {
    showNotice('history-error', error.message, 'bad');
  }
}

async function deleteOne(id, button) {
  if (!client) return;
  button.disabled = true;
  const next = find('history', id)?.nextElementSibling ?? find('history', id)?.previousElementSibling;
  const focused = document.activeElement === button || document.activeElement === document.body;
  try {
    await client.delete([id]);
    showDeleted(id);
    if (focused) (next?.querySelector('.delete') ?? $('reload')).focus();
  } catch (error) {
    button.disabled = false;
    showNotice('history-error', error.message, 'bad');
  }
}

function showViewed(id) {
  const item = find('history', id);
  if (!item) return;
  item.classList.remove('unread');
  item.dataset.viewed = 'true';
  item.querySelector('.view').hidden = true;
  item.querySelector('.seen').textContent = 'viewed';
  showHistoryEmpty();
}

function showDeleted(id) {
  find('history', id)?.remove();
  const live = find('live', id);
  if (live && !live.classList.contains('gone')) {
    live.classList.add('gone');
    live.querySelector('.acts')?.replaceChildren(element('span', { className: 'tag bad', textContent: 'deleted' }));
  }
  showHistoryEmpty();
}

const unviewedShown = () => [...$('history').querySelectorAll('li[data-viewed=false]')].map((item) => item.dataset.id);

function showHistoryEmpty() {
  $('history-empty').hidden = $('history').childElementCount > 0;
  $('history-empty').querySelector('.empty-title').textContent = client ? 'The inbox is empty' : 'Not connected';
  $('history-empty-text').textContent = client ? 'What is published to this user is kept here until it is deleted.' : 'Connect to see what is kept for you.';
  $('view-all').disabled = !unviewedShown().length;
  $('reload').disabled = !client;
}

// ---- tabs, empty states, small things

function hookTabs() {
  const tabs = [$('tab-live'), $('tab-history')];
  const select = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute('aria-selected', String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute('aria-controls')).hidden = !chosen;
    }
    if (tab === $('tab-history')) showHistoryEmpty(), loadHistory(true);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener('click', () => select(tab));
    tab.addEventListener('keydown', ({ key }) => {
      if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
      const other = tabs[1 - index];
      select(other);
      other.focus();
    });
  }
}

function showEmpty() {
  const shown = $('live').childElementCount;
  $('live-empty').hidden = shown > 0;
  $('live-note').hidden = $('clear').hidden = shown === 0;
  $('live-count').textContent = shown ? `${shown === MAX_SHOWN ? 'newest ' : ''}${shown} shown` : '';
  const connected = client?.state.state === 'connected';
  $('live-empty-text').textContent = connected ? 'Publish something with the form, or run:' : 'Connect first. Then publish something with the form, or run:';
  $('copy').hidden = !navigator.clipboard;
  const draft = JSON.stringify({ receiver: lastOr($('token').value.startsWith('test') ? $('token').value : 'alice'), type: 'STRING_MSG', data: 'Hello' });
  const key = about.publish === 'key' ? " \\\n  -H 'X-API-Key: YOUR-KEY'" : '';
  $('curl').textContent = `curl ${location.origin}/api/notify \\\n  -H 'Content-Type: application/json'${key} \\\n  -d '${draft.replaceAll("'", "'\\''")}'`;
}

async function copyCommand() {
  await navigator.clipboard.writeText($('curl').textContent).catch(() => {});
  $('copy').textContent = 'Copied';
  setTimeout(() => ($('copy').textContent = 'Copy'), 1500);
}

function showNotice(id, text, kind = '') {
  $(id).className = `notice ${kind}`;
  $(id).textContent = text;
  $(id).hidden = !text;
}

let waiting = 0;
let lastWords = '';

/** At most one announcement a second: a screen reader must not be flooded. */
function announceSoon(text) {
  lastWords = text;
  if (waiting++) return;
  setTimeout(() => {
    announce(waiting > 1 ? `${waiting} new messages` : `New message. ${lastWords.slice(0, 200)}`);
    waiting = 0;
  }, 1000);
}

function announce(text) {
  $('announce').textContent = text;
}

function find(list, id) {
  return $(list).querySelector(`li[data-id="${CSS.escape(id)}"]`);
}

function dataElement(data) {
  const code = typeof data !== 'string';
  return element('div', { className: code ? 'data code' : 'data', textContent: asText(data) });
}

const asText = (data) => (typeof data === 'string' ? data : JSON.stringify(data, null, 2) ?? '');

function span(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 48 * 3600_000 ? `${Math.round(ms / 3600_000)} h` : `${Math.round(ms / 86_400_000)} days`;
}

/** @param {string} name @param {object} [properties] text goes in as text @param {(Node | false | null | '' | 0)[]} [children] */
function element(name, { dataset = {}, ...properties } = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter(Boolean));
  return made;
}

start();

/**
 * SockJS sessions through a load balancer, over transports that take many requests each, while a node of several dies.
 *
 *     node balanced.mjs http://127.0.0.1:2025 http://127.0.0.1:8080 xhr-polling xhr-streaming
 *
 * The first address is the node's that will die, the second the load balancer's, which everything goes through.
 */

import SockJS from 'sockjs-client';
import Stomp from 'stompjs';
import { Api, Arrivals, Failed, ask, equal, fail, giveUp, run, say } from './story.mjs';

/** Sessions of each transport: some on each node. */
const SESSIONS = 10;
const ROUNDS = 12;

/** Longest time (ms) without a session, on a machine that is busy. */
const AT_ONCE = 5_000;

/** Whether sessions may end: while all nodes live, none may. */
let mayLose = false;

/** A page's client, which opens a new session at once when it lost one. */
class Page {
  #opened = 0;
  ended = [];
  /** How long (ms) it was without a session, the longest time. */
  away = 0;
  #since = Date.now();
  shown = new Arrivals();
  here = new Arrivals();

  constructor(url, user, transport) {
    Object.assign(this, { url, user, transport });
    this.#open();
  }

  #open() {
    const socket = new SockJS(`${this.url}/stomp-ws`, null, { transports: this.transport });
    socket.addEventListener('close', ({ code, reason }) => {
      this.ended.push(`${code} ${reason}`);
      this.#since ??= Date.now();
      if (!mayLose) giveUp(new Failed(`a session was lost: ${this.user}, ${code} ${reason}`));
    });
    const client = Stomp.over(socket);
    client.debug = null;
    const receipt = `subscribed-${(this.#opened += 1)}`;
    client.onreceipt = ({ headers }) => {
      if (headers['receipt-id'] !== receipt) return;
      if (this.ended.length > 0) this.away = Math.max(this.away, Date.now() - this.#since);
      this.#since = null;
      this.here.add(receipt);
    };
    const take = ({ body }) => {
      const { id, data } = JSON.parse(body);
      client.send('/app/ack', {}, id);
      if (!this.shown.all.some((known) => known.id === id)) this.shown.add({ id, data });
    };
    client.connect({ Authorization: this.user }, () => client.subscribe('/user/queue/msg', take, { receipt }), (error) => {
      if (error?.command === 'ERROR') giveUp(new Error(`ERROR ${error.headers.message}`));
      setTimeout(() => this.#open(), 50);
    });
  }

  get isHere() {
    return this.#since === null;
  }

  texts() {
    return this.shown.all.map(({ data }) => data);
  }
}

run(async (_dies, url, ...transports) => {
  const api = new Api(url);
  const pages = transports.flatMap((transport) => Array.from({ length: SESSIONS }, (_, n) => new Page(url, `test-${transport}-${n}`, transport)));
  const toAll = async (data) => {
    await api.publish(pages.map(({ user }) => ({ receiver: user, data })));
    await Promise.all(pages.map((page) => page.shown.first(`“${data}” for ${page.user} (${page.ended})`, (shown) => shown.data === data)));
  };

  // Long lives: each message is a poll's end, each confirmation a request of its own.
  await Promise.all(pages.map((page) => page.here.first(`a session for ${page.user} (${page.ended})`, () => true)));
  say('READY');
  const texts = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    texts.push(`round ${round}`);
    await toAll(texts.at(-1));
    }

  // A node dies: its sessions are back on others at once, and the others' stay where they are.
  mayLose = true;
  await ask('KILL', 'KILLED');
  for (const data of ['while some are away', 'when all are back']) {
    texts.push(data);
    await toAll(data);
  }
  const moved = pages.filter(({ ended }) => ended.length > 0);
  if (moved.length === 0 || moved.length > pages.length * 0.8) fail(`${moved.length} of ${pages.length} lost their session with their node`);
  for (const transport of transports) if (!moved.some((page) => page.transport === transport)) fail(`none over ${transport} lost its session`);
  await Promise.all(pages.map((page) => page.isHere || page.here.first(`${page.user} back`, () => page.isHere)));
  const away = Math.max(...pages.map((page) => page.away));
  say(`MOVED ${moved.length} of ${pages.length}, back within ${away} ms`);
  if (away > AT_ONCE) fail(`a client was without a session for ${away} ms`);
  for (const page of pages) equal(`what ${page.user} saw`, page.texts(), texts);
});

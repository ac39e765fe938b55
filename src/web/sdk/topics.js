/**
 * Subscriptions to topics: they outlive the session that they were made in. At most MAX_TOPICS.
 *
 * A topic that the server refuses is let go, since each session would end of it.
 */

const MAX_TOPICS = 100;

/** @typedef {import('./types.js').Events['topic']} Message */

export class Topics {
  /** @type {Map<string, {id: string, listeners: Set<(message: Message) => unknown>}>} by destination */ #all = new Map();
  #next = 1;
  #connection;
  #tell;
  #refused;

  /**
   * @param {() => import('./connection.js').Connection | null} connection the one that is CONNECTED
   * @param {(listeners: Iterable<(message: Message) => unknown>, message: Message) => void} tell
   * @param {(error: unknown, destination: string) => void} refused
   */
  constructor(connection, tell, refused) {
    this.#connection = connection;
    this.#tell = tell;
    this.#refused = refused;
  }

  /** @param {string} destination @param {(message: Message) => unknown} listener @returns {() => void} unsubscribes */
  subscribe(destination, listener) {
    let topic = this.#all.get(destination);
    if (!topic) {
      if (this.#all.size >= MAX_TOPICS) throw new RangeError(`At most ${MAX_TOPICS} topics.`);
      this.#all.set(destination, (topic = { id: `sub-${this.#next++}`, listeners: new Set() }));
      this.#ask(destination, topic.id);
    }
    const { id, listeners } = topic;
    const own = (/** @type {Message} */ message) => listener(message); // the same function may subscribe twice
    listeners.add(own);
    return () => {
      if (!listeners.delete(own) || listeners.size || this.#all.get(destination)?.id !== id) return;
      this.#all.delete(destination);
      try {
        this.#connection()?.send('UNSUBSCRIBE', { id });
      } catch {
        // The next session doesn't know it.
      }
    };
  }

  /** @param {import('./connection.js').Connection} connection a session that has begun */
  begin(connection) {
    for (const [destination, { id }] of this.#all) this.#ask(destination, id, connection);
  }

  /** @param {import('./stomp.js').Frame} frame */
  take({ headers, body }) {
    const topic = [...this.#all.values()].find(({ id }) => id === headers.subscription);
    if (!topic) return; // it crossed our UNSUBSCRIBE
    const data = headers['content-type']?.includes('json') ? parsed(body) : body;
    this.#tell(topic.listeners, { destination: headers.destination, data, body, headers });
  }

  /** @param {string} destination @param {string} id */
  async #ask(destination, id, connection = this.#connection()) {
    try {
      await connection?.request('SUBSCRIBE', { id, destination, ack: 'auto' });
    } catch (error) {
      const { code } = /** @type {import('./error.js').NotifyError} */ (error);
      if (code === 'closed' || code === 'not-connected') return; // the next session subscribes again
      if (this.#all.get(destination)?.id === id) this.#all.delete(destination);
      this.#refused(error, destination);
    }
  }
}

/** @param {string} body */
function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

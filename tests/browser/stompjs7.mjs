/**
 * @stomp/stompjs 7, as its documentation shows it: `client-individual`, `message.ack()`, and a client that reconnects by itself.
 *
 *     node stompjs7.mjs http://127.0.0.1:2025 test1
 */

import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';
import { fail, run, tell, within } from './story.mjs';

Object.assign(globalThis, { WebSocket });

class StompJs7 {
  static version = '1.2';
  subscription = 'sub-0';
  #client;
  #receipts = 0;
  #connected = () => {};
  #closed = () => {};

  constructor(url, token, take) {
    this.#client = new Client({
      brokerURL: `${url.replace(/^http/, 'ws')}/stomp-ws`,
      connectHeaders: { Authorization: `Bearer ${token}` },
      reconnectDelay: 200,
      onConnect: ({ headers }) => {
        const receipt = `subscribed-${(this.#receipts += 1)}`;
        this.#client.watchForReceipt(receipt, () => this.#connected(headers));
        const onMessage = (message) => {
          this.last = Object.assign(this.last ?? {}, { [message.headers['message-id']]: message });
          take(message.headers, message.body);
        };
        this.#client.subscribe('/user/queue/msg', onMessage, { id: this.subscription, ack: 'client-individual', receipt });
      },
      onWebSocketClose: () => this.#closed(),
      onStompError: ({ headers, body }) => fail(`ERROR ${headers.message} ${body}`),
    });
  }

  connect() {
    const connected = this.reconnect();
    this.#client.activate();
    return connected;
  }

  /** It reconnects by itself. */
  reconnect() {
    return within('CONNECTED', new Promise((resolve) => (this.#connected = resolve)));
  }

  lost() {
    return new Promise((resolve) => (this.#closed = resolve));
  }

  confirm({ id }) {
    this.last[id].ack();
  }

  confirmStored({ id }) {
    const receipt = `confirmed-${(this.#receipts += 1)}`;
    const stored = new Promise((resolve) => this.#client.watchForReceipt(receipt, resolve));
    this.last[id].ack({ receipt });
    return within(`the receipt for the ACK of ${id}`, stored);
  }

  disconnect() {
    return within('the end of the session', this.#client.deactivate());
  }
}

run((url, token) => tell(StompJs7, url, token));

/**
 * stompjs 2.3.3, as today's pages use it: `ack:auto`, confirming by SEND to /app/ack, and a page that makes a new client when
 * the connection is lost.
 *
 *     node stompjs2.cjs http://127.0.0.1:2025 test1
 */

const Stomp = require('stompjs');
const { WebSocket } = require('ws');

import('./story.mjs').then(({ fail, run, tell, within }) => {
  class StompJs2 {
    static version = '1.1';
    subscription = 'sub-0';
    #address;
    #token;
    #take;
    #client;
    #receipts = new Map();
    #lost = () => {};

    constructor(url, token, take) {
      // What a SockJS client reaches as its WebSocket transport's raw twin.
      this.#address = `${url.replace(/^http/, 'ws')}/stomp-ws/websocket`;
      this.#token = token;
      this.#take = take;
    }

    connect() {
      this.#client = Stomp.over(new WebSocket(this.#address, ['v10.stomp', 'v11.stomp']));
      this.#client.onreceipt = ({ headers }) => this.#receipts.get(headers['receipt-id'])?.();
      return within('CONNECTED', new Promise((resolve, reject) => {
        let connected = false;
        const onConnected = async ({ headers }) => {
          connected = true;
          const onMessage = (message) => this.#take(message.headers, message.body);
          const subscribed = this.#receipt((receipt) => this.#client.subscribe('/user/queue/msg', onMessage, { id: this.subscription, receipt }));
          await subscribed;
          resolve(headers);
        };
        // It is told of an ERROR frame and of a lost connection in the same way.
        const onError = (error) => {
          if (error?.command === 'ERROR') fail(`ERROR ${error.headers.message} ${error.body}`);
          if (connected) this.#lost();
          else reject(new Error(String(error)));
        };
        this.#client.connect({ Authorization: this.#token }, onConnected, onError);
      }));
    }

    async reconnect(restarted) {
      await restarted;
      return this.connect();
    }

    lost() {
      return new Promise((resolve) => (this.#lost = resolve));
    }

    confirm({ id }) {
      this.#client.send('/app/ack', {}, id);
    }

    confirmStored({ id }) {
      return this.#receipt((receipt) => this.#client.send('/app/ack', { receipt }, id));
    }

    disconnect() {
      return within('the end of the session', new Promise((resolve) => this.#client.disconnect(resolve)));
    }

    #receipt(send) {
      const receipt = `r-${this.#receipts.size}`;
      const came = new Promise((resolve) => this.#receipts.set(receipt, resolve));
      send(receipt);
      return within(`the receipt ${receipt}`, came);
    }
  }

  return run((url, token) => tell(StompJs2, url, token));
});

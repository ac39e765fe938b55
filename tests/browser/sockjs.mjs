/**
 * Three STOMP libraries over `sockjs-client`, each as its own users write it, with the interface that the story in `story.mjs` asks for, less the
 * deadlines. Runs in Node and in a page alike, so it imports nothing: `packages` holds the libraries.
 */

/** The libraries by name. `open()` makes a new SockJS connection; `complain(text)` is told of what must not happen. */
export const LIBRARIES = { stompjs2, stompjs7, webstomp };

/** What `version` of CONNECTED each comes to. */
export const VERSIONS = { stompjs2: '1.1', stompjs7: '1.2', webstomp: '1.2' };

/** The subscription's id, which each MESSAGE names. */
export const SUBSCRIPTION = 'sub-0';

const QUEUE = '/user/queue/msg';

/** What the three have in common: receipts, and who waits for a loss. */
function told(complain) {
  const receipts = new Map();
  return {
    lost: () => {},
    onReceipt: ({ headers }) => receipts.get(headers['receipt-id'])?.(),
    receipt(send) {
      const receipt = `r-${receipts.size}`;
      const came = new Promise((resolve) => receipts.set(receipt, resolve));
      send(receipt);
      return came;
    },
    /** Both old libraries tell of an ERROR frame and of a lost connection in the same way. */
    onError(error, connected, reject) {
      if (error?.command === 'ERROR') complain(`ERROR ${error.headers.message} ${error.body}`);
      else if (connected) this.lost();
      else reject(new Error(String(error?.reason ?? error)));
    },
  };
}

/** stompjs 2.3.3: `ack:auto`, confirming by SEND to /app/ack, a new client for each connection. */
function stompjs2({ Stomp }, open, token, take, complain) {
  const tell = told(complain);
  let client;
  const connect = () => {
    client = Stomp.over(open());
    client.debug = null;
    client.onreceipt = tell.onReceipt;
    return new Promise((resolve, reject) => {
      let connected = false;
      const onConnected = async ({ headers }) => {
        connected = true;
        const onMessage = (message) => take(message.headers, message.body);
        await tell.receipt((receipt) => client.subscribe(QUEUE, onMessage, { id: SUBSCRIPTION, receipt }));
        resolve(headers);
      };
      client.connect({ Authorization: token }, onConnected, (error) => tell.onError(error, connected, reject));
    });
  };
  return {
    connect,
    reconnect: connect,
    lost: () => new Promise((resolve) => (tell.lost = resolve)),
    confirm: (id) => client.send('/app/ack', {}, id),
    confirmStored: (id) => tell.receipt((receipt) => client.send('/app/ack', { receipt }, id)),
    disconnect: () => new Promise((resolve) => client.disconnect(resolve)),
  };
}

/** @stomp/stompjs 7: `webSocketFactory`, `client-individual`, and it reconnects by itself. */
function stompjs7({ Client }, open, token, take, complain) {
  const messages = new Map();
  let receipts = 0;
  let onConnected = () => {};
  let onLost = () => {};
  const client = new Client({
    webSocketFactory: open,
    connectHeaders: { Authorization: `Bearer ${token}` },
    reconnectDelay: 200,
    onConnect({ headers }) {
      const receipt = `subscribed-${(receipts += 1)}`;
      client.watchForReceipt(receipt, () => onConnected(headers));
      const onMessage = (message) => {
        messages.set(message.headers['message-id'], message);
        take(message.headers, message.body);
      };
      client.subscribe(QUEUE, onMessage, { id: SUBSCRIPTION, ack: 'client-individual', receipt });
    },
    onWebSocketClose: () => onLost(),
    onStompError: ({ headers, body }) => complain(`ERROR ${headers.message} ${body}`),
  });
  const reconnect = () => new Promise((resolve) => (onConnected = resolve));
  return {
    connect() {
      const connected = reconnect();
      client.activate();
      return connected;
    },
    reconnect,
    lost: () => new Promise((resolve) => (onLost = resolve)),
    confirm: (id) => messages.get(id).ack(),
    confirmStored(id) {
      const receipt = `confirmed-${(receipts += 1)}`;
      const stored = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
      messages.get(id).ack({ receipt });
      return stored;
    },
    disconnect: () => client.deactivate(),
  };
}

/** webstomp-client: `webstomp.over(new SockJS(url))`, `message.ack()`, a new client for each connection. */
function webstomp({ webstomp: library }, open, token, take, complain) {
  const tell = told(complain);
  const messages = new Map();
  let client;
  const connect = () => {
    client = library.over(open(), { debug: false });
    client.onreceipt = tell.onReceipt;
    return new Promise((resolve, reject) => {
      let connected = false;
      const onConnected = async ({ headers }) => {
        connected = true;
        const onMessage = (message) => {
          messages.set(message.headers['message-id'], message);
          take(message.headers, message.body);
        };
        await tell.receipt((receipt) => client.subscribe(QUEUE, onMessage, { id: SUBSCRIPTION, ack: 'client-individual', receipt }));
        resolve(headers);
      };
      client.connect({ Authorization: token }, onConnected, (error) => tell.onError(error, connected, reject));
    });
  };
  return {
    connect,
    reconnect: connect,
    lost: () => new Promise((resolve) => (tell.lost = resolve)),
    confirm: (id) => messages.get(id).ack(),
    confirmStored: (id) => tell.receipt((receipt) => messages.get(id).ack({ receipt })),
    disconnect: () => new Promise((resolve) => client.disconnect(resolve)),
  };
}

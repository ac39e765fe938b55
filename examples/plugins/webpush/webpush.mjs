// Web Push to who is not reached: a notification that is stored, unconfirmed, and whose receiver has no page open.
//
//   npm ci && node webpush.mjs subscriptions.json
//
// From the environment: NATS_URL, NATS_USER, NATS_PASSWORD; VAPID_SUBJECT (mailto: or https:), VAPID_PUBLIC_KEY and VAPID_PRIVATE_KEY
// (`npx web-push generate-vapid-keys`). The file has, by user, what their browsers' `pushManager.subscribe()` gave; your back end writes it.
import { readFile, rename, writeFile } from "node:fs/promises";

import { connect } from "nats";
import webpush from "web-push";

const { NATS_URL = "nats://127.0.0.1:4222", NATS_USER, NATS_PASSWORD, NATS_PREFIX = "notify" } = process.env;
const { VAPID_SUBJECT, VAPID_PUBLIC_KEY, VAPID_PRIVATE_KEY } = process.env;
const AT_ONCE = 16;
const TIMEOUT = 10_000; // milliseconds
const TTL = 24 * 3600; // seconds that the push service keeps it for a device that is off
const MOST = 3_000; // octets: a push has 4,096 at most, encrypted

const file = process.argv[2];
if (!file) throw new Error("say the file of the subscriptions");
const options = {
  vapidDetails: { subject: VAPID_SUBJECT, publicKey: VAPID_PUBLIC_KEY, privateKey: VAPID_PRIVATE_KEY },
  TTL,
  timeout: TIMEOUT,
  urgency: "high",
};

/** What a service worker gets: enough to show, and the id, by which it is known when the page has it, too. */
function payload({ id, type, data }) {
  const whole = JSON.stringify({ id, type, data });
  return Buffer.byteLength(whole) <= MOST ? whole : JSON.stringify({ id, type });
}

/** To one browser. Says whether its subscription is over. */
async function push(subscription, body) {
  const told = new URL(subscription.endpoint).host; // The rest of an endpoint is a secret.
  try {
    await webpush.sendNotification(subscription, body, options);
  } catch (error) {
    const { statusCode } = error;
    if (statusCode === 404 || statusCode === 410) return true;
    console.error(`${told}: ${statusCode ?? error.message}`);
  }
  return false;
}

const read = async () => JSON.parse(await readFile(file, "utf8"));

// One change of the file at a time, and each whole: a reader never sees half of one.
let changes = Promise.resolve();
function forget(user, endpoint) {
  changes = changes
    .then(async () => {
      const all = await read();
      all[user] = (all[user] ?? []).filter((subscription) => subscription.endpoint !== endpoint);
      if (all[user].length === 0) delete all[user];
      await writeFile(`${file}.new`, JSON.stringify(all, null, 2));
      await rename(`${file}.new`, file);
      console.log(`dropped a subscription of ${user}`);
    })
    .catch((error) => console.error(error.message));
  return changes;
}

async function tell(event) {
  const subscriptions = (await read())[event.receiver] ?? [];
  const body = payload(event);
  await Promise.all(
    subscriptions.map(async (subscription) => {
      if (await push(subscription, body)) await forget(event.receiver, subscription.endpoint);
    }),
  );
}

await read();
const client = await connect({
  servers: NATS_URL,
  user: NATS_USER,
  pass: NATS_PASSWORD,
  maxReconnectAttempts: -1,
  inboxPrefix: "_INBOX_webpush",
});
// It serves no hook: the service is what puts it on the roster, and says which events it wants.
await client.services.add({
  name: "webpush",
  version: "1.0.0",
  description: "Web Push to who is not reached",
  metadata: { "quick-notify": "1", events: "unreached" },
});
// A queue group: of several instances one gets each event.
const events = client.subscribe(`${NATS_PREFIX}.event.unreached.>`, { queue: "webpush" });
await client.flush();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => client.drain());
console.log("attached");

const underWay = new Set();
for await (const message of events) {
  const told = Promise.resolve()
    .then(() => tell(message.json()))
    .catch((error) => console.error(error.message))
    .finally(() => underWay.delete(told));
  underWay.add(told);
  if (underWay.size >= AT_ONCE) await Promise.race(underWay);
}
await Promise.all(underWay);
await changes;

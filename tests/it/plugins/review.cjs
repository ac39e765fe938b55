// As review.py: lets everything pass, and writes down what it was asked about.
//
//     review.cjs NAME VERSION FILE        (NATS_URL says where NATS is)

const { appendFileSync } = require('node:fs');
const { createInterface } = require('node:readline');
const { createRequire } = require('node:module');
const { join } = require('node:path');

// The packages of the shipped plugin for Node.
const packages = createRequire(join(__dirname, '../../../examples/plugins/webpush/'));
const { connect } = packages('nats');

const [name, version, file] = process.argv.slice(2);
let delay = 0;

async function main() {
  const client = await connect({ servers: process.env.NATS_URL, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const service = await client.services.add({ name, version, description: 'reviews', metadata: { 'quick-notify': '1' } });
  service.addEndpoint('review', {
    subject: `notify.hook.${name}.review`,
    handler: (error, message) => {
      const asked = message.json();
      appendFileSync(file, asked.notifications.map(({ id }) => `${id}\n`).join(''));
      const answer = JSON.stringify({ v: 1, request: asked.request, verdicts: [], others: 'pass' });
      setTimeout(() => message.respond(answer), delay * 1000);
    },
  });
  await client.flush();
  console.log('READY');
  createInterface({ input: process.stdin }).on('line', (line) => {
    delay = Number(line);
    console.log('SET');
  });
  process.on('SIGTERM', async () => {
    await service.stop();
    await client.drain();
    process.exit(0);
  });
}

main();

/**
 * A STOMP library over transports of `sockjs-client` in a real Chromium, in a page of another origin than the server's, so that the browser asks
 * for its leave. Where `sockjs-client` offers a transport to pages of the server's own origin alone, the page gets that origin.
 *
 *     node sockjs-chromium.mjs http://127.0.0.1:2025 3000 stompjs2 xhr-polling eventsource
 *
 * Port 3000 is where the test's own server listens; `edge.sockjs.client_url` names http://localhost:3000/node_modules/sockjs-client/dist/sockjs.js.
 */

import { inChromium } from './chromium.mjs';
import { file, serve } from './elsewhere.mjs';
import { Failed, equal, giveUp, run, say } from './story.mjs';
import { tellOver } from './sockjs-story.mjs';

/** These need the server's own origin. */
const AT_HOME = ['htmlfile'];

/** A browser lets a script come whose element is gone, and `sockjs-client` has forgotten the function that a given-up poll was to call. */
const ABANDONED = /^_jp\.\w+ is not a function$/;

run((url, port, library, ...transports) => inChromium({}, async (context) => {
  const elsewhere = await serve(port);
  for (const transport of transports) {
    const page = await context.newPage();
    page.on('pageerror', (error) => ABANDONED.test(error.message) || giveUp(error));
    const seen = new Set();
    page.on('request', (request) => seen.add(new URL(request.url()).pathname.replace(/\/\d+\/[^/]+\//, '/…/')));
    page.on('websocket', (socket) => seen.add(new URL(socket.url()).pathname.replace(/\/\d+\/[^/]+\//, '/…/')));
    const atHome = AT_HOME.includes(transport);
    if (atHome) await moveIn(page, url);
    // A user each: what one leaves is not another's.
    const user = `test-${library}-${transport}`;
    await tellOver({ library, transport, url, user }, async (take) => {
      await page.exposeFunction('take', take);
      await page.exposeFunction('complain', (text) => giveUp(new Failed(`${transport}: ${text}`)));
      await page.goto(`${atHome ? url : elsewhere}/sockjs.html`);
      const given = { url, user, library, transport };
      await page.waitForFunction(() => window.open_client);
      await page.evaluate(({ url, user, library, transport }) => window.open_client(url, user, library, transport), given);
      return (name, ...given) => page.evaluate(([name, given]) => window.client[name](...given), [name, given]);
    });
    equal('the transport', await page.evaluate(() => window.used), transport);
    say(`TOLD ${library} ${transport} from ${atHome ? 'the server’s own origin' : elsewhere}, by ${[...seen].filter((path) => path.startsWith('/stomp-ws')).join(' ')}`);
    await page.close();
  }
}));

/** Gives the page the server's origin: what is not SockJS comes from this folder. */
function moveIn(page, url) {
  return page.route((address) => address.origin === url && !address.pathname.startsWith('/stomp-ws'), async (route) => {
    await route.fulfill(await file(new URL(route.request().url()).pathname));
  });
}

/**
 * A little HTTP server of the test's own: what is somebody's shop or intranet, on an origin that is not quick-notify's. It serves the files of this
 * folder and the packages beside them, and nothing may be kept.
 */

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };

/** The file behind an address's path, and its type. */
export async function file(path) {
  const type = TYPES[extname(path)] ?? 'application/octet-stream';
  return { body: await readFile(join(HERE, normalize(`/${path}`))), contentType: `${type}; charset=utf-8` };
}

/**
 * Listens on this port of the loopback. Answers with its origin, by a name that makes it another site than 127.0.0.1, too.
 */
export async function serve(port) {
  const server = createServer(async (request, response) => {
    try {
      const { body, contentType } = await file(new URL(request.url, 'http://here').pathname);
      response.writeHead(200, { 'Content-Type': contentType, 'Cache-Control': 'no-store' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(Number(port), '127.0.0.1', resolve));
  return `http://localhost:${server.address().port}`;
}

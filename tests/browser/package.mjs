/**
 * The npm package of the browser client: what is packed is what the server serves, its types are made from its code, and who
 * installs it can import it, in TypeScript and in Node.
 *
 *     node package.mjs http://127.0.0.1:2025 test1
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';
import { SDK, declarations, tsc } from './declarations.mjs';
import { Api, equal, fail, run, say, within } from './story.mjs';

const ROOT = join(SDK, '../../..');
const BESIDE = ['LICENSE', 'README.md', 'package.json']; // in the package, and not served
const TYPES = { js: 'text/javascript; charset=utf-8', ts: 'application/typescript; charset=utf-8' };

const text = (path) => readFile(path, 'utf8');
const npm = (folder, ...args) => execFileSync('npm', [...args, '--loglevel=error'], { cwd: folder, encoding: 'utf8' });

/** What the entry points import, in turn, for their code or their types. */
async function reached(entries) {
  const found = new Set();
  const open = [...entries];
  for (let path; (path = open.pop()); ) {
    if (found.has(path)) continue;
    found.add(path);
    for (const [, name] of (await text(join(SDK, path))).matchAll(/(?:from |import\()'(\.[^']+\.js)'/g)) open.push(join(path, '..', name));
  }
  return found;
}

const chapters = {
  /** Its version and licence are the server's. */
  async manifest() {
    const { version, license, exports } = JSON.parse(await text(join(SDK, 'package.json')));
    const cargo = await text(join(ROOT, 'Cargo.toml'));
    const said = (name) => new RegExp(`^${name} = "(.+)"$`, 'm').exec(cargo)[1];
    equal('version and licence', [version, license], [said('version'), said('license')]);
    equal('LICENSE', await text(join(SDK, 'LICENSE')), await text(join(ROOT, 'LICENSE')));
    const bell = (await readdir(SDK)).includes('bell.js');
    equal('the entries', Object.keys(exports), ['.', ...(bell ? ['./bell'] : []), './package.json']);
  },

  /** Its types are what TypeScript makes of its code, which passes the strict checks. */
  async types(about) {
    const made = (about.made = await declarations());
    const there = (await readdir(SDK, { recursive: true })).filter((path) => path.endsWith('.d.ts')).sort();
    equal('the files (node tests/browser/declarations.mjs --write)', there, [...made.keys()].sort());
    for (const [path, declared] of made) equal(`${path} (node tests/browser/declarations.mjs --write)`, await text(join(SDK, path)), declared);
  },

  /** What is packed is what is served, byte by byte: the modules that the entries reach and their types. */
  async files({ url, folder, made }) {
    const [{ filename, files }] = JSON.parse(npm(SDK, 'pack', '--json', '--pack-destination', folder));
    const packed = files.map(({ path }) => path).sort();
    const { exports } = JSON.parse(await text(join(SDK, 'package.json')));
    const entries = Object.values(exports).flatMap((entry) => entry.default?.slice(2) ?? []);
    equal('what is packed', packed, [...BESIDE, ...(await reached(entries)), ...made.keys()].sort());
    for (const path of packed.filter((path) => !BESIDE.includes(path))) {
      const response = await fetch(`${url}/sdk/${path}`);
      equal(`${path} as served`, [response.status, response.headers.get('content-type')], [200, TYPES[path.slice(-2)]]);
      equal(path, await response.text(), await text(join(SDK, path)));
    }
    const served = [...(await text(join(SDK, '../mod.rs'))).matchAll(/^ +"\/sdk\/([^"]+)" =>/gm)].map(([, path]) => path);
    equal('what is served', [...served, ...BESIDE].sort(), packed);
    return filename;
  },

  /** Installed elsewhere, from the tarball alone, it is typed and runs. */
  async installed({ url, user, folder, filename }) {
    await writeFile(join(folder, 'package.json'), '{"private": true, "type": "module"}');
    npm(folder, 'install', '--offline', '--no-audit', '--no-fund', '--no-package-lock', `./${filename}`);
    for (const name of await readdir(new URL('types/', import.meta.url))) {
      await writeFile(join(folder, name), await text(new URL(`types/${name}`, import.meta.url)));
    }
    const programs = (await readdir(folder)).filter((name) => name.endsWith('.ts'));
    const strict = ['--noEmit', '--strict', '--skipDefaultLibCheck', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes', '--target', 'es2022', '--lib', 'es2022,dom'];
    for (const how of [['--module', 'nodenext'], ['--module', 'esnext', '--moduleResolution', 'bundler']]) tsc(folder, ...strict, ...how, ...programs);

    await writeFile(join(folder, 'program.js'), "export * from 'quick-notify';");
    const { QuickNotify, NotifyError } = await import(pathToFileURL(join(folder, 'program.js')));
    const client = new QuickNotify({ url: `${url}/stomp-ws`, token: user, WebSocket });
    const came = new Promise((resolve) => client.on('notification', resolve));
    await within('the connection', client.connect());
    await new Api(url, user).publish({ receiver: user, data: 'to an installed client' });
    equal('what came', (await within('it', came)).data, 'to an installed client');
    await client.close();
    const refused = await client.send('/topic/x', 'y').catch((error) => error);
    if (!(refused instanceof NotifyError) || refused.code !== 'not-connected') fail(`a closed client says ${refused}`);
  },
};

run(async (url, user) => {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-package-'));
  try {
    const about = { url, user, folder };
    for (const [name, chapter] of Object.entries(chapters)) {
      about.filename = (await chapter(about)) ?? about.filename;
      say(`DONE ${name}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

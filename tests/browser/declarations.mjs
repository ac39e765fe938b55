/**
 * The `.d.ts` files of the browser client, made by TypeScript from its JSDoc: what the entry points reach, and nothing else.
 *
 *     node declarations.mjs --write     puts them beside the modules
 */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const SDK = fileURLToPath(new URL('../../src/web/sdk/', import.meta.url));
export const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const ENTRIES = ['quick-notify', 'bell'].filter((name) => existsSync(join(SDK, `${name}.js`)));
const CHECKS = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom,dom.iterable', '--skipDefaultLibCheck'];

/** JSDoc has no words for these. */
const ADDED = {
  'error.d.ts': `export interface NotifyError {
    /** Of the HTTP answer that refused. */
    status?: number;
    /** The field of the request that was wrong. */
    field?: string;
    /** What the server's ERROR frame says beside the message. */
    detail?: string;
    /** The topic that was refused. */
    destination?: string;
    /** The notification whose handler failed. */
    id?: string;
    cause?: unknown;
}
`,
  'bell.d.ts': `export interface QuickNotifyBell {
${['add', 'remove'].map((verb) => {
    const options = `options?: boolean | ${verb === 'add' ? 'AddEventListenerOptions' : 'EventListenerOptions'}): void;`;
    return `    ${verb}EventListener<K extends keyof BellEvents>(type: K, listener: (this: QuickNotifyBell, event: BellEvents[K]) => unknown, ${options}
    ${verb}EventListener<K extends keyof HTMLElementEventMap>(type: K, listener: (this: HTMLElement, event: HTMLElementEventMap[K]) => unknown, ${options}
    ${verb}EventListener(type: string, listener: EventListenerOrEventListenerObject, ${options}
`;
  }).join('')}}
declare global {
    interface HTMLElementTagNameMap {
        'quick-notify-bell': QuickNotifyBell;
    }
}
`,
};

/** Runs tsc; its complaints are the error. */
export function tsc(folder, ...args) {
  try {
    execFileSync(process.execPath, [TSC, ...args], { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    throw new Error(`tsc complains:\n${error.stdout}${error.stderr}`);
  }
}

/** Checks every module strictly. @returns {Promise<Map<string, string>>} text by path below src/web/sdk */
export async function declarations() {
  const folder = await mkdtemp(join(tmpdir(), 'quick-notify-types-'));
  try {
    const modules = (await readdir(SDK, { recursive: true })).filter((path) => path.endsWith('.js'));
    const typeRoots = ['--typeRoots', folder]; // what else lies about is no part of it
    tsc(SDK, '--allowJs', '--checkJs', '--declaration', '--emitDeclarationOnly', '--rootDir', '.', '--outDir', folder, ...CHECKS, ...typeRoots, ...modules);
    const made = new Map();
    const open = ENTRIES.map((name) => `${name}.d.ts`);
    for (let path; (path = open.pop()); ) {
      if (made.has(path)) continue;
      const text = (await readFile(join(folder, path), 'utf8')) + (ADDED[path] ?? '');
      made.set(path, text);
      for (const [, name] of text.matchAll(/(?:from |import\()["'](\.[^"']*)\.js["']/g)) open.push(normalize(join(dirname(path), `${name}.d.ts`)));
    }
    return made;
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv.includes('--write')) {
  for (const path of (await readdir(SDK, { recursive: true })).filter((path) => path.endsWith('.d.ts'))) await rm(join(SDK, path));
  for (const [path, text] of await declarations()) await writeFile(join(SDK, path), text);
}

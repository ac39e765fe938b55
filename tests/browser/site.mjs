/**
 * The folder `examples` as a web server gives it out, without a build: TypeScript is stripped of its types file by file, and the
 * packages that are CommonJS are wrapped into modules. Where an example names its server, it is told the one of this test.
 */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const require = createRequire(import.meta.url);
/** Specifier to file: those that a browser runs, with React's warnings. */
const PACKAGES = {
  react: 'react/cjs/react.development.js',
  'react/jsx-runtime': 'react/cjs/react-jsx-runtime.development.js',
  'react-dom': 'react-dom/cjs/react-dom.development.js',
  'react-dom/client': 'react-dom/cjs/react-dom-client.development.js',
  scheduler: 'scheduler/cjs/scheduler.development.js',
};

/** @param {string} server e.g. `http://127.0.0.1:2025` @returns {Promise<{url: string, close: () => void}>} */
export async function serveExamples(server) {
  const site = createServer(async (request, response) => {
    try {
      const [type, text] = await answer(new URL(request.url, 'http://site').pathname, server);
      response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` }).end(text);
    } catch (error) {
      response.writeHead(404).end(String(error));
    }
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${site.address().port}`, close: () => site.close() };
}

async function answer(path, server) {
  if (path.startsWith('/npm/')) return ['text/javascript', await asModule(path.slice(5))];
  const folder = path.startsWith('/react/') ? '/react/' : '/';
  const text = await readFile(join(EXAMPLES, normalize(path.endsWith('/') ? `${path}index.html` : path)), 'utf8');
  if (/\.tsx?$/.test(path)) {
    const { ES2022, ESNext } = { ...ts.ScriptTarget, ...ts.ModuleKind };
    return ['text/javascript', ts.transpileModule(text, { fileName: path, compilerOptions: { target: ES2022, module: ESNext, jsx: ts.JsxEmit.ReactJSX } }).outputText];
  }
  if (extname(path) && extname(path) !== '.html') return ['text/plain', text];
  const imports = { ...Object.fromEntries(Object.keys(PACKAGES).map((name) => [name, `/npm/${name}`])), 'quick-notify': `${server}/sdk/quick-notify.js`, 'quick-notify/bell': `${server}/sdk/bell.js` };
  const told = text.replaceAll('http://127.0.0.1:2025', server).replaceAll('ws://127.0.0.1:2025', server.replace(/^http/, 'ws')).replaceAll('"/src/', `"${folder}src/`);
  return ['text/html', told.replace('<head>', `<head><script type="importmap">${JSON.stringify({ imports })}</script>`)];
}

async function asModule(name) {
  const code = await readFile(require.resolve(PACKAGES[name].split('/')[0] + '/package.json').replace('package.json', PACKAGES[name].split('/').slice(1).join('/')), 'utf8');
  const needs = [...new Set([...code.matchAll(/require\("(.+?)"\)/g)].map(([, need]) => need))];
  const names = Object.keys(require(name)).filter((key) => /^\w+$/.test(key));
  return [
    ...needs.map((need, index) => `import * as need${index} from '${need}';`),
    `const needs = {${needs.map((need, index) => `'${need}': need${index}`)}}, require = (name) => needs[name];`,
    `const process = { env: { NODE_ENV: 'development' } }, module = { exports: {} }, exports = module.exports;`,
    code,
    ...names.map((key, index) => `const name${index} = module.exports.${key};`),
    `export { ${names.map((key, index) => `name${index} as ${key}`)} };`,
  ].join('\n');
}

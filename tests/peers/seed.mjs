// Runs the original code blocks of a seed document, which itself is not part of this repository.
//
//   SEED_MD=PATH node seed.mjs server            its Koa block, on PORT instead of 3000
//   SEED_MD=PATH node seed.mjs client [OPTION]…  its axios block, driven as axios-client.mjs is
//
// The blocks run as they stand. What they print is dropped (the server's prints refresh tokens); the port, the
// counts and `localStorage` are put in from outside.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

import { drive, memoryStorage, options, run } from './driving.mjs';
import { counting, serve } from './serving.mjs';

const load = createRequire(import.meta.url);
const silent = new Proxy({}, { get: () => () => {} });

/** The one fenced block of the document in one of `languages` that contains `mark`. */
async function block(languages, mark) {
  const path = process.env.SEED_MD;
  if (!path) {
    throw new Error('SEED_MD names no document');
  }
  const fences = (await readFile(path, 'utf8')).matchAll(/^```(\w+)[^\n]*\n([\s\S]*?)^```/gm);
  const found = [...fences].filter(([, language, code]) => languages.includes(language) && code.includes(mark));
  if (found.length !== 1) {
    throw new Error(`${path}: ${found.length} code blocks hold ${mark}, expected one`);
  }
  return found[0][2];
}

async function server() {
  const code = await block(['js', 'javascript'], "require('koa')");
  class Koa extends load('koa') {
    listen() {
      this.silent = true;
      this.middleware.unshift(counting());
      return serve(this.callback());
    }
  }
  new Function('require', 'console', code)((name) => (name === 'koa' ? Koa : load(name)), silent);
}

async function client(args) {
  const typescript = load('typescript');
  const { ModuleKind, ScriptTarget } = typescript;
  const { outputText } = typescript.transpileModule(await block(['ts', 'tsx'], 'Axios.create('), {
    compilerOptions: { module: ModuleKind.CommonJS, target: ScriptTarget.ES2022, esModuleInterop: true },
  });
  const storage = memoryStorage();
  const exported = {};
  new Function('require', 'exports', 'localStorage', 'console', outputText)(load, exported, storage, silent);
  await drive(exported.default, storage, options(args));
}

await run(() => {
  const [role, ...args] = process.argv.slice(2);
  if (role === 'server') return server();
  if (role === 'client') return client(args);
  throw new Error('usage: SEED_MD=PATH node seed.mjs server|client');
});

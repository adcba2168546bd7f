// What drives the two axios clients (ours and a seed document's): log in, wait, fire, count, report.
import { setTimeout as sleep } from 'node:timers/promises';

const USAGE = '[--server URL] [--requests N] [--wait expiry|SECONDS]';
const LONGEST_WAIT = 60;

/** The part of a browser's `localStorage` that the clients need. */
export function memoryStorage() {
  const items = new Map();
  return {
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => void items.set(name, String(value)),
  };
}

/** Reads the options from the command line, then from SERVER, REQUESTS and WAIT. */
export function options(args) {
  const read = {
    server: process.env.SERVER ?? 'http://127.0.0.1:3000',
    requests: process.env.REQUESTS ?? '10',
    wait: process.env.WAIT ?? 'expiry',
  };
  for (let at = 0; at < args.length; at += 2) {
    const name = args[at].replace(/^--/, '');
    if (!Object.hasOwn(read, name) || args[at + 1] === undefined) {
      throw new Error(`usage: ${USAGE}`);
    }
    read[name] = args[at + 1];
  }
  read.requests = Number(read.requests);
  if (!Number.isInteger(read.requests) || read.requests < 1) {
    throw new Error(`usage: ${USAGE}`);
  }
  return read;
}

/** Logs in through `instance`, waits, sends the requests at once, and prints one line of JSON. */
export async function drive(instance, storage, { server, requests, wait }) {
  instance.defaults.baseURL = server;
  instance.defaults.proxy = false;
  let refreshes = 0;
  instance.interceptors.request.use((config) => {
    refreshes += config.url === '/refresh' ? 1 : 0;
    return config;
  });

  const { accessToken, refreshToken } = await instance.post('/login', { username: 'admin', password: '123456' });
  storage.setItem('accessToken', accessToken);
  storage.setItem('refreshToken', refreshToken);
  await sleep(wait === 'expiry' ? untilExpiry(accessToken) : Number(wait) * 1000);

  const start = performance.now();
  const calls = Array.from({ length: requests }, () => instance.get('/protected'));
  const answers = await Promise.allSettled(calls);
  const elapsed = performance.now() - start;

  const succeeded = answers.filter((answer) => answer.value?.message === 'Protected resource').length;
  const failed = requests - succeeded;
  const report = { requests, succeeded, failed, refreshes, elapsed_ms: Math.round(elapsed * 10) / 10 };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** Runs `main`, and turns what it throws into one line and exit code 1: an axios error would print its tokens. */
export async function run(main) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/** Milliseconds until the server, too, must call the token expired: its clock counts whole seconds. */
function untilExpiry(token) {
  const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
  const milliseconds = Math.max(0, exp * 1000 - Date.now()) + 100;
  if (!(milliseconds <= LONGEST_WAIT * 1000)) {
    throw new Error(`the access token does not expire within ${LONGEST_WAIT} s`);
  }
  return milliseconds;
}

// What the Koa servers (ours and a seed document's) share: counting, listening, and ending.
import { createServer } from 'node:http';

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `500ms`, `2s`, `15m`, `7d` or a bare number of seconds, as whole seconds (what a JWT can say). */
export function duration(text) {
  const parts = /^(\d+)(ms|s|m|h|d)?$/.exec(text);
  if (parts === null) {
    throw new Error(`not a duration: ${text}`);
  }
  return Math.ceil((Number(parts[1]) * MILLISECONDS[parts[2] ?? 's']) / 1000);
}

const byPath = (ctx) => (ctx.method === 'OPTIONS' ? undefined : ctx.path.slice(1));

/**
 * Koa middleware, to stand first: counts the calls, and answers `GET /__counts` with the figures. `nameOf` tells which
 * call a request is, `refusals` the statuses that refuse a token.
 */
export function counting(nameOf = byPath, refusals = [401, 403]) {
  const counts = { login: 0, refresh: 0, protected: 0, refused: 0 };
  return async (ctx, next) => {
    if (ctx.path === '/__counts') {
      ctx.body = counts;
      return;
    }
    const call = nameOf(ctx);
    if (Object.hasOwn(counts, call) && call !== 'refused') {
      counts[call] += 1;
    }
    await next();
    if (call === 'protected' && refusals.includes(ctx.status)) {
      counts.refused += 1;
    }
  };
}

/**
 * Listens on PORT of loopback (0 or unset: a free one), tells `listening` where and then says it on stdout, and ends on
 * SIGTERM or SIGINT.
 */
export function serve(handler, listening = () => {}) {
  const server = createServer(handler);
  const port = Number(process.env.PORT ?? 0);
  // A thousand connections may come at once: the default backlog of 511 would drop some of them for a second.
  server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
    const address = `http://127.0.0.1:${server.address().port}`;
    listening(address);
    process.stdout.write(`listening on ${address}\n`);
  });
  server.on('error', (error) => {
    process.stderr.write(`error: ${error.message}\n`);
    process.exit(1);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => {
      server.close(() => process.exit(0));
      server.closeAllConnections();
    });
  }
  return server;
}

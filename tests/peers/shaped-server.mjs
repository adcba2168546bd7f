// Foreign servers whose APIs have shapes of their own, as in-house APIs do. Nothing is shared between the two but what
// counts and listens.
//
//   node shaped-server.mjs nested   JSON:API-like: everything lies in objects within objects
//   node shaped-server.mjs form     forms, snake_case, tokens in headers
//
// - Access tokens live ACCESS_TTL (2 s) and are opaque: only the server knows. A refresh ends the ones before at once.
// - `nested` keeps its refresh token for good, and gives it out only at the login.
// - `form` replaces its refresh token at every refresh; a used one ends the session, as do two at once.
// - `GET /__counts` tells how often each call was made.
import { randomBytes } from 'node:crypto';

import Router from '@koa/router';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';

import { counting, duration, serve } from './serving.mjs';

const lifetime = duration(process.env.ACCESS_TTL ?? '2s');
const random = () => randomBytes(24).toString('base64url');

/** What a server knows of its logins. A session has one live token of each kind. */
class Sessions {
  #sessions = new Set();

  open() {
    const session = {};
    this.#sessions.add(session);
    this.renew(session);
    return session;
  }

  /** New tokens; those before are no good from now on. */
  renew(session) {
    Object.assign(session, { used: session.refresh, access: random(), refresh: random() });
    session.until = Date.now() + lifetime * 1000;
  }

  /** The same with the refresh token that there is. */
  renewAccess(session) {
    const { refresh } = session;
    this.renew(session);
    session.refresh = refresh;
  }

  close(session) {
    this.#sessions.delete(session);
  }

  with(kind, token) {
    return [...this.#sessions].find((session) => token !== undefined && session[kind] === token);
  }

  /** Whether an access token is good. */
  admits(token) {
    const session = this.with('access', token);
    return session !== undefined && Date.now() < session.until;
  }
}

function nested() {
  const KEY = 'an-api-key-that-every-call-needs';
  const sessions = new Sessions();
  const refuse = (ctx, status, code) => {
    ctx.status = status;
    ctx.body = { errors: [{ code, detail: `no: ${code}` }] };
  };
  const tokenOf = (ctx) => /^Bearer (.+)$/.exec(ctx.get('Authorization'))?.[1];
  const routes = new Router({ prefix: '/api/v2' })
    .use(async (ctx, next) => {
      if (!ctx.path.endsWith('/protected') && ctx.get('X-Api-Key') !== KEY) {
        return refuse(ctx, 403, 'bad_key');
      }
      await next();
    })
    .post('/session/sign-in', (ctx) => {
      const { user, client } = ctx.request.body;
      if (user?.email !== 'admin' || user?.password !== '123456' || client?.name !== 'cli') {
        return refuse(ctx, 422, 'bad_credentials');
      }
      const { access, refresh } = sessions.open();
      ctx.body = { data: { tokens: { access, refresh }, ttl: lifetime } };
    })
    .put('/session', (ctx) => {
      const session = sessions.with('refresh', tokenOf(ctx));
      if (session === undefined) {
        return refuse(ctx, 422, 'session_over');
      }
      sessions.renewAccess(session);
      ctx.body = { data: { token: session.access, ttl: String(lifetime) } };
    })
    .delete('/session', (ctx) => {
      const session = sessions.with('refresh', tokenOf(ctx));
      if (session !== undefined) {
        sessions.close(session);
      }
      ctx.status = 204;
    })
    .get('/protected', (ctx) => {
      if (!sessions.admits(ctx.get('X-Access-Token'))) {
        return refuse(ctx, 401, 'token_expired');
      }
      ctx.body = { message: 'Protected resource' };
    });
  return { routes, calls: { 'POST /api/v2/session/sign-in': 'login', 'PUT /api/v2/session': 'refresh', 'DELETE /api/v2/session': 'logout', 'GET /api/v2/protected': 'protected' } };
}

function form() {
  const sessions = new Sessions();
  const refuse = (ctx, status, message) => {
    ctx.status = status;
    ctx.body = { message };
  };
  const answer = (ctx, { access, refresh }) => {
    ctx.body = { access_token: access, refresh_token: refresh, expires_in: `${lifetime}` };
  };
  const routes = new Router()
    .post('/token', (ctx) => {
      const { grant, user_name, pass_word } = ctx.request.body;
      if (!ctx.is('urlencoded') || grant !== 'password' || user_name !== 'admin' || pass_word !== '123456') {
        return refuse(ctx, 401, 'who are you?');
      }
      answer(ctx, sessions.open());
    })
    .post('/token/refresh', (ctx) => {
      const token = ctx.get('X-Refresh-Token');
      const stolen = sessions.with('used', token);
      if (stolen !== undefined) {
        sessions.close(stolen);
      }
      const session = sessions.with('refresh', token);
      if (session === undefined) {
        return refuse(ctx, 401, 'log in again');
      }
      sessions.renew(session);
      answer(ctx, session);
    })
    .get('/protected', (ctx) => {
      if (!sessions.admits(/^Token (.+)$/.exec(ctx.get('Authorization'))?.[1])) {
        return refuse(ctx, 419, 'your session needs a refresh');
      }
      ctx.body = { message: 'Protected resource' };
    });
  return { routes, calls: { 'POST /token': 'login', 'POST /token/refresh': 'refresh', 'GET /protected': 'protected' } };
}

const shapes = { nested, form };
const shape = process.argv[2];
if (!Object.hasOwn(shapes, shape)) {
  process.stderr.write('usage: node shaped-server.mjs nested|form\n');
  process.exit(2);
}
const { routes, calls } = shapes[shape]();
const app = new Koa();
app.use(counting((ctx) => calls[`${ctx.method} ${ctx.path}`], [401, 419]));
app.use(bodyParser()).use(routes.routes()).use(routes.allowedMethods());
// A request that breaks off is the client's affair: Koa would print its stack.
app.silent = true;
serve(app.callback());

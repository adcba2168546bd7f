// A foreign server for authcli: the smallest dual-token API as other people write it, on Koa and jsonwebtoken.
//
// - Access tokens live ACCESS_TTL (2 s), refresh tokens 7 days. Both are stateless JWTs: a refresh token can be
//   redeemed any number of times, and two logins within one second get the same strings.
// - A missing Authorization header is 401, a bad or expired token is 403: no WWW-Authenticate, no expires_in.
// - It knows neither `/logout` nor `Idempotency-Key`.
// - `GET /__counts` tells how often each call was made, so that a test can believe the server, not the client.
import { randomBytes } from 'node:crypto';

import Router from '@koa/router';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';
import jwt from 'jsonwebtoken';

import { counting, duration, serve } from './serving.mjs';

const accounts = new Map([
  ['admin', { id: 1, password: '123456' }],
  ['user2', { id: 2, password: 'password2' }],
]);

// A key for each kind, so that neither token passes for the other.
const keys = { access: randomBytes(32), refresh: randomBytes(32) };
const lifetimes = { access: duration(process.env.ACCESS_TTL ?? '2s'), refresh: duration('7d') };

const issue = (kind, userId) => jwt.sign({ userId }, keys[kind], { expiresIn: lifetimes[kind] });
const pairFor = (userId) => ({ accessToken: issue('access', userId), refreshToken: issue('refresh', userId) });

/** The user that a token was issued to, or `undefined` for a token that is forged, expired or not one at all. */
function holderOf(kind, token) {
  try {
    return jwt.verify(token, keys[kind]).userId;
  } catch {
    return undefined;
  }
}

function refuse(ctx, status, error) {
  ctx.status = status;
  ctx.body = { error };
}

const routes = new Router()
  .post('/login', (ctx) => {
    const { username, password } = ctx.request.body;
    const account = accounts.get(username);
    if (account === undefined || account.password !== password) {
      return refuse(ctx, 401, 'Invalid username or password');
    }
    ctx.body = pairFor(account.id);
  })
  .post('/refresh', (ctx) => {
    const { refreshToken } = ctx.request.body;
    if (!refreshToken) {
      return refuse(ctx, 400, 'refresh token is required');
    }
    const userId = holderOf('refresh', refreshToken);
    if (userId === undefined) {
      return refuse(ctx, 403, 'Invalid refresh token');
    }
    ctx.body = pairFor(userId);
  })
  .get('/protected', (ctx) => {
    const header = ctx.get('Authorization');
    if (header === '') {
      return refuse(ctx, 401, 'Authorization header is required');
    }
    const userId = holderOf('access', header.split(' ')[1]);
    if (userId === undefined) {
      return refuse(ctx, 403, 'Invalid token');
    }
    ctx.body = { message: 'Protected resource', userId };
  });

/** Lets a page of any origin call, and answers every preflight, whatever its path. */
async function anyOrigin(ctx, next) {
  ctx.set({
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Headers': '*',
    'Access-Control-Allow-Methods': 'GET, POST, PUT, DELETE, OPTIONS',
  });
  if (ctx.method === 'OPTIONS') {
    ctx.status = 204;
    return;
  }
  await next();
}

const app = new Koa();
app.use(counting()).use(bodyParser()).use(anyOrigin).use(routes.routes()).use(routes.allowedMethods());
// A request that breaks off is the client's affair: Koa would print its stack.
app.silent = true;
serve(app.callback());

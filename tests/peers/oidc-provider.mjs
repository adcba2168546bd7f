// A certified OpenID provider (node-oidc-provider) with its own sign-in pages, and an API beside it that takes its tokens.
//
// Refresh tokens rotate, and one that comes twice ends the whole grant: two clients that refresh at once have both lost
// their session. PORT (0 = a free one), ACCESS_TTL (900 s).
//
//   GET /api        200 for a live access token, else 401
//   GET /__counts   {"refresh","refused","api","rejected"}: what the token endpoint granted and refused of refreshes,
//                   and what the API answered
import Provider from 'oidc-provider';

import { duration, serve } from './serving.mjs';

const accessTtl = duration(process.env.ACCESS_TTL ?? '900');
const counts = { refresh: 0, refused: 0, api: 0, rejected: 0 };

const native = {
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
};
const service = {
  client_secret: 'a secret with % and :',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
};

/** The provider, once its own address is known. */
function provider(issuer) {
  const made = new Provider(issuer, {
    clients: [
      { ...native, client_id: 'cli', redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/done'] },
      { ...service, client_id: 'basic', token_endpoint_auth_method: 'client_secret_basic' },
      { ...service, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
    ],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      revocation: { enabled: true },
    },
    claims: { openid: ['sub'] },
    scopes: ['openid', 'offline_access'],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    ttl: { AccessToken: accessTtl, ClientCredentials: accessTtl },
  });
  const isRefresh = (ctx) => ctx.oidc?.params?.grant_type === 'refresh_token';
  made.on('grant.success', (ctx) => (counts.refresh += Number(isRefresh(ctx))));
  made.on('grant.error', (ctx) => (counts.refused += Number(isRefresh(ctx))));
  return made;
}

let handler;
let oidc;
serve(async (request, response) => {
  const json = (status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };
  switch (request.url) {
    case '/__counts':
      return json(200, counts);
    case '/api': {
      const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
      const found = (await oidc.AccessToken.find(token)) ?? (await oidc.ClientCredentials.find(token));
      if (found?.isValid) {
        counts.api += 1;
        return json(200, { sub: found.accountId ?? found.clientId });
      }
      counts.rejected += 1;
      return json(401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    }
    default:
      return handler(request, response);
  }
}, (address) => {
  oidc = provider(address);
  handler = oidc.callback();
});

// oauth2-mock-server, whose hooks spoil the answers that are asked for. It signs in whoever comes, without a page.
//
// PORT (0 = a free one). No state is kept of tokens: what a refresh brings is whatever the test wants.
//
//   PUT /__next   the next answer of the token endpoint: {"status","fields","text","headers"}. `fields` are put over
//                 those that it would have (null takes one away), `text` replaces the whole body
//   GET /api      200 {"authorization"}: which token came
//   GET /__calls  {"token","revoke"}: what the token and revocation endpoints were asked
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

import { serve } from './serving.mjs';

const issuer = new OAuth2Issuer();
await issuer.keys.generate('RS256');
const service = new OAuth2Service(issuer);
const calls = { token: [], revoke: [] };
const next = [];

service.on('beforeResponse', (answer, request) => {
  calls.token.push({ ...request.body });
  const spoilt = next.shift();
  if (spoilt === undefined) {
    return;
  }
  answer.statusCode = spoilt.status ?? answer.statusCode;
  answer.body = spoilt.status >= 400 ? {} : answer.body;
  for (const [name, value] of Object.entries(spoilt.fields ?? {})) {
    if (value === null) {
      delete answer.body[name];
    } else {
      answer.body[name] = value;
    }
  }
  const response = request.res;
  for (const [name, value] of Object.entries(spoilt.headers ?? {})) {
    response.set(name, value);
  }
  if (spoilt.text !== undefined) {
    response.json = () => response.type('html').send(spoilt.text);
  }
});
service.on('beforeRevoke', (_, request) => calls.revoke.push({ ...request.body }));

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString());
}

serve(
  async (request, response) => {
    const json = (body) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    switch (request.url) {
      case '/__next':
        next.push(await bodyOf(request));
        return json({});
      case '/__calls':
        return json(calls);
      case '/api':
        return json({ authorization: request.headers.authorization ?? null });
      default:
        return service.requestHandler(request, response);
    }
  },
  (address) => {
    issuer.url = address;
  },
);

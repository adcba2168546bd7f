// A foreign server whose protected resource is a WebSocket, on ws: it echoes what it is sent.
//
// - `GET /echo` upgrades for who brings a live access token; a missing or expired one is 401, before any upgrade.
// - `POST /login` and `/refresh` issue opaque tokens that live ACCESS_TTL (2 s), and say so in `expiresIn`.
// - `GET /__counts` answers `{"refresh","sockets","refused"}`.
import { randomBytes } from 'node:crypto';
import { STATUS_CODES } from 'node:http';

import { WebSocketServer } from 'ws';

import { duration, serve } from './serving.mjs';

const lifetime = duration(process.env.ACCESS_TTL ?? '2s');
const counts = { refresh: 0, sockets: 0, refused: 0 };
const accessTokens = new Map();
const refreshTokens = new Set();

function issue() {
  const [accessToken, refreshToken] = [0, 0].map(() => randomBytes(24).toString('base64url'));
  accessTokens.set(accessToken, Date.now() + lifetime * 1000);
  refreshTokens.add(refreshToken);
  return { accessToken, refreshToken, expiresIn: lifetime };
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

async function answer(request) {
  switch (`${request.method} ${request.url}`) {
    case 'POST /login':
      return [200, issue()];
    case 'POST /refresh':
      counts.refresh += 1;
      return refreshTokens.delete((await bodyOf(request)).refreshToken)
        ? [200, issue()]
        : [403, { error: 'Invalid refresh token' }];
    case 'GET /__counts':
      return [200, counts];
    default:
      return [404, { error: 'Not found' }];
  }
}

const server = serve(async (request, response) => {
  const [status, body] = await answer(request);
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
});

const sockets = new WebSocketServer({ noServer: true, path: '/echo' });
server.on('upgrade', (request, socket, head) => {
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (!(accessTokens.get(token) > Date.now())) {
    counts.refused += 1;
    socket.end(`HTTP/1.1 401 ${STATUS_CODES[401]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    return;
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    counts.sockets += 1;
    client.on('message', (data, isBinary) => client.send(data, { binary: isBinary }));
  });
});

// A resource server as others write it, on jose: it fetches the public keys once, keeps them, and judges access tokens.
//
// - Reads tokens from standard input, a line each, and answers each with a line of JSON:
//   `{"verified":true,"kid","userId"}` or `{"verified":false,"code"}`.
// - It fetches the keys again for an unknown `kid` only, and not within half a minute (jose's default): a key that is used
//   before it is published is refused.
import { createInterface } from 'node:readline';

import { createRemoteJWKSet, jwtVerify } from 'jose';

const [, , address] = process.argv;
if (address === undefined) {
  process.stderr.write('usage: node jose-verifier.mjs JWKS_URL\n');
  process.exit(2);
}

const keys = createRemoteJWKSet(new URL(address));
// What RFC 9068 section 4 asks of a resource server.
const rules = {
  algorithms: ['EdDSA'],
  typ: 'at+jwt',
  issuer: 'authcli-server',
  audience: 'authcli-server',
  requiredClaims: ['iss', 'exp', 'aud', 'sub', 'iat', 'jti'],
  clockTolerance: 0,
};

async function judge(token) {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, rules);
    return { verified: true, kid: protectedHeader.kid, userId: payload.userId };
  } catch (error) {
    return { verified: false, code: error.code ?? error.message };
  }
}

for await (const token of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await judge(token))}\n`);
}

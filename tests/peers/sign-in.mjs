// Signs in at an OpenID provider's own pages, as a browser without scripts would: `node sign-in.mjs ADDRESS`.
//
// It follows redirects, keeps cookies, fills in a name and a password where they are asked for, and sends whatever form
// the page has, until there is none. USER is who signs in (ann). DENY=1 goes back to the application instead.
const ROUNDS = 20;
const cookies = new Map();
const user = process.env.USER ?? 'ann';

/** Sends a request with the cookies so far, and keeps those that it brings. */
async function send(url, options = {}) {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const response = await fetch(url, { ...options, redirect: 'manual', headers: { ...options.headers, cookie } });
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    cookies.set(name, value);
  }
  return response;
}

/** The first value of an attribute of a tag. */
function attribute(tag, name) {
  return new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]?.replaceAll('&amp;', '&');
}

let url = process.argv[2];
let response = await send(url);
for (let round = 0; round < ROUNDS; round += 1) {
  const location = response.headers.get('location');
  if (location !== null) {
    url = new URL(location, url).href;
    response = await send(url);
    continue;
  }
  const page = await response.text();
  const abort = /href="([^"]*\/abort)"/.exec(page)?.[1];
  const form = /<form\b[^>]*>[\s\S]*?<\/form>/.exec(page)?.[0];
  if (process.env.DENY === '1' && abort !== undefined) {
    url = new URL(abort, url).href;
    response = await send(url);
    continue;
  }
  if (form === undefined) {
    process.exit(response.ok ? 0 : 1);
  }
  const fields = new URLSearchParams();
  for (const [input] of form.matchAll(/<input\b[^>]*>/g)) {
    const name = attribute(input, 'name');
    if (name !== undefined && attribute(input, 'type') !== 'submit') {
      fields.set(name, attribute(input, 'value') ?? { login: user, password: 'any' }[name] ?? '');
    }
  }
  url = new URL(attribute(form, 'action') ?? '', url).href;
  response = await send(url, {
    method: 'POST',
    body: fields.toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
}
process.stderr.write(`error: still not signed in after ${ROUNDS} pages\n`);
process.exit(1);

// usage: node websocket-client.mjs URL MILLISECONDS
//
// Opens one WebSocket after the other for that long, sends a text and some bytes through each and reads them back.
// Prints `{"opened","echoed","failed"}`; a refused handshake is a failure.
import { setTimeout as sleep } from 'node:timers/promises';

import WebSocket from 'ws';

const [url, milliseconds] = process.argv.slice(2);
const counts = { opened: 0, echoed: 0, failed: 0 };

/** Sends `data` and resolves with what comes back. */
function echo(socket, data) {
  return new Promise((resolve, reject) => {
    socket.once('message', (answer) => resolve(answer));
    socket.once('close', () => reject(new Error('closed')));
    socket.send(data);
  });
}

async function converse() {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  counts.opened += 1;
  const bytes = Buffer.alloc(100_000, 7);
  const text = await echo(socket, 'hello');
  const echoed = await echo(socket, bytes);
  if (text.toString() === 'hello' && bytes.equals(echoed)) {
    counts.echoed += 1;
  }
  await new Promise((resolve) => socket.once('close', resolve).close());
}

const end = Date.now() + Number(milliseconds);
while (Date.now() < end) {
  await converse().catch((error) => {
    counts.failed += 1;
    process.stderr.write(`${error.message}\n`);
  });
  await sleep(50);
}
process.stdout.write(`${JSON.stringify(counts)}\n`);

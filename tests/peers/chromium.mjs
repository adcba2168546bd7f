// Signs in at an OpenID provider's own pages in a real browser: `node chromium.mjs ADDRESS`.
//
// Chromium without a window, with a profile of its own. What the last page says is written to REPORT.
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const ROUNDS = 10;
const profile = await mkdtemp(join(tmpdir(), 'authcli-chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  timeout: 60_000,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  const page = await context.newPage();
  await page.goto(process.argv[2]);
  for (let round = 0; round < ROUNDS && (await page.locator('form').count()) > 0; round += 1) {
    for (const [name, value] of Object.entries({ login: 'ann', password: 'any' })) {
      const field = page.locator(`input[name=${name}]`);
      if ((await field.count()) > 0) {
        await field.fill(value);
      }
    }
    await Promise.all([page.waitForEvent('load'), page.locator('button[type=submit]').first().click()]);
  }
  const said = { address: page.url(), text: await page.locator('body').innerText(), title: await page.title() };
  // Whole or not at all: the test waits for the file.
  await writeFile(`${process.env.REPORT}.part`, JSON.stringify(said));
  await rename(`${process.env.REPORT}.part`, process.env.REPORT);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}

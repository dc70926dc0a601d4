// A headless Chromium for the tests of pages: Debian's, or the one in CHROMIUM_BIN.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

import { atEnd } from './cleanup.js';

const QUIET = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

function executable() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const folders = (process.env.PATH ?? '').split(delimiter);
  const candidates = [process.env.CHROMIUM_BIN, ...folders.flatMap((folder) => names.map((name) => join(folder, name)))];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error('there is no chromium: install it (`apt-get install chromium`), or set CHROMIUM_BIN');
  return found;
}

/** A browser that ends with the test `t`. */
export async function startBrowser(t) {
  const browser = await chromium.launch({ executablePath: executable(), args: QUIET });
  atEnd(t, () => browser.close());
  return browser;
}

/** A user with a browser profile of their own, and what went wrong in their pages. */
export async function newUser(browser, options = {}) {
  const profile = await browser.newContext({ viewport: { width: 900, height: 700 }, ...options });
  const errors = [];
  profile.on('weberror', (event) => errors.push(String(event.error())));
  profile.on('console', (line) => {
    // A connection that breaks is reported by the browser as an error; here that is what is being tested.
    if (line.type() === 'error' && !/ERR_|WebSocket connection|Failed to load resource/.test(line.text())) errors.push(line.text());
  });
  return { profile, errors };
}

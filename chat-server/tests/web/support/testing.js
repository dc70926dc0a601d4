// `node:test`, except that no test waits for ever: one that hangs fails under its own name, and those behind it still run.

import { test as plain } from 'node:test';

/** More than any single wait in these tests; a test that needs longer says so itself. */
const LIMIT_MS = 90_000;

export function test(name, ...rest) {
  const run = rest.pop();
  return plain(name, { timeout: LIMIT_MS, ...rest[0] }, run);
}

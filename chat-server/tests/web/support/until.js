// Waiting for a condition, with a deadline. The tests know no other way to wait.

import { setTimeout as wait } from 'node:timers/promises';

/** Waits until `condition()` is true (or returns something that is) and returns it; fails after `ms`, saying what was waited for. */
export async function until(condition, what, ms = 15_000) {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (deadline < performance.now()) throw new Error(`waited ${ms} ms in vain until ${typeof what === 'function' ? what() : what}`);
    await wait(10);
  }
}

/** The promise's value; fails after `ms`. */
export async function within(promise, what, ms = 15_000) {
  const alarm = new AbortController();
  const late = wait(ms, undefined, { signal: alarm.signal }).then(
    () => { throw new Error(`waited ${ms} ms in vain until ${what}`); },
    () => new Promise(() => {}),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    alarm.abort();
  }
}

// What the page keeps in the browser. A browser that keeps nothing is no reason not to work.

import type { KeyValues } from '../client';

/** A browser that forbids storage throws at its mere mention; then nothing is kept. */
export function storageOrNothing(name: 'localStorage' | 'sessionStorage'): KeyValues {
  try {
    return window[name];
  } catch {
    const refuse = (): never => {
      throw new Error('this browser keeps nothing for this page');
    };
    return { key: () => null, getItem: () => null, setItem: refuse, removeItem: refuse, get length() { return refuse(); } };
  }
}

export function keep(storage: KeyValues, key: string, value: string): void {
  try {
    if (value === '') storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // A full storage costs only what it was to keep.
  }
}

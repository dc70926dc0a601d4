// Who this browser is: a secret that makes it the same guest on every connection. The server shows others a digest of it only.

import { type KeyValues, randomId } from './outbox';

const KEY = 'chat.guest';
/** A database that does not answer holds up a first visit no longer than this. */
const ANSWER_WITHIN_MS = 2_000;

/**
 * The secret, the same for all tabs: also for two that are opened at one moment on a first visit. What one of them puts into the storage
 * is seen late by the other, with a lock as without one, so the first secret is agreed on in a transaction of a database.
 * Where nothing is kept, it lasts as long as the page.
 */
export async function guestSecret(storage: KeyValues, databases: IDBFactory | undefined = globalThis.indexedDB): Promise<string> {
  const kept = read(storage);
  if (isSecret(kept)) return kept;
  const secret = await agreed(databases, randomId() + randomId());
  try {
    storage.setItem(KEY, secret);
  } catch {
    // Then the database is asked each time.
  }
  return secret;
}

function read(storage: KeyValues): string | null {
  try {
    return storage.getItem(KEY);
  } catch {
    return null;
  }
}

/** What the server accepts; it counts characters, not the halves of them. */
function isSecret(text: unknown): text is string {
  const characters = typeof text === 'string' ? [...text].length : 0;
  return 16 <= characters && characters <= 128;
}

/** The secret in the database, where `made` is put if it is the first; `made` also where there is no database. */
function agreed(databases: IDBFactory | undefined, made: string): Promise<string> {
  return new Promise((done) => {
    const alone = () => done(made);
    setTimeout(alone, ANSWER_WITHIN_MS);
    if (databases === undefined) return alone();
    try {
      const opening = databases.open('chat', 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore('guest');
      opening.onerror = alone;
      opening.onsuccess = () => agreeIn(opening.result, made, done, alone);
    } catch {
      alone();
    }
  });
}

function agreeIn(database: IDBDatabase, made: string, done: (secret: string) => void, alone: () => void): void {
  const change = database.transaction('guest', 'readwrite');
  const guests = change.objectStore('guest');
  let secret = made;
  const reading = guests.get(KEY);
  reading.onsuccess = () => {
    if (isSecret(reading.result)) secret = reading.result;
    else guests.put(made, KEY);
  };
  change.oncomplete = () => {
    database.close();
    done(secret);
  };
  change.onabort = alone;
}

// The messages a person has written that the server has not answered for good yet, kept across reloads.
//
// Each draft has a storage entry of its own, so several tabs never write over one another: no tab reads a list, changes it and writes it
// back. Every tab of a browser may send every draft; the server stores an id once. Sending is the business of connection.js.

const PREFIX = 'chat.draft.';

/** 128 random bits. `crypto.randomUUID` exists in secure contexts only; `getRandomValues` is there over plain http too. */
export function randomId() {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A draft: `{id, content, written, failed}`; `failed` is the error `{code, message}` it was refused with, or null while it waits. */
export class Outbox {
  #storage;
  #drafts = new Map();
  #lastWritten = 0;
  /** False once a draft could not be stored: it would not survive a reload. */
  durable = true;

  /** Takes over what earlier pages, and other tabs, have left in `storage`. */
  constructor(storage) {
    this.#storage = storage;
    this.gather();
  }

  /** Takes in drafts in the storage that this tab does not know yet, and returns them in the order in which they were written. */
  gather() {
    const found = [];
    try {
      for (let index = 0; index < this.#storage.length; index += 1) {
        const key = this.#storage.key(index);
        const draft = parse(key, this.#storage.getItem(key));
        if (draft && !this.#drafts.has(draft.id)) found.push(draft);
      }
    } catch {
      this.durable = false;
    }
    found.sort(byTime);
    for (const draft of found) this.#drafts.set(draft.id, draft);
    return found;
  }

  add(content) {
    // Two drafts of one tab never share a time, so that their order is certain.
    this.#lastWritten = Math.max(Date.now(), this.#lastWritten + 1);
    const draft = { id: randomId(), content, written: this.#lastWritten, failed: null };
    this.#drafts.set(draft.id, draft);
    this.#keep(draft);
    return draft;
  }

  /** The oldest draft that waits to be sent. */
  next() {
    return this.all().find((draft) => draft.failed === null);
  }

  all() {
    return [...this.#drafts.values()].sort(byTime);
  }

  get(id) {
    return this.#drafts.get(id);
  }

  /** The draft is stored by the server, or its author gave it up. */
  remove(id) {
    this.#drafts.delete(id);
    try {
      this.#storage.removeItem(PREFIX + id);
    } catch {
      // What could not be stored is not there either.
    }
  }

  fail(id, error) {
    this.#change(id, error);
  }

  /**
   * Lets a refused draft wait again and returns it. It keeps its id, so that it is not stored twice if it was stored after all; only
   * one whose id the server knows with another content needs another id.
   */
  retry(id) {
    const draft = this.#drafts.get(id);
    if (draft?.failed?.code !== 'conflict') return this.#change(id, null);
    this.remove(id);
    return this.add(draft.content);
  }

  /**
   * Follows what another tab did to the storage. Returns the id of a draft of ours that the other tab has brought to its end,
   * else undefined.
   */
  follow(event) {
    if (event.key === null || !event.key.startsWith(PREFIX) || event.newValue !== null) return undefined;
    const id = event.key.slice(PREFIX.length);
    return this.#drafts.delete(id) ? id : undefined;
  }

  #change(id, failed) {
    const draft = this.#drafts.get(id);
    if (!draft) return undefined;
    draft.failed = failed;
    this.#keep(draft);
    return draft;
  }

  #keep(draft) {
    try {
      this.#storage.setItem(PREFIX + draft.id, JSON.stringify(draft));
    } catch {
      this.durable = false;
    }
  }
}

function byTime(one, other) {
  return one.written - other.written || (one.id < other.id ? -1 : 1);
}

/** Reads a stored draft; anything else in the storage, or a damaged draft, is left alone. */
function parse(key, text) {
  if (key === null || !key.startsWith(PREFIX) || text === null) return undefined;
  try {
    const { id, content, written, failed } = JSON.parse(text);
    if (PREFIX + id !== key || typeof written !== 'number' || content === undefined) return undefined;
    return { id, content, written, failed: typeof failed?.message === 'string' ? failed : null };
  } catch {
    return undefined;
  }
}

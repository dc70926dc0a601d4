// The messages a person has written that the server has not answered for good yet, kept across reloads.
//
// Each draft has a storage entry of its own, so several tabs never write over one another: no tab reads a list, changes it and writes it
// back. Every tab of a browser may send every draft; the server stores an id once. Sending is the business of chat.ts.

import type { ChatError, Content } from './wire';

const PREFIX = 'chat.draft.';
/** The room of drafts that were written by pages that knew one room only. */
const FIRST_ROOM = 'general';

/** What is needed of a browser's `localStorage`. */
export interface KeyValues {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Draft {
  readonly id: string;
  readonly room: string;
  readonly content: Content;
  /** When, by this browser's clock, in milliseconds since 1970. */
  readonly written: number;
  /** Why the server refused it; null while it waits. */
  failed: ChatError | null;
}

/** 128 random bits. `crypto.randomUUID` exists in secure contexts only; `getRandomValues` is there over plain http too. */
export function randomId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Outbox {
  readonly #storage: KeyValues;
  readonly #drafts = new Map<string, Draft>();
  #lastWritten = 0;
  /** False once a draft could not be stored: it would not survive a reload. */
  durable = true;

  /** Takes over what earlier pages, and other tabs, have left in `storage`. */
  constructor(storage: KeyValues) {
    this.#storage = storage;
    this.gather();
  }

  /** Takes in drafts in the storage that this tab does not know yet, and returns them in the order in which they were written. */
  gather(): Draft[] {
    const found: Draft[] = [];
    try {
      for (let index = 0; index < this.#storage.length; index += 1) {
        const key = this.#storage.key(index);
        const draft = key === null ? undefined : parse(key, this.#storage.getItem(key));
        if (draft && !this.#drafts.has(draft.id)) found.push(draft);
      }
    } catch {
      this.durable = false;
    }
    found.sort(byTime);
    for (const draft of found) this.#drafts.set(draft.id, draft);
    return found;
  }

  add(room: string, content: Content): Draft {
    // Two drafts of one tab never share a time, so that their order is certain.
    this.#lastWritten = Math.max(Date.now(), this.#lastWritten + 1);
    const draft = { id: randomId(), room, content, written: this.#lastWritten, failed: null };
    this.#drafts.set(draft.id, draft);
    this.#keep(draft);
    return draft;
  }

  /** The oldest draft for the room that waits to be sent. */
  next(room: string): Draft | undefined {
    return this.all().find((draft) => draft.room === room && draft.failed === null);
  }

  all(): Draft[] {
    return [...this.#drafts.values()].sort(byTime);
  }

  get(id: string): Draft | undefined {
    return this.#drafts.get(id);
  }

  /** The draft is stored by the server, or its author gave it up. */
  remove(id: string): void {
    this.#drafts.delete(id);
    try {
      this.#storage.removeItem(PREFIX + id);
    } catch {
      // What could not be stored is not there either.
    }
  }

  fail(id: string, error: ChatError): void {
    this.#change(id, error);
  }

  /**
   * Lets a refused draft wait again and returns it. It keeps its id, so that it is not stored twice if it was stored after all; only
   * one whose id the server knows with another content needs another id.
   */
  retry(id: string): Draft | undefined {
    const draft = this.#drafts.get(id);
    if (draft?.failed?.code !== 'conflict') return this.#change(id, null);
    this.remove(id);
    return this.add(draft.room, draft.content);
  }

  /** Follows what another tab did to the storage. Returns a draft of ours that the other tab has brought to its end, else undefined. */
  follow(event: { readonly key: string | null; readonly newValue: string | null }): Draft | undefined {
    if (event.key === null || !event.key.startsWith(PREFIX) || event.newValue !== null) return undefined;
    const id = event.key.slice(PREFIX.length);
    const draft = this.#drafts.get(id);
    this.#drafts.delete(id);
    return draft;
  }

  #change(id: string, failed: ChatError | null): Draft | undefined {
    const draft = this.#drafts.get(id);
    if (!draft) return undefined;
    draft.failed = failed;
    this.#keep(draft);
    return draft;
  }

  #keep(draft: Draft): void {
    try {
      this.#storage.setItem(PREFIX + draft.id, JSON.stringify(draft));
    } catch {
      this.durable = false;
    }
  }
}

function byTime(one: Draft, other: Draft): number {
  return one.written - other.written || (one.id < other.id ? -1 : 1);
}

/** Reads a stored draft; anything else in the storage, or a damaged draft, is left alone. */
function parse(key: string, text: string | null): Draft | undefined {
  if (!key.startsWith(PREFIX) || text === null) return undefined;
  try {
    const { id, room = FIRST_ROOM, content, written, failed } = JSON.parse(text);
    if (PREFIX + id !== key || typeof room !== 'string' || typeof written !== 'number' || content === undefined) return undefined;
    return { id, room, content, written, failed: typeof failed?.message === 'string' ? failed : null };
  } catch {
    return undefined;
  }
}

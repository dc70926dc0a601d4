// One room as a person has it before them: an unbroken run of its messages up to the newest, what waits to be sent, who is there.
//
// It holds and folds; asking the server is the business of chat.ts.

import type { Draft } from './outbox';
import { People } from './people';
import { Reads } from './reads';
import { Timeline } from './timeline';
import { Typing } from './typing';
import { idOf, type ChatError, type Message, type OwnRoom, type Removal, type Somebody, type User } from './wire';

/** What is kept of a room while it grows at its end; what is older is asked for again by whoever scrolls there. */
const MESSAGES_MAX = 2_000;
/** People who were met in a room and may not be there any more. */
const NAMES_MAX = 1_000;

export interface Pending {
  readonly draft: Draft;
  /** The offset at which the server has it; its message comes in its turn. */
  stored: number | undefined;
}

export class Room {
  readonly name: string;
  readonly timeline = new Timeline();
  readonly people = new People();
  readonly typing = new Typing();
  readonly reads = new Reads();
  /** What was written here and is not among the messages yet, in the order in which it was written. */
  readonly pending = new Map<string, Pending>();
  #messages: Message[] = [];
  #newest: Message | undefined;
  readonly #names = new Map<string, string>();
  /** The other one of a private room. */
  partner: User | undefined;
  /** Whether this connection is in the room. */
  joined = false;
  /** Whether what is here goes back from the end; else only what is new comes, and nothing was asked for yet. */
  loaded = false;
  /** Whether everything is here that the room had when it was entered, and `older` may be asked for. */
  settled = false;
  /** Whether nothing older is kept on the server than what is here. */
  complete = false;
  /** Up to where this person has seen the room, as far as it is known. */
  read = 0;
  unread = 0;
  /** Why this client is out of the room, and stays out until it is opened again. */
  closed: { readonly removal: Removal } | { readonly error: ChatError } | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether it is a private room of two. */
  get direct(): boolean {
    return this.name.startsWith('dm:');
  }

  /** Ascending, without a gap. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** The newest message known, also where its turn among `messages` has not come. */
  get last(): Message | undefined {
    return this.#newest;
  }

  /** The name by which somebody goes here; empty if nothing of them is known but the id. */
  nameOf(id: string): string {
    return this.people.name(id) ?? this.#names.get(id) ?? (this.partner?.id === id ? this.partner.name : '');
  }

  /** What is said about somebody may say by which name they go. */
  met(somebody: Somebody): void {
    if (typeof somebody === 'string' || somebody.name === undefined) return;
    this.#names.delete(somebody.id);
    this.#names.set(somebody.id, somebody.name);
    const [oldest] = this.#names.keys();
    if (NAMES_MAX < this.#names.size && oldest !== undefined) this.#names.delete(oldest);
  }

  /** Takes the next message. False if it is here already. */
  append(message: Message, me: string | undefined): boolean {
    const last = this.#messages.at(-1);
    if (last !== undefined && message.offset <= last.offset) return false;
    this.#messages.push(message);
    this.met(message.from);
    if (MESSAGES_MAX < this.#messages.length) {
      this.#messages.shift();
      this.complete = false;
    }
    this.typing.said(message.from.id);
    this.#dropStoredUpTo(message.offset);
    if (message.from.id === me) this.seen(message.offset);
    else if (this.read < message.offset && (this.#newest?.offset ?? 0) < message.offset) this.unread += 1;
    this.#learnNewest(message);
    return true;
  }

  /** Takes a page of what came before the first message here. Returns what of it is new. */
  prepend(page: readonly Message[]): Message[] {
    const first = this.#messages[0];
    const older = page.filter(({ offset }) => first === undefined || offset < first.offset);
    this.#messages = [...older, ...this.#messages];
    for (const { from } of older) if (!this.#names.has(from.id)) this.met(from);
    if (older.length === 0) this.complete = true;
    this.loaded = true;
    this.#learnNewest(older.at(-1));
    return older;
  }

  /** What the server says of this room among this person's own. */
  listed({ read, unread, last, with: partner }: OwnRoom): void {
    this.read = Math.max(this.read, read ?? 0);
    if (last && (this.#newest?.offset ?? 0) <= last.offset) {
      this.#newest = last;
      this.unread = last.offset <= this.read ? 0 : (unread ?? 0);
    }
    if (partner === undefined) return;
    this.met(partner);
    const id = idOf(partner);
    this.partner = { id, name: this.nameOf(id) };
    if (partner.read !== undefined) this.reads.notice({ room: this.name, user: id, offset: partner.read });
  }

  /** This person has seen the room up to there. Returns whether that is news. */
  seen(offset: number): boolean {
    if (offset <= this.read) return false;
    this.read = offset;
    const held = this.#messages[0];
    if ((this.last?.offset ?? 0) <= offset) this.unread = 0;
    else if (held !== undefined && held.offset <= offset + 1) this.unread = this.#messages.filter((message) => offset < message.offset).length;
    return true;
  }

  /** The history that was shown is gone: what comes next is a new beginning. */
  restart(pos: string | undefined): void {
    this.timeline.restart(pos);
    this.#messages = [];
    this.#newest = undefined;
    this.complete = false;
    this.read = 0;
    this.unread = 0;
    this.reads.clear();
  }

  /** The server has the draft. If its message's turn is over, it stands further up already. */
  stored(id: string, offset: number): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    pending.stored = offset;
    if (this.timeline.last !== undefined && offset <= this.timeline.last) this.pending.delete(id);
  }

  #learnNewest(message: Message | undefined): void {
    if (message !== undefined && (this.#newest?.offset ?? 0) < message.offset) this.#newest = message;
  }

  #dropStoredUpTo(offset: number): void {
    for (const [id, { stored }] of this.pending) if (stored !== undefined && stored <= offset) this.pending.delete(id);
  }
}

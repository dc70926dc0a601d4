// The chat of one person: their rooms, kept up to date, and what they do in them. See README.md for how to use it.
//
// Rooms fold what comes (room.ts), the outbox keeps what goes (outbox.ts), and here both meet the server.

import { Connection } from './connection';
import { Emitter } from './emitter';
import { type Draft, type KeyValues, Outbox } from './outbox';
import { Room } from './room';
import {
  type ChatError, type Content, type HistoryLost, type HistoryPage, idOf, type Io, type Joined, type MembersPage, type Message, type OwnRooms,
  type Position, type Presence, type PresenceReset, type ReadNotice, type Removal, type Removed, type Reply, type TypingNotice, type User,
} from './wire';

/** Messages of a room that is entered for the first time. */
const FIRST_VISIT = 100;
/** Messages a step back. */
const PAGE = 50;
/** Pages of members that are asked for; beyond it the number of people has to do. */
const MEMBER_PAGES = 3;
const MEMBERS_A_PAGE = 200;
/** Pages of a person's rooms; a connection may not be in more. */
const ROOM_PAGES = 5;
/** Somebody who goes on typing says so this often. */
const TYPING_EVERY_MS = 3_000;
/** How far a person has seen is told at once, and then this often. */
const READ_EVERY_MS = 1_000;
/** Room for what surrounds a content in its packet. */
const ENVELOPE_BYTES = 512;

const EVENTS = [
  'message', 'history_lost', 'presence', 'presence_reset', 'typing', 'read', 'removed', 'signed_out', 'token_expiring',
];

export interface ChatOptions {
  /** `io` of the official Socket.IO client, version 4. */
  readonly io: Io;
  /** Where the server is. Default: where the page came from. */
  readonly url?: string;
  /** Keeps what was not sent yet; a browser's `localStorage`. */
  readonly storage: KeyValues;
  /** The secret of a guest (guest.ts). What is written before it is known waits. */
  readonly guest?: string | Promise<string>;
  /** For accounts: called at each connection, and when the token is about to expire. */
  readonly token?: () => string | Promise<string>;
  /** The name to go by. */
  readonly name?: string;
  /** The public id of this person, if it is known from an earlier visit. It is learned from what they say. */
  readonly me?: string;
  /** Rooms to be in from the start, each resumed after a place that the application has kept with what it made of it; null for none. */
  readonly rooms?: Readonly<Record<string, Position | null>>;
}

export type ChatState =
  | { readonly name: 'connecting' | 'online' | 'offline' }
  /** `missing`: how many messages of the open room are still to come, 0 while that is not known. */
  | { readonly name: 'catching-up'; readonly missing: number }
  /** For good: nothing is tried again by itself. */
  | { readonly name: 'refused'; readonly error: ChatError; readonly removal?: Removal };

export interface ChatEvents {
  state: ChatState;
  /** The rooms, or what a list of them shows, have changed. */
  rooms: undefined;
  /** The next message of a room. `own`: the draft it was here before, if it was written here. */
  message: { readonly room: Room; readonly message: Message; readonly own: Draft | undefined };
  /** Messages before those that were there. */
  older: { readonly room: Room; readonly messages: readonly Message[] };
  /** The room's messages and `settled`, `complete`, `closed` may have changed in any way: show it anew. */
  room: Room;
  /** Messages this client has not seen are no longer kept; what comes next is a new beginning. */
  lost: { readonly room: Room } & HistoryLost;
  /** A draft came, or something happened to it: see `room.pending`, where it is until its message has come. */
  draft: { readonly room: Room; readonly draft: Draft };
  people: Room;
  typing: Room;
  read: Room;
  /** The id of this person is known. */
  me: string;
  /** What the server does not offer has changed: see `offers`. */
  offers: undefined;
  /** The server has shut this client out of a room. */
  removed: { readonly room: Room; readonly removal: Removal };
}

export class Chat extends Emitter<ChatEvents> {
  readonly #options: ChatOptions;
  readonly #outbox: Outbox;
  readonly #rooms = new Map<string, Room>();
  readonly #lacking = new Set<string>();
  readonly #sending = new Set<string>();
  readonly #typingTold = new Map<string, number>();
  readonly #readTold = new Map<string, number>();
  /** Rooms that are being left: what still comes of them is not looked at. */
  readonly #leaving = new Set<string>();
  readonly #asking = new Map<string, Promise<unknown>>();
  readonly #connection: Connection;
  #state: ChatState = { name: 'connecting' };
  #me: string | undefined;
  #name: string | undefined;
  #open: Room | undefined;
  /** The newest offset there was in the open room when this connection began, until it is reached. */
  #goal: number | undefined;
  #signedOut: Removal | undefined;
  /** Rooms may not be named at CONNECT: one of them was refused there, and each has to be asked for by itself. */
  #oneByOne = false;
  #typingTimer: ReturnType<typeof setTimeout> | undefined;
  #readTimer: ReturnType<typeof setTimeout> | undefined;

  /** Connects at once. */
  constructor(options: ChatOptions) {
    super();
    this.#options = options;
    this.#me = options.me;
    this.#name = options.name;
    this.#outbox = new Outbox(options.storage);
    for (const [name, position] of Object.entries(options.rooms ?? {})) {
      const room = this.#room(name);
      if (position === null) continue;
      room.timeline.restart(String(position));
      // What was before is with the application.
      room.loaded = true;
    }
    for (const draft of this.#outbox.all()) this.#wait(draft);
    this.#connection = new Connection(options.io, options.url ?? '/', EVENTS, {
      auth: () => this.#auth(),
      connected: () => this.#connected(),
      offline: () => this.#offline(),
      refused: (error) => this.#refused(error),
      event: (name, body) => this.#event(name, body as never),
    });
  }

  get state(): ChatState {
    return this.#state;
  }

  /** The public id of this person, undefined until it is known. */
  get me(): string | undefined {
    return this.#me;
  }

  /** The name this person has chosen. */
  get name(): string | undefined {
    return this.#name;
  }

  /** False once a draft could not be kept: it would not survive a reload. */
  get durable(): boolean {
    return this.#outbox.durable;
  }

  get rooms(): readonly Room[] {
    return [...this.#rooms.values()];
  }

  room(name: string): Room | undefined {
    return this.#rooms.get(name);
  }

  /** Whether the server has that request, as far as it is known. */
  offers(request: string): boolean {
    return !this.#lacking.has(request);
  }

  /** Enters a room, if need be, and keeps it ready to be shown: its messages, and who is there. One room is open at a time. */
  open(name: string): Room {
    this.#leaving.delete(name);
    const room = this.#room(name);
    const again = room.closed !== undefined;
    room.closed = undefined;
    this.#open = room;
    if (again) this.emit('room', room);
    if (this.#connection.connected) void this.#enter(room);
    return room;
  }

  /** Enters a room without opening it: its messages come, and what was not seen of it is counted. */
  join(name: string): Room {
    const room = this.#room(name);
    if (this.#connection.connected) void this.#enter(room);
    return room;
  }

  /** Leaves a room. What was not sent there is given up. */
  async leave(name: string): Promise<void> {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    this.#rooms.delete(name);
    for (const id of room.pending.keys()) this.#outbox.remove(id);
    if (this.#open === room) this.#open = undefined;
    this.emit('rooms', undefined);
    if (!this.#connection.connected) return;
    this.#leaving.add(name);
    await this.#connection.insist('leave', () => ({ room: name }));
    this.#leaving.delete(name);
  }

  /** Writes a message. It is kept until the server has it, and sent as soon as possible, in the order in which it was written. */
  post(name: string, content: Content): Draft {
    const room = this.#room(name);
    const draft = this.#outbox.add(name, content);
    this.#wait(draft);
    this.emit('draft', { room, draft });
    void this.#send(room);
    this.typing(name, false);
    return draft;
  }

  /** Lets a refused draft wait again. */
  retry(id: string): void {
    const draft = this.#outbox.retry(id);
    if (draft === undefined) return;
    const room = this.#room(draft.room);
    room.pending.delete(id);
    this.#wait(draft);
    this.emit('draft', { room, draft });
    void this.#send(room);
  }

  /** Gives up a draft, and returns it. */
  discard(id: string): Draft | undefined {
    const draft = this.#outbox.get(id);
    if (draft === undefined) return undefined;
    this.#outbox.remove(id);
    this.#gone(draft);
    return draft;
  }

  /** Follows what another tab did to the storage: hand it the `storage` events of the window. */
  follow(event: { readonly key: string | null; readonly newValue: string | null }): void {
    const draft = this.#outbox.follow(event);
    if (draft) this.#gone(draft);
  }

  /** Asks for messages before those that are there; `older` tells when they have come. */
  async older(name: string): Promise<void> {
    const room = this.#rooms.get(name);
    if (room !== undefined && !room.complete) await this.#once(`history ${name}`, () => this.#older(room));
  }

  /** This person types, or has stopped: call it at each keystroke. */
  typing(name: string, typing: boolean): void {
    const told = this.#typingTold.get(name);
    const due = typing ? told === undefined || told + TYPING_EVERY_MS <= Date.now() : told !== undefined;
    if (!due || !this.#rooms.get(name)?.joined || !this.offers('typing')) return;
    if (typing) this.#typingTold.set(name, Date.now());
    else this.#typingTold.delete(name);
    void this.#ask('typing', { room: name, typing });
  }

  /** This person has seen everything in the room up to that offset. */
  read(name: string, offset: number): void {
    const room = this.#rooms.get(name);
    if (!room?.seen(offset)) return;
    this.emit('rooms', undefined);
    this.#tellReadSoon();
  }

  /** The private room with somebody, or why there is none. */
  async direct(user: User): Promise<Reply<{ room: string }>> {
    const reply = await this.#ask<{ room: string }>('direct', { user: user.id });
    if (reply?.ok) this.#room(reply.room).partner ??= user;
    return reply ?? OUT_OF_REACH;
  }

  /** Changes the name of a guest. Where the server has no request for it, another connection says it. */
  async rename(name: string): Promise<Reply> {
    const before = this.#name;
    this.#name = name;
    if (!this.#connection.connected) return { ok: true };
    const reply = await this.#ask('rename', { name });
    if (reply?.ok) {
      this.#showMyName(name);
    } else if (reply?.error.code === 'unsupported') {
      this.#connection.again();
      return { ok: true };
    } else if (reply?.error.retryable === false) {
      this.#name = before;
    }
    return reply ?? { ok: true };
  }

  /** Hands the server a new token for this connection. */
  async refresh(token: string): Promise<Reply> {
    return (await this.#connection.insist('refresh', () => ({ token }))) ?? OUT_OF_REACH;
  }

  /** Connects now, instead of after the rest of the pause between two attempts: when the network is back, or the page is looked at. */
  hurry(): void {
    this.#connection.hurry();
  }

  /** Tries again after the server has refused. */
  connect(): void {
    this.#signedOut = undefined;
    this.#tell({ name: 'connecting' });
    this.#connection.again();
  }

  close(): void {
    clearTimeout(this.#typingTimer);
    clearTimeout(this.#readTimer);
    this.#connection.close();
  }

  // ── The connection

  async #auth(): Promise<Record<string, unknown>> {
    const resumed = this.rooms.filter(({ closed, timeline }) => closed === undefined && timeline.position !== undefined);
    const rooms = this.#oneByOne ? {} : Object.fromEntries(resumed.map(({ name, timeline }) => [name, timeline.position]));
    for (const room of this.#rooms.values()) room.joined = room.name in rooms;
    const { token } = this.#options;
    const guest = await this.#options.guest;
    return { ...(guest !== undefined && { guest }), ...(token && { token: await token() }), ...(this.#name && !token && { name: this.#name }), rooms };
  }

  #connected(): void {
    this.#lacking.clear();
    this.#sending.clear();
    this.#asking.clear();
    this.#readTold.clear();
    this.#goal = undefined;
    this.emit('offers', undefined);
    for (const room of this.#rooms.values()) {
      room.timeline.reconnected();
      room.people.reconnected();
      room.typing.clear();
    }
    // What a tab that was closed in the meantime has left is sent from here.
    for (const draft of this.#outbox.gather()) {
      this.emit('draft', { room: this.#wait(draft), draft });
    }
    this.#tell({ name: 'catching-up', missing: 0 });
    for (const room of this.#rooms.values()) void this.#enter(room);
    if (this.#open === undefined || this.#open.closed !== undefined) this.#tell({ name: 'online' });
    void this.#listRooms();
    this.#tellRead();
  }

  #offline(): void {
    this.#goal = undefined;
    for (const room of this.#rooms.values()) room.joined = false;
    if (this.#state.name !== 'offline') this.#tell({ name: 'offline' });
  }

  #refused(error: ChatError): 'give up' | 'connect anew' {
    if (error.code === 'forbidden' && !this.#oneByOne && 0 < this.rooms.filter(({ timeline }) => timeline.position !== undefined).length) {
      this.#oneByOne = true;
      return 'connect anew';
    }
    this.#goal = undefined;
    this.#tell({ name: 'refused', error, ...(this.#signedOut && { removal: this.#signedOut }) });
    return 'give up';
  }

  #tell(state: ChatState): void {
    this.#state = state;
    this.emit('state', state);
  }

  /** Asks once. A request that the server does not have is noted. */
  async #ask<Added>(event: string, request: object): Promise<Reply<Added> | undefined> {
    const reply = await this.#connection.ask<Added>(event, request);
    if (reply?.ok === false && reply.error.code === 'unsupported' && !this.#lacking.has(event)) {
      this.#lacking.add(event);
      this.emit('offers', undefined);
    }
    return reply;
  }

  /** Does a thing once at a time on a connection. */
  #once(what: string, act: () => Promise<unknown>): Promise<unknown> {
    const running = this.#asking.get(what);
    if (running !== undefined) return running;
    const doing = act().finally(() => {
      if (this.#asking.get(what) === doing) this.#asking.delete(what);
    });
    this.#asking.set(what, doing);
    return doing;
  }

  // ── Rooms

  #room(name: string): Room {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new Room(name);
      this.#rooms.set(name, room);
      this.emit('rooms', undefined);
    }
    return room;
  }

  /** Is in the room from here on, with everything that it has missed. */
  async #enter(room: Room): Promise<void> {
    await this.#once(`enter ${room.name}`, () => this.#entering(room));
  }

  async #entering(room: Room): Promise<void> {
    const life = this.#connection.life;
    if (!room.joined && room.closed === undefined) {
      let fromKnown = false;
      const reply = await this.#connection.insist<Joined>('join', () => {
        const after = room.timeline.position;
        // A room of the list that is not looked at needs what is new only.
        const known = room === this.#open ? undefined : room.last?.offset;
        fromKnown = after === undefined && known !== undefined;
        return { room: room.name, ...(after ?? known) === undefined ? { last: FIRST_VISIT } : { after: after ?? known } };
      });
      if (reply === undefined) return;
      if (!reply.ok) return this.#shut(room, { error: reply.error });
      room.joined = true;
      room.loaded ||= !fromKnown;
      room.timeline.joined(reply.pos);
    }
    if (life !== this.#connection.life || room.closed !== undefined) return;
    void this.#send(room);
    if (room === this.#open) await this.#prepare(room, life);
  }

  /** Gets ready what is shown of the open room. */
  async #prepare(room: Room, life: number): Promise<void> {
    void this.#meet(room);
    if (!room.loaded) await this.#once(`history ${room.name}`, () => this.#older(room));
    // The head of a room may be something that no message is sent for, so the newest message is asked for.
    const reply = await this.#connection.insist<HistoryPage>('history', () => ({ room: room.name, limit: 1 }));
    if (reply === undefined || room !== this.#open || life !== this.#connection.life) return;
    if (!reply.ok) {
      if (reply.error.code !== 'not_joined') return this.#shut(room, { error: reply.error });
      room.joined = false;
      return this.#entering(room);
    }
    this.#goal = reply.messages.at(-1)?.offset ?? 0;
    this.#progress();
  }

  #progress(): void {
    const room = this.#open;
    if (this.#goal === undefined || room === undefined || !room.joined) return;
    const last = room.messages.at(-1)?.offset;
    const missing = this.#goal - (last ?? 0);
    if (0 < missing) {
      // On a first visit most of the room stays unread on purpose: how much is still to come is known from the first message on.
      if (this.#state.name === 'catching-up') this.#tell({ name: 'catching-up', missing: last === undefined ? 0 : missing });
      return;
    }
    this.#goal = undefined;
    if (!room.settled) {
      room.settled = true;
      this.emit('room', room);
    }
    if (this.#state.name !== 'online') this.#tell({ name: 'online' });
  }

  async #older(room: Room): Promise<void> {
    const reply = await this.#connection.insist<HistoryPage>('history', () => {
      const before = room.messages[0]?.offset;
      return { room: room.name, limit: PAGE, ...(before !== undefined && { before }) };
    });
    if (!reply?.ok) return;
    const messages = room.prepend(reply.messages);
    for (const message of messages) this.#settleDraftOf(room, message);
    if ((room.messages[0]?.offset ?? 0) <= reply.oldest) room.complete = true;
    this.emit('older', { room, messages });
  }

  async #rejoin(room: Room): Promise<void> {
    const reply = await this.#connection.insist<Joined>('join', () => ({ room: room.name, after: room.timeline.position ?? 0 }));
    if (reply?.ok) {
      room.joined = true;
      room.timeline.rejoined();
    } else if (reply !== undefined) {
      this.#shut(room, { error: reply.error });
    }
  }

  /** This client is out of the room and does not ask to be let in again by itself. */
  #shut(room: Room, why: NonNullable<Room['closed']>): void {
    room.joined = false;
    room.closed = why;
    room.typing.clear();
    for (const { draft, stored } of room.pending.values()) {
      if (stored === undefined && draft.failed === null) this.#fail(draft, 'error' in why ? why.error : { code: 'forbidden', message: why.removal.message ?? why.removal.reason });
    }
    this.emit('room', room);
    this.emit('rooms', undefined);
    if (room === this.#open && this.#state.name === 'catching-up') this.#tell({ name: 'online' });
  }

  async #listRooms(): Promise<void> {
    let after: string | undefined;
    for (let page = 1; page <= ROOM_PAGES; page += 1) {
      const reply = await this.#ask<OwnRooms>('rooms', after === undefined ? {} : { after });
      if (!reply?.ok) return;
      if (reply.user) this.#learnMe(reply.user.id);
      for (const own of reply.rooms) {
        const room = this.#room(own.room);
        room.listed(own);
        if (own.last) this.#learnPartner(room, own.last.from);
        // The other one of a private room may have seen more while nobody could be told.
        if (room.direct) this.emit('read', room);
        void this.#enter(room);
      }
      this.emit('rooms', undefined);
      after = reply.next;
      if (after === undefined) return;
    }
  }

  async #meet(room: Room): Promise<void> {
    if (this.offers('members')) await this.#once(`members ${room.name}`, () => this.#members(room));
  }

  async #members(room: Room): Promise<void> {
    let after: string | undefined;
    for (let page = 1; page <= MEMBER_PAGES; page += 1) {
      const reply = await this.#ask<MembersPage>('members', { room: room.name, limit: MEMBERS_A_PAGE, ...(after !== undefined && { after }) });
      if (!reply?.ok) return;
      after = reply.members.at(-1)?.id;
      const complete = after === undefined || reply.members.length < MEMBERS_A_PAGE;
      room.people.page(reply, page === 1, complete);
      for (const member of reply.members) this.#learnPartner(room, member);
      this.emit('people', room);
      if (complete) return;
    }
  }

  /** Whoever speaks in a private room is the other one, unless it is this person: who that is may be known later only. */
  #learnPartner(room: Room, user: User): void {
    if (!room.direct || user.id === this.#me) return;
    if (this.#me !== undefined) room.partner = user;
    else room.partner ??= user;
  }

  /** Nobody is told of themselves. */
  #showMyName(name: string): void {
    if (this.#me === undefined) {
      if (this.#open !== undefined) void this.#meet(this.#open);
      return;
    }
    for (const room of this.#rooms.values()) {
      room.people.rename(this.#me, name);
      this.emit('people', room);
    }
  }

  #learnMe(id: string): void {
    if (this.#me === id) return;
    this.#me = id;
    for (const room of this.#rooms.values()) {
      if (room.partner?.id !== id) continue;
      room.partner = room.messages.find(({ from }) => from.id !== id)?.from;
    }
    this.emit('me', id);
  }

  // ── What is sent

  #wait(draft: Draft): Room {
    const room = this.#room(draft.room);
    room.pending.set(draft.id, { draft, stored: undefined });
    return room;
  }

  /** Sends what waits for the room, one draft after the other, so that they are stored in the order in which they were written. */
  async #send(room: Room): Promise<void> {
    if (this.#sending.has(room.name) || !room.joined) return;
    const life = this.#connection.life;
    this.#sending.add(room.name);
    for (let draft = this.#outbox.next(room.name); draft && life === this.#connection.life && room.joined; draft = this.#outbox.next(room.name)) {
      await this.#post(room, draft, life);
    }
    if (life === this.#connection.life) this.#sending.delete(room.name);
  }

  async #post(room: Room, draft: Draft, life: number): Promise<void> {
    const { id, content } = draft;
    // A server closes a connection over which more comes than it takes, so such a draft would never be answered, nor any behind it.
    if (this.#connection.packetBytesMax < bytes({ id, content }) + ENVELOPE_BYTES) {
      return this.#fail(draft, { code: 'too_large', message: 'it is too long', retryable: false });
    }
    const reply = await this.#connection.ask<{ offset: number }>('post', { room: room.name, id, content });
    if (reply?.ok) {
      this.#settle(room, draft, reply.offset);
    } else if (life !== this.#connection.life) {
      // The next connection sends it again.
    } else if (reply?.error.code === 'not_joined' && room.closed === undefined) {
      await this.#rejoin(room);
      await this.#connection.pause();
    } else if (reply?.error.retryable === false) {
      this.#fail(draft, reply.error);
    } else {
      await this.#connection.pause(reply);
    }
  }

  #settle(room: Room, draft: Draft, offset: number): void {
    this.#outbox.remove(draft.id);
    room.stored(draft.id, offset);
    this.emit('draft', { room, draft });
  }

  /** Seeing a draft in the room is an answer too, and may come before the reply or after the reply was lost. */
  #settleDraftOf(room: Room, message: Message): Draft | undefined {
    const draft = room.pending.get(message.id)?.draft;
    if (draft === undefined) return undefined;
    this.#outbox.remove(draft.id);
    room.pending.delete(draft.id);
    this.#learnMe(message.from.id);
    this.emit('draft', { room, draft });
    return draft;
  }

  #fail(draft: Draft, error: ChatError): void {
    this.#outbox.fail(draft.id, error);
    this.emit('draft', { room: this.#room(draft.room), draft });
  }

  #gone(draft: Draft): void {
    const room = this.#room(draft.room);
    room.pending.delete(draft.id);
    this.emit('draft', { room, draft });
  }

  #tellReadSoon(): void {
    if (this.#readTimer === undefined) this.#tellRead();
  }

  #tellRead(): void {
    clearTimeout(this.#readTimer);
    this.#readTimer = undefined;
    if (!this.#connection.connected || !this.offers('read')) return;
    for (const room of this.#rooms.values()) {
      const { name, read } = room;
      if (!room.joined || read <= (this.#readTold.get(name) ?? 0)) continue;
      this.#readTold.set(name, read);
      void this.#ask('read', { room: name, offset: read });
      this.#readTimer ??= setTimeout(() => this.#tellRead(), READ_EVERY_MS);
    }
  }

  // ── What comes

  #event(name: string, body: never): void {
    switch (name) {
      case 'message': return this.#message(body);
      case 'history_lost': return this.#lost(body);
      case 'presence': return this.#presence(body);
      case 'presence_reset': return this.#presenceReset(body);
      case 'typing': return this.#typing(body);
      case 'read': return this.#read(body);
      case 'removed': return this.#removed(body);
      case 'signed_out': return void (this.#signedOut = body);
      case 'token_expiring': return void this.#renewToken();
    }
  }

  #message(message: Message): void {
    if (this.#leaving.has(message.room)) return;
    // A private room begins with its first message, also for somebody who has never opened it.
    const room = this.#room(message.room);
    if (room.closed === undefined) room.joined = true;
    const verdict = room.timeline.take(message);
    if (verdict === 'hole') void this.#rejoin(room);
    if (verdict !== 'show') return;
    const own = this.#settleDraftOf(room, message);
    this.#learnPartner(room, message.from);
    if (!room.append(message, this.#me)) return;
    // Who writes has seen what they wrote.
    if (message.from.id === this.#me) this.#tellReadSoon();
    this.emit('message', { room, message, own });
    this.emit('rooms', undefined);
    this.emit('typing', room);
    if (room === this.#open) this.#progress();
  }

  #lost(lost: HistoryLost): void {
    const room = this.#room(lost.room);
    room.restart(lost.pos);
    this.emit('lost', { ...lost, room } as ChatEvents['lost']);
    this.emit('rooms', undefined);
    // While it connects, it finds out by itself how far there is to go.
    if (room === this.#open && room.joined) void this.#enter(room);
  }

  #presence(news: Presence): void {
    const room = this.#rooms.get(news.room);
    if (room === undefined) return;
    room.people.notice(news);
    room.met(news.user);
    if (room.partner?.id === news.user.id) room.partner = news.user;
    if (!news.online) room.typing.said(news.user.id);
    this.emit('people', room);
  }

  #presenceReset(news: PresenceReset): void {
    const room = this.#rooms.get(news.room);
    if (room === undefined) return;
    room.people.reset(news);
    this.emit('people', room);
  }

  #typing(news: TypingNotice): void {
    const room = this.#rooms.get(news.room);
    if (room === undefined || (news.user !== undefined && idOf(news.user) === this.#me)) return;
    if (news.user !== undefined) room.met(news.user);
    room.typing.notice(news, Date.now());
    this.emit('typing', room);
    this.#endTyping();
  }

  #endTyping(): void {
    clearTimeout(this.#typingTimer);
    const ends = this.rooms.map((room) => room.typing.nextEnd(Date.now())).filter((end) => end !== undefined);
    if (ends.length === 0) return;
    this.#typingTimer = setTimeout(() => {
      for (const room of this.#rooms.values()) this.emit('typing', room);
      this.#endTyping();
    }, Math.min(...ends) - Date.now() + 50);
  }

  #read(news: ReadNotice): void {
    const room = this.#rooms.get(news.room);
    if (room === undefined) return;
    // Another device of this person.
    if (news.user !== undefined) room.met(news.user);
    if (news.user !== undefined && idOf(news.user) === this.#me) {
      if (room.seen(news.offset)) this.emit('rooms', undefined);
    } else if (room.reads.notice(news)) {
      this.emit('read', room);
    }
  }

  #removed(news: Removed): void {
    const room = this.#rooms.get(news.room);
    if (room === undefined) return;
    const { room: _, ...removal } = news;
    this.#shut(room, { removal });
    this.emit('removed', { room, removal });
  }

  async #renewToken(): Promise<void> {
    const token = await this.#options.token?.();
    if (token !== undefined) await this.refresh(token);
  }
}

const OUT_OF_REACH = { ok: false, error: { code: 'unavailable', message: 'the server cannot be reached', retryable: true } } as const;

function bytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

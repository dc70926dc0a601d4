// What goes over the wire, as PROTOCOL.md has it. Everything a server may leave out is optional here.

/** Who is meant: the server's id of a person, and the name they go by. */
export interface User {
  readonly id: string;
  readonly name: string;
}

/** Where a room stands: kept and sent back as it is. */
export type Position = string | number;

/** Any JSON; `{text}` is the convention. */
export type Content = unknown;

export interface Message {
  readonly room: string;
  readonly offset: number;
  readonly pos: string;
  /** The id that its author gave it. */
  readonly id: string;
  readonly from: User;
  readonly content: Content;
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
  readonly redacted?: boolean;
}

export interface ChatError {
  readonly code: string;
  /** For developers. */
  readonly message: string;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
}

export type Reply<Added = unknown> = ({ readonly ok: true } & Added) | { readonly ok: false; readonly error: ChatError };

export interface Joined {
  readonly pos: string;
  readonly oldest: number;
  readonly head: number;
}

export interface HistoryPage {
  readonly messages: readonly Message[];
  readonly oldest: number;
  readonly head: number;
}

export interface OwnRoom {
  readonly room: string;
  readonly head: number;
  readonly read?: number;
  readonly unread?: number;
  readonly last?: Message | null;
  /** The other one of a private room, and how far it has seen it. */
  readonly with?: Somebody & { readonly read?: number };
}

export interface OwnRooms {
  /** Whose rooms these are. */
  readonly user?: User;
  readonly rooms: readonly OwnRoom[];
  /** Where the next page begins. */
  readonly next?: string;
}

/** A person of whom more than the id need not be said. */
export type Somebody = string | { readonly id: string; readonly name?: string };

export interface Member extends User {
  readonly devices?: number;
}

export interface MembersPage {
  readonly members: readonly Member[];
  readonly version: number;
  readonly total: number;
}

export interface Presence {
  readonly room: string;
  readonly user: User;
  readonly online: boolean;
  readonly version: number;
  /** How many are there then. */
  readonly count?: number;
}

export interface PresenceReset {
  readonly room: string;
  readonly version: number;
  readonly online?: readonly User[];
  readonly count?: number;
}

/** In large rooms a count stands for the names. */
export interface TypingNotice {
  readonly room: string;
  readonly user?: Somebody;
  readonly typing?: boolean;
  readonly count?: number;
}

export interface ReadNotice {
  readonly room: string;
  readonly user?: Somebody;
  readonly offset: number;
  readonly count?: number;
}

export interface HistoryLost {
  readonly room: string;
  readonly pos?: string;
  readonly oldest: number;
  readonly head: number;
}

/** Why somebody was shut out, of a room or of the chat. */
export interface Removal {
  /** For programs: `kicked`, `banned`, `expired`, … */
  readonly reason: string;
  /** In the words of whoever did it. */
  readonly message?: string;
  /** Until when, in milliseconds since 1970; without it nothing is said about the time. */
  readonly until?: number;
}

export interface Removed extends Removal {
  readonly room: string;
}

/** The part of the official client's `io` that is used. */
export type Io = (url: string, options: Record<string, unknown>) => Socket;

/** The part of the official client's socket that is used. */
export interface Socket {
  readonly connected: boolean;
  /** Whether it will try again by itself. */
  readonly active: boolean;
  readonly io?: { readonly engine?: unknown };
  on(event: string, listener: (...values: any[]) => void): unknown;
  off(): unknown;
  timeout(ms: number): { emitWithAck(event: string, ...values: unknown[]): Promise<unknown> };
  connect(): unknown;
  disconnect(): unknown;
}

export function idOf(somebody: Somebody): string {
  return typeof somebody === 'string' ? somebody : somebody.id;
}

// One line to the server: connects, comes back, asks. What is said over it is the business of chat.ts.

import type { ChatError, Io, Reply, Socket } from './wire';

const ANSWER_WITHIN_MS = 10_000;
const TRY_AGAIN_MS = 1_000;
/** What a server takes in one packet that did not say. */
const PACKET_BYTES_MAX = 1_000_000;

export interface ConnectionTalk {
  /** What the next CONNECT says: asked for at each, so that every connection says how far the client has come by then. */
  auth(): Promise<Record<string, unknown>>;
  connected(): void;
  /** The line is cut; it is coming back by itself. */
  offline(): void;
  /** The server has refused this client for good. Whether to try anew, with another `auth`, is for the listener to say. */
  refused(error: ChatError): 'give up' | 'connect anew';
  event(name: string, body: unknown): void;
}

export class Connection {
  readonly #io: Io;
  readonly #url: string;
  readonly #events: readonly string[];
  readonly #talk: ConnectionTalk;
  #socket: Socket;
  #life = 0;
  #over = false;

  constructor(io: Io, url: string, events: readonly string[], talk: ConnectionTalk) {
    this.#io = io;
    this.#url = url;
    this.#events = events;
    this.#talk = talk;
    this.#socket = this.#open();
  }

  /** Counts connections, so that work begun on an earlier one ends. */
  get life(): number {
    return this.#life;
  }

  get connected(): boolean {
    return this.#socket.connected;
  }

  /** The most bytes that one packet may have. The server says so in its handshake; the library keeps that to itself. */
  get packetBytesMax(): number {
    const told = (this.#socket.io?.engine as { _maxPayload?: number } | undefined)?._maxPayload ?? 0;
    return told > 0 ? told : PACKET_BYTES_MAX;
  }

  /** The server's reply, or undefined if none came in time or before the connection ended. */
  async ask<Added>(event: string, request: object): Promise<Reply<Added> | undefined> {
    // The library would keep it for the next connection, where it is out of place.
    if (!this.#socket.connected) return undefined;
    try {
      return (await this.#socket.timeout(ANSWER_WITHIN_MS).emitWithAck(event, request)) as Reply<Added>;
    } catch {
      return undefined;
    }
  }

  /** Asks until there is a reply that stands; undefined if this connection ended before. */
  async insist<Added>(event: string, request: () => object): Promise<Reply<Added> | undefined> {
    const life = this.#life;
    while (life === this.#life) {
      const reply = await this.ask<Added>(event, request());
      if (life !== this.#life) return undefined;
      if (reply !== undefined && (reply.ok || reply.error.retryable === false)) return reply;
      await this.pause(reply);
    }
    return undefined;
  }

  /** The pause before a request is tried again. */
  pause(reply?: Reply<unknown>): Promise<void> {
    const wait = reply?.ok === false ? reply.error.retryAfterMs : undefined;
    return new Promise((done) => setTimeout(done, wait ?? TRY_AGAIN_MS));
  }

  /** Connects now instead of after the rest of the pause between two attempts. */
  hurry(): void {
    if (!this.#over && !this.#socket.connected) this.#socket.disconnect(), this.#socket.connect();
  }

  /** Ends this connection and makes another, with another `auth`. */
  again(): void {
    this.#over = false;
    this.#life += 1;
    this.#socket.disconnect();
    this.#socket.connect();
  }

  close(): void {
    this.#over = true;
    this.#life += 1;
    this.#socket.disconnect();
  }

  #open(): Socket {
    const socket = this.#io(this.#url, {
      forceNew: true,
      transports: ['websocket', 'polling'],
      // A proxy that lets no WebSocket through still lets HTTP through.
      tryAllTransports: true,
      reconnectionDelay: 300,
      reconnectionDelayMax: 5_000,
      auth: (send: (auth: object) => void) => void this.#talk.auth().then(send),
    });
    socket.on('connect', () => {
      this.#life += 1;
      this.#talk.connected();
    });
    socket.on('disconnect', (reason: string) => this.#disconnected(reason));
    socket.on('connect_error', (error: Error & { data?: ChatError }) => {
      // An inactive socket was refused by the server for good and does not try again by itself.
      if (socket.active) this.#talk.offline();
      else this.#refused({ code: error.data?.code ?? 'refused', message: error.message });
    });
    for (const name of this.#events) socket.on(name, (body: unknown) => this.#talk.event(name, body));
    return socket;
  }

  #disconnected(reason: string): void {
    this.#life += 1;
    if (this.#over || reason === 'io client disconnect') return;
    if (reason === 'io server disconnect') this.#refused({ code: 'ended', message: 'The server ended the connection.' });
    else this.#talk.offline();
  }

  /** What the server refuses for good is not asked for again by itself. */
  #refused(error: ChatError): void {
    if (this.#talk.refused(error) === 'give up') return this.close();
    // Another socket: what this one would show of its past is a part of what was refused.
    this.#socket.off();
    this.#socket.disconnect();
    this.#life += 1;
    this.#socket = this.#open();
  }
}

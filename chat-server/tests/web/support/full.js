// A client of the full protocol on the official library. It records what it is sent as it is sent, so that a test can find what is wrong
// with it: nothing is dropped or put in order here. `wire` has the same connection by connection, see wire.js.

import { io } from 'socket.io-client';
import { randomBytes } from 'node:crypto';

import { atEnd } from './cleanup.js';
import { within } from './until.js';
import { recordWire } from './wire.js';

export class FullClient {
  socket;
  guest;
  /** Messages per room, as they came. */
  received = new Map();
  /** `history_lost` events, as they came. */
  lost = [];
  #positions = new Map();

  /** `rooms`: from where to resume at the first connection, `{}` for nowhere. Other options go to the library. */
  constructor(t, url, { guest = randomBytes(16).toString('hex'), rooms = {}, name, autoConnect = true, ...options } = {}) {
    this.guest = guest;
    for (const [room, position] of Object.entries(rooms)) this.#positions.set(room, position);
    const auth = (send) => send({ guest, name, rooms: Object.fromEntries(this.#positions) });
    this.socket = io(url, { auth, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 300, ...options, autoConnect: false });
    atEnd(t, () => this.socket.disconnect());
    this.wire = recordWire(this.socket);
    this.socket.on('message', (message) => {
      this.messages(message.room).push(message);
      this.#positions.set(message.room, message.pos);
    });
    this.socket.on('history_lost', (lost) => this.lost.push({ ...lost, after: this.messages(lost.room).length }));
    if (autoConnect) this.socket.connect();
  }

  messages(room = 'general') {
    if (!this.received.has(room)) this.received.set(room, []);
    return this.received.get(room);
  }

  texts(room = 'general') {
    return this.messages(room).map(({ content }) => content);
  }

  offsets(room = 'general') {
    return this.messages(room).map(({ offset }) => offset);
  }

  async connected() {
    if (this.socket.connected) return;
    await within(new Promise((done) => this.socket.once('connect', done)), 'the client is connected', 60_000);
  }

  /** The reply to a request. Fails if there is none. */
  async ask(event, request) {
    return this.socket.timeout(10_000).emitWithAck(event, request);
  }

  /** Joins and keeps the room for later connections. */
  async join(room = 'general', from = {}) {
    const reply = await this.ask('join', { room, ...from });
    if (reply.ok && !this.#positions.has(room)) this.#positions.set(room, reply.pos);
    return reply;
  }

  async post(id, content, room = 'general') {
    return this.ask('post', { room, id, content });
  }

  /** Posts until there is an answer that stands, over however many connections that takes. */
  async postForSure(id, content, room = 'general') {
    for (;;) {
      await this.connected();
      const reply = await this.ask('post', { room, id, content }).catch(() => undefined);
      if (reply && (reply.ok || !reply.error.retryable)) return reply;
    }
  }

  /** Breaks the connection as a dead network does; the library comes back by itself. */
  cut() {
    this.socket.io.engine?.close();
  }
}

// The conversation with the server: connects, follows one room without gap or repeat, and sends what waits in the outbox.
//
// What is on the screen is page.js's business; it passes the functions that are called when something happens:
//   state(name, detail)   'connecting' | 'catching-up' | 'online' | 'offline' | 'refused'
//   message(message)      the next message of the room
//   lost({oldest, head})  messages the page has not seen are no longer kept; what comes next is a new beginning
//   draft(draft)          a draft that another tab has left behind is sent from here
//   stored(draft, offset) the server has the draft, at this offset; also for drafts of earlier visits
//   refused(draft)        the server will never take the draft as it is

import { Timeline } from '../client/timeline.js';

const FIRST_VISIT = 100;
const ANSWER_WITHIN_MS = 10_000;
const TRY_AGAIN_MS = 1_000;

export class Connection {
  #socket;
  #room;
  #outbox;
  #tell;
  #timeline = new Timeline();
  /** Counts connections, so that work begun on an earlier one ends. */
  #life = 0;
  #joined = false;
  /** The server has refused this page for good. */
  #over = false;
  #sending = false;
  /** The newest offset there was when this connection began, until it is reached. */
  #goal = undefined;

  constructor({ io, room, guest, outbox, tell }) {
    this.#room = room;
    this.#outbox = outbox;
    this.#tell = tell;
    this.#socket = io({
      transports: ['websocket', 'polling'],
      // A proxy that lets no WebSocket through still lets HTTP through.
      tryAllTransports: true,
      reconnectionDelay: 300,
      reconnectionDelayMax: 5_000,
      // A function: every connection says how far the page has come by then.
      auth: (send) => send({ guest, rooms: this.#timeline.position === undefined ? {} : { [room]: this.#timeline.position } }),
    });
    this.#socket.on('connect', () => this.#connected());
    this.#socket.on('disconnect', (reason) => this.#disconnected(reason));
    this.#socket.on('connect_error', (error) => this.#failed(error));
    this.#socket.on('message', (message) => this.#message(message));
    this.#socket.on('history_lost', (lost) => this.#lost(lost));
    addEventListener('online', () => this.hurry());
    addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.hurry());
  }

  /** Sends what waits in the outbox, one draft after the other, so that they are stored in the order in which they were written. */
  async send() {
    if (this.#sending || !this.#joined) return;
    this.#sending = true;
    const life = this.#life;
    for (let draft = this.#outbox.next(); draft && life === this.#life; draft = this.#outbox.next()) {
      await this.#post(draft, life);
    }
    if (life === this.#life) this.#sending = false;
  }

  /** Connects now instead of after the rest of the pause between two attempts. */
  hurry() {
    if (this.#over || this.#socket.connected) return;
    this.#socket.disconnect().connect();
  }

  #connected() {
    this.#begin();
    this.#timeline.reconnected();
    // What a tab that was closed in the meantime has left is sent from here.
    for (const draft of this.#outbox.gather()) this.#tell.draft(draft);
    this.#tell.state('catching-up', 0);
    this.#enter(this.#life);
  }

  async #enter(life, inside = this.#timeline.position !== undefined) {
    const after = this.#timeline.position;
    while (life === this.#life) {
      // A connection that named its position is in the room already. Then only the newest message is asked for, so that the page can say
      // that it is catching up: the head of the room may be something that no message is sent for.
      const reply = inside
        ? await this.#ask('history', { room: this.#room, limit: 1 })
        : await this.#ask('join', { room: this.#room, ...(after === undefined ? { last: FIRST_VISIT } : { after }) });
      if (life !== this.#life) return;
      if (reply?.ok) {
        if (!inside) {
          inside = true;
          continue;
        }
        this.#joined = true;
        this.#goal = reply.messages.at(-1)?.offset ?? 0;
        this.#progress();
        this.send();
        return;
      }
      if (inside && reply?.error?.code === 'not_joined') {
        inside = false;
      } else if (reply?.error?.retryable === false) {
        this.#refused(reply.error.message);
        return;
      } else {
        await pause(reply);
      }
    }
  }

  async #post(draft, life) {
    // A server closes a connection over which more comes than it takes, so such a draft would never be answered, nor any behind it.
    if (packetBytes(draft) > this.#packetBytesMax()) {
      this.#outbox.fail(draft.id, { code: 'too_large', message: 'it is too long', retryable: false });
      this.#tell.refused(draft);
      return;
    }
    const reply = await this.#ask('post', { room: this.#room, id: draft.id, content: draft.content });
    if (reply?.ok) {
      this.#settle(draft, reply.offset);
    } else if (life !== this.#life) {
      // The next connection sends it again.
    } else if (reply?.error?.code === 'not_joined') {
      await this.#rejoin(life);
      await pause();
    } else if (reply?.error?.retryable === false) {
      this.#outbox.fail(draft.id, reply.error);
      this.#tell.refused(draft);
    } else {
      await pause(reply);
    }
  }

  /** What the server said in its handshake; the library keeps it to itself. */
  #packetBytesMax() {
    const told = this.#socket.io.engine?._maxPayload ?? 0;
    return told > 0 ? told : 1_000_000;
  }

  #message(message) {
    if (message.room !== this.#room) return;
    const verdict = this.#timeline.take(message);
    if (verdict === 'hole') this.#rejoin(this.#life);
    if (verdict !== 'show') return;
    const draft = this.#outbox.get(message.id);
    // Seeing it in the room is an answer too, and may come before the reply or after the reply was lost.
    if (draft) this.#settle(draft, message.offset);
    this.#tell.message(message);
    this.#progress();
  }

  async #rejoin(life) {
    while (life === this.#life) {
      const reply = await this.#ask('join', { room: this.#room, after: this.#timeline.position ?? 0 });
      if (life !== this.#life) return;
      if (reply?.ok) {
        this.#timeline.rejoined();
        return;
      }
      if (reply?.error?.retryable === false) {
        this.#refused(reply.error.message);
        return;
      }
      await pause(reply);
    }
  }

  #lost(lost) {
    if (lost.room !== this.#room) return;
    this.#timeline.restart();
    this.#tell.lost(lost);
    // While it connects, it finds out by itself how far there is to go.
    if (this.#joined) this.#enter(this.#life, true);
  }

  #settle(draft, offset) {
    this.#outbox.remove(draft.id);
    this.#tell.stored(draft, offset);
  }

  #progress() {
    if (this.#goal === undefined || !this.#joined) return;
    const missing = this.#goal - (this.#timeline.last ?? 0);
    // On a first visit most of the room stays unread on purpose: how much is still to come is known from the first message on.
    if (missing > 0) {
      this.#tell.state('catching-up', this.#timeline.last === undefined ? 0 : missing);
    } else {
      this.#goal = undefined;
      this.#tell.state('online');
    }
  }

  #disconnected(reason) {
    if (this.#over) return;
    this.#begin();
    if (reason === 'io server disconnect') this.#refused('The server ended the connection.');
    else this.#tell.state('offline');
  }

  #failed(error) {
    // An inactive socket was refused by the server for good and does not try again by itself.
    if (this.#socket.active) this.#tell.state('offline');
    else this.#refused(error.message);
  }

  /** Ends it: what the server refuses for good is not asked for again before the page is loaded anew. */
  #refused(message) {
    this.#over = true;
    this.#begin();
    this.#socket.disconnect();
    this.#tell.state('refused', message);
  }

  #begin() {
    this.#life += 1;
    this.#joined = false;
    this.#sending = false;
    this.#goal = undefined;
  }

  /** The server's reply, or undefined if none came in time or before the connection ended. */
  async #ask(event, request) {
    try {
      return await this.#socket.timeout(ANSWER_WITHIN_MS).emitWithAck(event, request);
    } catch {
      return undefined;
    }
  }
}

function pause(reply) {
  return new Promise((done) => setTimeout(done, reply?.error?.retryAfterMs ?? TRY_AGAIN_MS));
}

/** About what a draft takes on the wire, in bytes. */
function packetBytes({ id, content }) {
  const envelope = 512;
  return new TextEncoder().encode(JSON.stringify({ id, content })).length + envelope;
}

// The client module against a server of the test's own, which answers what and when the test wants.

import assert from 'node:assert/strict';

import { pageModule } from './support/modules.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

const { Chat } = await pageModule('client/index.ts');

class Storage {
  #items = new Map();
  get length() { return this.#items.size; }
  key(index) { return [...this.#items.keys()][index] ?? null; }
  getItem(key) { return this.#items.get(key) ?? null; }
  removeItem(key) { this.#items.delete(key); }
  setItem(key, value) { this.#items.set(key, String(value)); }
}

/** A server behind an `io` of its own: no network. `answers` has a function per request; a missing one answers `unsupported`. */
class FakeServer {
  sockets = [];
  asked = [];
  up = true;
  refusal = undefined;
  answers = {
    join: () => ({ ok: true, pos: 'p0', oldest: 1, head: 0 }),
    leave: () => ({ ok: true }),
    history: () => ({ ok: true, messages: [], oldest: 1, head: 0 }),
    post: (_, number) => ({ ok: true, offset: number, pos: `p${number}`, at: 1, duplicate: false }),
  };
  #posts = 0;

  io = (_, options) => {
    const server = this;
    const listeners = new Map();
    const socket = {
      connected: false,
      active: true,
      io: { engine: { _maxPayload: 1_000_000 } },
      auth: undefined,
      on: (name, listener) => void listeners.set(name, listener),
      off: () => listeners.clear(),
      receive: (name, body) => listeners.get(name)?.(body),
      timeout: () => ({ emitWithAck: (name, request) => server.#answer(name, request) }),
      connect() {
        this.active = true;
        options.auth((auth) => {
          this.auth = auth;
          if (!server.up) return listeners.get('connect_error')?.(new Error('no network'));
          const refusal = server.refusal?.(auth);
          if (refusal !== undefined) {
            this.active = false;
            return listeners.get('connect_error')?.(Object.assign(new Error(refusal.message), { data: refusal }));
          }
          this.connected = true;
          listeners.get('connect')?.();
        });
      },
      disconnect() {
        this.active = false;
        this.drop('io client disconnect');
      },
      drop(reason = 'transport close') {
        if (!this.connected) return;
        this.connected = false;
        listeners.get('disconnect')?.(reason);
      },
    };
    this.sockets.push(socket);
    setTimeout(() => socket.connect());
    return socket;
  };

  get socket() {
    return this.sockets.at(-1);
  }

  requests(name) {
    return this.asked.filter(([asked]) => asked === name).map(([, request]) => request);
  }

  async #answer(name, request) {
    this.asked.push([name, request]);
    const answer = this.answers[name];
    if (answer === undefined) return { ok: false, error: { code: 'unsupported', message: 'no such request', retryable: false } };
    const reply = answer(request, name === 'post' ? (this.#posts += 1) : this.asked.length);
    if (reply === undefined) throw new Error('timeout');
    return reply;
  }
}

const message = (offset, text = `message ${offset}`, { room = 'general', id = `id ${offset}`, from = { id: 'guest:b', name: 'Bob' } } = {}) =>
  ({ room, offset, pos: `p${offset}`, id, from, content: { text }, at: offset });

/** A chat that records what it tells. */
function start(t, server = new FakeServer(), options = {}) {
  const chat = new Chat({ io: server.io, storage: new Storage(), guest: 'a secret that is long enough', ...options });
  const told = [];
  for (const name of ['state', 'message', 'older', 'lost', 'draft', 'removed', 'me']) chat.on(name, (event) => told.push([name, event]));
  t.after(() => chat.close());
  const texts = () => told.filter(([name]) => name === 'message').map(([, event]) => event.message.content.text);
  return { chat, server, told, texts };
}

const online = (chat) => until(() => chat.state.name === 'online', 'it is online');

test('a message is shown once and in order, also if it is sent twice', async (t) => {
  const { chat, server, texts } = start(t);
  chat.open('general');
  await online(chat);
  for (const offset of [1, 2, 2, 1, 3]) server.socket.receive('message', message(offset));
  assert.deepEqual(texts(), ['message 1', 'message 2', 'message 3']);
  assert.equal(chat.room('general').messages.length, 3);
});

test('a hole is asked for, and what stands behind it waits', async (t) => {
  const { chat, server, texts } = start(t);
  chat.open('general');
  await online(chat);
  server.socket.receive('message', message(1));
  server.socket.receive('message', message(3));
  await until(() => server.requests('join').at(-1)?.after === 'p1', 'it is asked for');
  for (const offset of [2, 3]) server.socket.receive('message', message(offset));
  assert.deepEqual(texts(), ['message 1', 'message 2', 'message 3']);
});

test('the next connection says how far each room has come', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  chat.join('garden');
  await online(chat);
  assert.deepEqual(server.socket.auth.rooms, {});
  server.socket.receive('message', message(7));
  server.socket.receive('message', message(4, 'roses', { room: 'garden' }));
  server.socket.drop();
  assert.equal(chat.state.name, 'offline');
  server.socket.connect();
  await online(chat);
  assert.deepEqual(server.socket.auth.rooms, { general: 'p7', garden: 'p4' });
  assert.equal(server.requests('join').length, 2, 'they are not joined again');
});

test('a room without a message is resumed where it was joined', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  await online(chat);
  server.socket.drop();
  server.socket.connect();
  await online(chat);
  assert.deepEqual(server.socket.auth.rooms, { general: 'p0' });
});

test('positions that the application has kept are resumed', async (t) => {
  const { chat, server, texts } = start(t, undefined, { rooms: { general: 'p41' } });
  chat.open('general');
  await online(chat);
  assert.deepEqual(server.socket.auth.rooms, { general: 'p41' });
  server.socket.receive('message', message(42));
  assert.deepEqual(texts(), ['message 42']);
  assert.equal(chat.room('general').timeline.position, 'p42');
});

test('what is written without a network is sent in its order when there is one, each under one id', async (t) => {
  const server = new FakeServer();
  server.up = false;
  const { chat } = start(t, server);
  chat.open('general');
  const drafts = ['one', 'two', 'three'].map((text) => chat.post('general', { text }));
  await until(() => chat.state.name === 'offline', 'it is offline');
  assert.equal(server.requests('post').length, 0);
  server.up = true;
  server.socket.connect();
  await until(() => server.requests('post').length === 3, 'they are sent');
  assert.deepEqual(server.requests('post').map(({ id, content }) => [id, content.text]), drafts.map(({ id, content }) => [id, content.text]));
});

test('a draft whose answer was lost is sent again by the next connection, under its id', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  await online(chat);
  const { post } = server.answers;
  server.answers.post = () => {
    server.socket.drop();
    return undefined;
  };
  const draft = chat.post('general', { text: 'one' });
  await until(() => chat.state.name === 'offline', 'the connection is cut');
  server.answers.post = post;
  server.socket.connect();
  await until(() => server.requests('post').length === 2, 'it is sent again');
  assert.deepEqual(server.requests('post').map(({ id }) => id), [draft.id, draft.id]);
  await until(() => chat.room('general').pending.get(draft.id)?.stored === 2, 'it is stored');
});

test('one\'s own message takes the place of its draft, whether it or the answer comes first', async (t) => {
  const { chat, server, told } = start(t);
  chat.open('general');
  await online(chat);
  const first = chat.post('general', { text: 'one' });
  await until(() => chat.room('general').pending.get(first.id)?.stored === 1, 'it is stored');
  server.socket.receive('message', message(1, 'one', { id: first.id, from: { id: 'guest:a', name: 'Ada' } }));
  assert.equal(chat.room('general').pending.size, 0);
  let answer;
  server.answers.post = () => new Promise((done) => { answer = done; });
  const second = chat.post('general', { text: 'two' });
  await until(() => answer !== undefined, 'it is sent');
  server.socket.receive('message', message(2, 'two', { id: second.id, from: { id: 'guest:a', name: 'Ada' } }));
  answer({ ok: true, offset: 2 });
  assert.equal(chat.room('general').pending.size, 0);
  assert.deepEqual(told.filter(([name]) => name === 'message').map(([, { own }]) => own?.id), [first.id, second.id]);
  assert.equal(chat.me, 'guest:a');
  assert.equal(chat.room('general').unread, 0, 'nobody has to read what they wrote');
});

test('drafts of a room that refuses somebody are refused with it, and those of others are sent', async (t) => {
  const server = new FakeServer();
  const { join } = server.answers;
  server.answers.join = (request) => (request.room === 'secret' ? { ok: false, error: { code: 'forbidden', message: 'no', retryable: false } } : join(request));
  const { chat } = start(t, server);
  const refused = chat.post('secret', { text: 'let me in' });
  chat.open('secret');
  chat.join('general');
  chat.post('general', { text: 'hello' });
  await until(() => server.requests('post').length === 1, 'the other one is sent');
  assert.equal(chat.room('secret').pending.get(refused.id).draft.failed.code, 'forbidden');
  assert.equal(chat.room('secret').closed.error.code, 'forbidden');
  await online(chat);
});

test('a room that CONNECT was refused for costs the other rooms nothing', async (t) => {
  const server = new FakeServer();
  const { chat } = start(t, server);
  chat.open('general');
  chat.join('secret');
  await online(chat);
  server.socket.drop();
  const forbidden = { code: 'forbidden', message: 'you may not be in secret', retryable: false };
  server.refusal = ({ rooms }) => ('secret' in rooms ? forbidden : undefined);
  server.answers.join = ({ room }) => (room === 'secret' ? { ok: false, error: forbidden } : { ok: true, pos: 'p0', oldest: 1, head: 0 });
  server.socket.connect();
  await online(chat);
  await until(() => chat.room('secret').closed !== undefined, 'it is out of that room');
  assert.equal(chat.room('general').joined, true);
  assert.equal(server.sockets.length, 2, 'with another socket, which has no past');
});

test('lost history is told, and the room begins anew with its drafts', async (t) => {
  const { chat, server, told } = start(t);
  chat.open('general');
  await online(chat);
  server.socket.receive('message', message(9));
  server.answers.post = () => undefined;
  chat.post('general', { text: 'waits' });
  server.socket.receive('history_lost', { room: 'general', pos: 'q0', oldest: 1, head: 2 });
  server.socket.receive('message', message(1));
  assert.equal(told.filter(([name]) => name === 'lost').length, 1);
  assert.deepEqual(chat.room('general').messages.map(({ offset }) => offset), [1]);
  assert.equal(chat.room('general').pending.size, 1);
});

test('the rooms of a person are entered for what is new, and their history is fetched when they are opened', async (t) => {
  const server = new FakeServer();
  const log = Array.from({ length: 80 }, (_, index) => message(index + 1, undefined, { room: 'garden' }));
  server.answers.rooms = ({ after }) => ({ ok: true, ...(after === undefined ? { rooms: [{ room: 'garden', head: 80, read: 77, unread: 3, last: log[79] }], next: 'more' } : { rooms: [{ room: 'zoo', head: 0, read: 0, unread: 0, last: null }] }) });
  server.answers.history = ({ room, before = 81, limit }) => ({ ok: true, messages: room === 'garden' ? log.filter(({ offset }) => offset < before).slice(-limit) : [], oldest: 1, head: 80 });
  const { chat, texts } = start(t, server);
  chat.open('general');
  await until(() => chat.room('zoo')?.joined && chat.room('garden')?.joined, 'they are entered');
  assert.equal(chat.room('garden').unread, 3);
  assert.equal(server.requests('join').find(({ room }) => room === 'garden').after, 80);
  server.socket.receive('message', message(81, 'just now', { room: 'garden' }));
  assert.equal(chat.room('garden').unread, 4);
  chat.open('garden');
  await until(() => chat.room('garden').messages.length === 51 && chat.room('garden').settled, 'its history is there');
  await chat.older('garden');
  assert.deepEqual(chat.room('garden').messages.map(({ offset }) => offset), Array.from({ length: 81 }, (_, index) => index + 1));
  assert.equal(chat.room('garden').complete, true);
  assert.deepEqual(texts(), ['just now']);
});

test('what a server does not have is not asked again before the next connection', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  await online(chat);
  chat.typing('general', true);
  await until(() => !chat.offers('typing'), 'it is known');
  chat.typing('general', false);
  chat.typing('general', true);
  assert.equal(server.requests('typing').length, 1);
  server.socket.drop();
  server.socket.connect();
  await online(chat);
  assert.equal(chat.offers('typing'), true);
});

test('a new name is said at once, or by another connection where there is no request for it', async (t) => {
  const { chat, server } = start(t, undefined, { name: 'Ada' });
  chat.open('general');
  await online(chat);
  assert.equal(server.socket.auth.name, 'Ada');
  assert.equal((await chat.rename('Ada Lovelace')).ok, true);
  await online(chat);
  assert.equal(server.socket.auth.name, 'Ada Lovelace');
  server.answers.rename = () => ({ ok: false, error: { code: 'bad_request', message: 'too long', retryable: false } });
  assert.equal((await chat.rename('x'.repeat(65))).ok, false);
  assert.equal(chat.name, 'Ada Lovelace');
});

test('somebody who goes on typing says so from time to time only', async (t) => {
  const server = new FakeServer();
  server.answers.typing = () => ({ ok: true });
  const { chat } = start(t, server);
  chat.open('general');
  await online(chat);
  for (let key = 0; key < 50; key += 1) chat.typing('general', true);
  chat.typing('general', false);
  chat.typing('general', false);
  assert.deepEqual(server.requests('typing').map(({ typing }) => typing), [true, false]);
  chat.typing('general', true);
  chat.post('general', { text: 'what was typed' });
  assert.deepEqual(server.requests('typing').map(({ typing }) => typing), [true, false, true, false], 'who has sent it has stopped');
});

test('how far somebody has seen is told at once, never moves back, and is told again after a restart', async (t) => {
  const server = new FakeServer();
  server.answers.read = () => ({ ok: true });
  const { chat } = start(t, server);
  chat.open('general');
  await online(chat);
  for (const offset of [1, 2, 3]) server.socket.receive('message', message(offset));
  assert.equal(chat.room('general').unread, 3);
  chat.read('general', 2);
  assert.equal(chat.room('general').unread, 1);
  chat.read('general', 1);
  chat.read('general', 3);
  await until(() => server.requests('read').length === 2, 'it is told');
  assert.deepEqual(server.requests('read').map(({ offset }) => offset), [2, 3]);
  server.socket.drop();
  server.socket.connect();
  await until(() => server.requests('read').length === 3, 'the server may have been away when it was told');
});

test('somebody who is removed from a room is out of it until they open it again', async (t) => {
  const { chat, server, told } = start(t);
  chat.open('general');
  await online(chat);
  server.socket.receive('removed', { room: 'general', reason: 'kicked', message: 'be nice' });
  assert.deepEqual(told.at(-1)[1].removal, { reason: 'kicked', message: 'be nice' });
  server.socket.drop();
  server.socket.connect();
  await online(chat);
  assert.deepEqual([server.socket.auth.rooms, server.requests('join').length], [{}, 1]);
  chat.open('general');
  await until(() => chat.room('general').joined, 'it is let in');
});

test('who is signed out learns why, and a token is renewed before it ends', async (t) => {
  const server = new FakeServer();
  server.answers.refresh = () => ({ ok: true });
  let number = 0;
  const { chat } = start(t, server, { guest: undefined, token: () => `token ${(number += 1)}` });
  chat.open('general');
  await online(chat);
  assert.deepEqual(server.socket.auth, { token: 'token 1', rooms: {} });
  server.socket.receive('token_expiring', { at: 1 });
  await until(() => server.requests('refresh')[0]?.token === 'token 2', 'another one is handed over');
  server.socket.receive('signed_out', { reason: 'banned', until: 5 });
  server.socket.drop('io server disconnect');
  assert.equal(chat.state.name, 'refused');
  assert.deepEqual(chat.state.removal, { reason: 'banned', until: 5 });
});

test('a private room begins with its first message, also for somebody who never opened it', async (t) => {
  const { chat, server } = start(t, undefined, { me: 'guest:a' });
  chat.open('general');
  await online(chat);
  server.socket.receive('message', message(1, 'psst', { room: 'dm:x.y' }));
  const room = chat.room('dm:x.y');
  assert.deepEqual([room.direct, room.unread, room.partner], [true, 1, { id: 'guest:b', name: 'Bob' }]);
});

test('who the other one of a private room is stays right when this person turns out to be the one who spoke', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  await online(chat);
  server.socket.receive('message', message(1, 'from my other tab', { room: 'dm:x.y', from: { id: 'guest:a', name: 'Ada' } }));
  server.socket.receive('message', message(2, 'hi', { room: 'dm:x.y' }));
  const draft = chat.post('general', { text: 'it is me' });
  server.socket.receive('message', message(1, 'it is me', { id: draft.id, from: { id: 'guest:a', name: 'Ada' } }));
  assert.deepEqual([chat.me, chat.room('dm:x.y').partner], ['guest:a', { id: 'guest:b', name: 'Bob' }]);
});

test('what still comes of a room that is being left does not bring it back', async (t) => {
  const { chat, server } = start(t);
  chat.open('general');
  chat.join('garden');
  await online(chat);
  const leaving = chat.leave('garden');
  server.socket.receive('message', message(1, 'too late', { room: 'garden' }));
  await leaving;
  assert.deepEqual(chat.rooms.map(({ name }) => name), ['general']);
});

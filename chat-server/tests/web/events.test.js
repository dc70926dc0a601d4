// The event API of the transport with the official client: checks, typed events, questions to many, and namespaces on demand.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { client, connection, cut, startEcho } from './support/echo.js';
import { until } from './support/until.js';

/** What an official client is told when it is not let in. */
function refused(socket) {
  return new Promise((done) => { socket.once('connect_error', ({ message, data }) => done({ message, data })); });
}

test('a typed event is answered with a value, or with what is wrong', async (t) => {
  const server = await startEcho(t, 'events');
  const ada = client(t, server.url);
  assert.equal(await ada.emitWithAck('add', [2, 3]), 5);
  const { ok, error } = await ada.emitWithAck('add', ['two', 3]);
  assert.deepEqual([ok, error.code, error.retryable], [false, 'bad_request', false]);
  assert.match(error.message, /invalid type: string "two", expected i32/);
  assert.equal((await ada.emitWithAck('add', [2 ** 31 - 1, 1])).error.code, 'too_large');
});

test('an event that a check refuses is answered with why, and one that it drops is retried by the client', async (t) => {
  const server = await startEcho(t, 'events');
  const ada = client(t, server.url);
  const error = { code: 'forbidden', message: 'nobody may do this', retryable: false };
  assert.deepEqual(await ada.emitWithAck('forbidden'), { ok: false, error });
  const bob = client(t, server.url, { retries: 5, ackTimeout: 100 });
  assert.equal(await bob.emitWithAck('flaky', 7), 7);
  assert.equal(await bob.emitWithAck('flaky', 8), 8);
});

test('a check before connect refuses for good, with data', async (t) => {
  const server = await startEcho(t, 'events');
  const ada = client(t, server.url, { auth: { banned: true } });
  assert.deepEqual(await refused(ada), { message: 'banned', data: { days: 7 } });
  assert.equal(ada.active, false, 'it does not come back by itself');
});

test('a question to a room brings in what its members answer, and says how many did not', async (t) => {
  const server = await startEcho(t, 'events');
  const [ada, bob, carl, dora] = ['ada', 'bob', 'carl', 'dora'].map((name) => {
    const socket = client(t, server.url, { transports: name === 'bob' ? ['polling'] : ['websocket'] });
    if (name !== 'carl') socket.on('question', (answer) => answer({ from: name }));
    return socket;
  });
  await Promise.all([ada, bob, carl].map((socket) => socket.emitWithAck('join', 'tea')));
  const { answers, missing } = await dora.emitWithAck('ask-room', 'tea');
  assert.deepEqual(answers.map(({ from }) => from).sort(), ['ada', 'bob']);
  assert.equal(missing, 1, 'Carl has no answer');
  // Who is asked by its own event answers as well.
  await carl.emitWithAck('leave', 'tea');
  assert.equal((await ada.emitWithAck('ask-room', 'tea')).answers.length, 2);
});

test('a room is moved and disconnected with its members that are away', async (t) => {
  const server = await startEcho(t, 'events');
  const [ada, bob, carl] = [client(t, server.url), client(t, server.url, { reconnection: false }), client(t, server.url)];
  await Promise.all([ada, bob].map((socket) => socket.emitWithAck('join', 'tea')));
  const { id } = bob;
  cut(bob);
  await until(() => !bob.connected, 'Bob is away');
  await carl.emitWithAck('move-room', ['tea', 'coffee']);
  assert.deepEqual(await ada.emitWithAck('rooms'), ['coffee']);
  const reason = new Promise((done) => { ada.once('disconnect', done); });
  await carl.emitWithAck('disconnect-room', 'coffee');
  assert.equal(await reason, 'io server disconnect');
  assert.equal(ada.active, false, 'it does not come back by itself');
  bob.connect();
  assert.equal((await connection(bob, 2)).recovered, false);
  assert.notEqual(bob.id, id);
  assert.deepEqual(await bob.emitWithAck('rooms'), []);
});

test('a namespace is there when it is asked for, is shared, and is refused when it is none', async (t) => {
  const server = await startEcho(t, 'events');
  const [ada, bob, carl] = ['/game-1', '/game-1', '/game-2'].map((name) => client(t, server.url, { name }));
  await Promise.all([ada, bob, carl].map((socket) => connection(socket)));
  await ada.emitWithAck('to-all', 'hello', 1);
  await until(() => bob.events('hello').length === 1, 'Bob is told');
  await carl.emitWithAck('add', [1, 1]);
  assert.deepEqual(carl.events('hello'), []);
  const stranger = client(t, server.url, { name: '/game-x' });
  assert.equal((await refused(stranger)).message, 'Invalid namespace');
});

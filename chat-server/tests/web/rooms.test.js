// Own rooms, private rooms and read positions with the official client, over the SQLite store.

import assert from 'node:assert/strict';

import { client, connection, cut } from './support/echo.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

const secret = (who) => `${who}-`.repeat(16).slice(0, 40);

function join(t, server, who, rooms = {}) {
  return client(t, server.url, { auth: { guest: secret(who), name: who, rooms } });
}

async function ask(socket, event, request = {}) {
  const reply = await socket.timeout(10_000).emitWithAck(event, request);
  assert.equal(reply.ok, true, `${event}: ${JSON.stringify(reply)}`);
  return reply;
}

const post = (socket, room, text) => ask(socket, 'post', { room, id: text, content: { text } });
const messages = (socket, room) => socket.events('message').map(([message]) => message).filter((message) => message.room === room);
const texts = (socket, room) => messages(socket, room).map(({ content }) => content.text);
const listed = async (socket, room) => (await ask(socket, 'rooms')).rooms.find((other) => other.room === room);

/** The public id of somebody, as others see it. */
async function idOf(t, server, who) {
  const socket = join(t, server, who);
  await connection(socket);
  await ask(socket, 'join', { room: `${who}'s` });
  await post(socket, `${who}'s`, 'me');
  await until(() => messages(socket, `${who}'s`).length === 1, 'it has come');
  await ask(socket, 'leave', { room: `${who}'s` });
  socket.disconnect();
  return messages(socket, `${who}'s`)[0].from.id;
}

async function opened(socket, user) {
  const { room } = await ask(socket, 'direct', { user });
  await ask(socket, 'join', { room, last: 50 });
  return room;
}

test('a direct message comes to somebody who never opened the room, on every device, and so does the answer', async (t) => {
  const server = await startServer(t);
  const user = await idOf(t, server, 'bob');
  const [ada, desk, phone, eve] = ['ada', 'bob', 'bob', 'eve'].map((who) => join(t, server, who));
  await Promise.all([ada, desk, phone, eve].map((socket) => connection(socket)));
  const room = await opened(ada, user);
  await post(ada, room, 'hello');
  for (const device of [desk, phone]) await until(() => texts(device, room).length === 1, 'it has come by itself');
  assert.equal(messages(desk, room)[0].from.name, 'ada');
  await post(phone, room, 'hello back');
  for (const socket of [ada, desk, phone]) {
    await until(() => texts(socket, room).length === 2, 'both have come');
    assert.deepEqual(texts(socket, room), ['hello', 'hello back']);
  }
  for (const [event, request] of [['join', {}], ['history', {}], ['post', { id: 'k', content: 1 }]]) {
    const reply = await eve.emitWithAck(event, { room, ...request });
    assert.ok(['forbidden', 'not_joined'].includes(reply.error?.code), `${event}: ${JSON.stringify(reply)}`);
  }
  assert.deepEqual((await ask(eve, 'rooms')).rooms, []);
  assert.equal(eve.events('message').length, 0);
});

test('who was cut when the first direct message was sent gets it on coming back, once, also after SIGKILL', async (t) => {
  const server = await startServer(t);
  const user = await idOf(t, server, 'bob');
  const [ada, bob] = [join(t, server, 'ada'), join(t, server, 'bob', { general: 0 })];
  await Promise.all([connection(ada), connection(bob)]);
  bob.io.reconnection(false);
  cut(bob);
  await until(() => !bob.connected, 'he is away');
  const room = await opened(ada, user);
  await post(ada, room, 'one');
  await post(ada, room, 'two');
  await server.kill();
  await server.start();
  await connection(ada, 2);
  bob.io.reconnection(true);
  bob.connect();
  assert.equal((await connection(bob, 2)).recovered, true);
  await until(() => texts(bob, room).length === 2, 'what he missed has come');
  cut(bob);
  assert.equal((await connection(bob, 3)).recovered, true);
  await post(ada, room, 'three');
  await until(() => texts(bob, room).length >= 3, 'it goes on');
  assert.deepEqual(texts(bob, room), ['one', 'two', 'three']);
});

test('who was offline finds the private room among its rooms, with what is unread and who wrote', async (t) => {
  const server = await startServer(t);
  const user = await idOf(t, server, 'bob');
  const ada = join(t, server, 'ada');
  await connection(ada);
  const room = await opened(ada, user);
  for (const text of ['one', 'two', 'three']) await post(ada, room, text);
  const bob = join(t, server, 'bob');
  await connection(bob);
  const { head, read, unread, last, with: other } = await listed(bob, room);
  assert.deepEqual({ head, read, unread, text: last.content.text, name: other.name }, { head: 3, read: 0, unread: 3, text: 'three', name: 'ada' });
  assert.equal(texts(bob, room).length, 0);
  const { messages: page } = await ask(bob, 'history', { room });
  assert.deepEqual(page.map(({ content }) => content.text), ['one', 'two', 'three']);
  await post(ada, room, 'four');
  await until(() => texts(bob, room).length === 1, 'what is new comes by itself');
  assert.equal((await ask(bob, 'direct', { user: other.id })).room, room, 'it is the same room from both sides');
});

test('rooms, and how far one has read, are the same on every device and after a restart', async (t) => {
  const server = await startServer(t);
  const [desk, phone, bob] = [join(t, server, 'ada', { general: 0 }), join(t, server, 'ada'), join(t, server, 'bob', { general: 0, help: 0 })];
  await Promise.all([desk, phone, bob].map((socket) => connection(socket)));
  await ask(phone, 'join', { room: 'help' });
  for (let n = 1; n <= 5; n += 1) for (const room of ['general', 'help']) await post(bob, room, `${room} ${n}`);
  assert.equal((await ask(desk, 'read', { room: 'general', offset: 3 })).offset, 3);
  const overview = async (socket) => (await ask(socket, 'rooms')).rooms.map(({ room, head, read, unread, last }) => [room, head, read, unread, last.content.text]);
  const expected = [['general', 5, 3, 2, 'general 5'], ['help', 5, 0, 5, 'help 5']];
  assert.deepEqual(await overview(phone), expected);
  assert.deepEqual(await overview(desk), expected);
  await server.kill();
  await server.start();
  await Promise.all([desk, phone, bob].map((socket) => connection(socket, 2)));
  assert.deepEqual(await overview(phone), expected);
  // Back is no direction, and there is nothing behind the end.
  assert.equal((await ask(desk, 'read', { room: 'general', offset: 1 })).offset, 3);
  assert.equal((await ask(desk, 'read', { room: 'general', offset: 1_000 })).offset, 5);
  await ask(desk, 'leave', { room: 'help' });
  assert.deepEqual(await overview(phone), [['general', 5, 5, 0, 'general 5']]);
});

test('many reads at once are answered, and the furthest counts', async (t) => {
  const server = await startServer(t);
  const ada = join(t, server, 'ada', { general: 0 });
  await connection(ada);
  for (let n = 1; n <= 100; n += 1) await post(ada, 'general', `${n}`);
  const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => ask(ada, 'read', { room: 'general', offset: n + 1 })));
  replies.forEach(({ offset }, n) => assert.ok(n + 1 <= offset));
  assert.equal((await listed(ada, 'general')).unread, 0);
});

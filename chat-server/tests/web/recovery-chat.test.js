// Connection state recovery of the chat with the official client: from the log alone, so also after a crash.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { client, connection, cut } from './support/echo.js';
import { startProxy } from './support/proxy.js';
import { startServer } from './support/server.js';
import { until } from './support/until.js';

const GUEST = { ada: 'ada-ada-ada-ada-ada', bob: 'bob-bob-bob-bob-bob' };

function join(t, server, who, rooms = {}, options = {}) {
  return client(t, server.url, { auth: { ...(who && { guest: GUEST[who] }), rooms }, ...options });
}

async function post(socket, room, id, content = id) {
  const reply = await socket.timeout(10_000).emitWithAck('post', { room, id, content });
  assert.equal(reply.ok, true, JSON.stringify(reply));
  return reply;
}

const contents = (socket, room) => socket.events('message').filter(([message]) => message.room === room).map(([message]) => message.content);
const tokenOf = (received) => received[received.length - 1];

test('after SIGKILL a client is recovered in a hundred rooms, and gets what it missed once', async (t) => {
  const server = await startServer(t);
  const names = Array.from({ length: 100 }, (_, n) => `room ${n}`);
  const rooms = Object.fromEntries(names.map((name) => [name, 0]));
  const [ada, bob] = [join(t, server, 'ada', rooms), join(t, server, 'bob', rooms)];
  await Promise.all([connection(ada), connection(bob)]);
  for (const name of names) await post(bob, name, 'first');
  await until(() => ada.events('message').length === 100, 'the first of each has come');
  await post(bob, 'room 7', 'second');
  await until(() => ada.events('message').length === 101, 'the second of one has come');
  const token = tokenOf(ada.received.at(-1));
  assert.ok(token.length <= 600, `${token.length} characters`);
  const { id } = ada.connects[0];
  ada.io.reconnection(false);
  await server.kill();
  await until(() => !ada.connected && !bob.connected, 'both know');
  await server.start();
  await connection(bob, 2);
  for (const name of names.slice(0, 10)) await post(bob, name, 'missed');
  ada.io.reconnection(true);
  ada.connect();
  assert.deepEqual(await connection(ada, 2), { id, recovered: true });
  await until(() => ada.events('message').length >= 111, 'what was missed has come');
  for (const name of names) {
    const expected = ['first', ...(name === 'room 7' ? ['second'] : []), ...(names.indexOf(name) < 10 ? ['missed'] : [])];
    assert.deepEqual(contents(ada, name), expected);
  }
});

test('a client that has received nothing is recovered after SIGKILL, too', async (t) => {
  const server = await startServer(t);
  const ada = join(t, server, 'ada', { general: 0 });
  const { id } = await connection(ada);
  await server.kill();
  await server.start();
  assert.deepEqual(await connection(ada, 2), { id, recovered: true });
});

test('rooms that were joined or left later are recovered as they were, and a token is short', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [join(t, server, 'ada', { old: 0 }), join(t, server, 'bob', { old: 0, new: 0, other: 0 })];
  await Promise.all([connection(ada), connection(bob)]);
  await post(bob, 'old', '0');
  await until(() => ada.events('message').length === 1, 'it has come');
  assert.ok(tokenOf(ada.received.at(-1)).length <= 64, tokenOf(ada.received.at(-1)));
  assert.equal((await ada.emitWithAck('join', { room: 'new' })).ok, true);
  assert.equal((await ada.emitWithAck('leave', { room: 'old' })).ok, true);
  await server.kill();
  await server.start();
  assert.equal((await connection(ada, 2)).recovered, true);
  await connection(bob, 2);
  await post(bob, 'old', '1');
  await post(bob, 'new', '1');
  await until(() => contents(ada, 'new').length === 1, 'the new room goes on');
  assert.deepEqual(contents(ada, 'old'), ['0']);
  assert.equal(ada.events('position').length, 2, 'the position came before the answer to join and to leave');
});

test('the tutorial\'s client is recovered in its room', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [client(t, server.url, { auth: { serverOffset: 0 } }), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  await bob.emitWithAck('chat message', 'one', 'k-1');
  await until(() => ada.events('chat message').length === 1, 'one has come');
  ada.io.reconnection(false);
  cut(ada);
  await bob.emitWithAck('chat message', 'two', 'k-2');
  await server.kill();
  await server.start();
  ada.connect();
  assert.deepEqual(await connection(ada, 2), { id: ada.connects[0].id, recovered: true });
  await until(() => ada.events('chat message').length >= 2, 'two has come');
  assert.deepEqual(ada.events('chat message'), [['one', 1], ['two', 2]]);
});

test('a guest without a secret is the same one when it is back, recovered or not', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [join(t, server, undefined, { general: 0 }), join(t, server, 'bob', { general: 0 })];
  await Promise.all([connection(ada), connection(bob)]);
  await post(ada, 'general', 'one');
  cut(ada);
  assert.equal((await connection(ada, 2)).recovered, true);
  await post(ada, 'general', 'two');
  await until(() => bob.events('message').length === 2, 'both have come');
  const [one, two] = bob.events('message').map(([message]) => message.from.id);
  assert.equal(one, two);
});

test('what is gone is told, and then it is no recovery', async (t) => {
  const server = await startServer(t, { args: ['--keep-messages', '3'] });
  const [ada, bob] = [join(t, server, 'ada', { general: 0 }), join(t, server, 'bob', { general: 0 })];
  await Promise.all([connection(ada), connection(bob)]);
  await post(bob, 'general', 'k-0');
  await until(() => ada.events('message').length === 1, 'it has come');
  ada.io.reconnection(false);
  cut(ada);
  const { id } = ada.connects[0];
  for (let n = 1; n < 40; n += 1) await post(bob, 'general', `k-${n}`);
  // What is too old is looked for at the start.
  await server.kill();
  await server.start();
  await connection(bob, 2);
  const oldest = async () => (await bob.emitWithAck('history', { room: 'general' })).oldest;
  await until(async () => await oldest() > 20, 'most is trimmed', 30_000);
  ada.connect();
  const now = await connection(ada, 2);
  assert.ok(!now.recovered && now.id !== id, JSON.stringify(now));
  await until(() => ada.events('history_lost').length === 1, 'it is told');
  await until(() => contents(ada, 'general').at(-1) === 'k-39', 'what is left has come');
});

test('a stolen, forged, truncated or huge pid or offset gains nothing', async (t) => {
  const server = await startServer(t);
  const ada = join(t, server, 'ada', { general: 0 });
  const { id } = await connection(ada);
  await post(ada, 'general', 'k');
  await until(() => ada.events('message').length === 1, 'it has come');
  const [pid, offset] = [ada._pid, ada._lastOffset];
  for (const auth of [
    { guest: GUEST.bob, pid, offset },
    { pid, offset },
    { guest: GUEST.ada, pid: pid.slice(0, -1), offset },
    { guest: GUEST.ada, pid: `B${pid.slice(1)}`, offset },
    { guest: GUEST.ada, pid: 'x'.repeat(500_000), offset: 'y'.repeat(400_000) },
    { guest: GUEST.ada, pid: { toString: 1 }, offset: [[]] },
  ]) {
    const thief = client(t, server.url, { auth: { rooms: {}, ...auth } });
    const now = await connection(thief);
    assert.notEqual(now.id, id, JSON.stringify(auth).slice(0, 200));
    thief.disconnect();
  }
  assert.ok(ada.connected, 'nobody has taken the session over');
  // Its own pid with an offset that is none goes on from where the session began.
  ada.io.reconnection(false);
  cut(ada);
  for (const offset of ['z'.repeat(900_000), tokenOf(ada.received.at(-1)).slice(0, -2), 7]) {
    const again = client(t, server.url, { auth: { guest: GUEST.ada, rooms: {}, pid, offset } });
    assert.equal((await connection(again)).id, id);
    await until(() => contents(again, 'general').length === 1, 'the message comes once more');
    again.disconnect();
  }
});

test('`recovery: false` gets neither pid nor tokens', async (t) => {
  const server = await startServer(t);
  const ada = client(t, server.url, { auth: { recovery: false, rooms: { general: 0 } } });
  await connection(ada);
  assert.equal(ada._pid, undefined);
  await post(ada, 'general', 'k');
  await until(() => ada.received.some(([event]) => event === 'message'), 'it has come');
  assert.ok(ada.received.every((args) => args.length === 2), 'each has its name and what it says');
});

test('a token is there from the first event on, and a half-open connection is taken over', async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, Number(new URL(server.url).port));
  const [ada, bob] = [join(t, { url: proxy.url }, 'ada', { general: 0 }), join(t, server, 'bob', { general: 0 })];
  await Promise.all([connection(ada), connection(bob)]);
  proxy.hold();
  for (let n = 0; n < 5; n += 1) await post(bob, 'general', `k-${n}`);
  proxy.tear();
  assert.deepEqual(await connection(ada, 2), { id: ada.connects[0].id, recovered: true });
  await post(bob, 'general', 'k-5');
  await until(() => contents(ada, 'general').length >= 6, 'all have come');
  assert.deepEqual(contents(ada, 'general'), ['k-0', 'k-1', 'k-2', 'k-3', 'k-4', 'k-5']);
  await until(() => proxy.count === 1, 'the old connection is closed');
});

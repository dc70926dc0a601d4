// Connection state recovery of an application's own rooms, data and events, kept in a store: also after a crash.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { atEnd } from './support/cleanup.js';
import { client, connection, cut, startEcho } from './support/echo.js';
import { until } from './support/until.js';

async function start(t) {
  const folder = mkdtempSync(join(tmpdir(), 'recovery-test-'));
  const server = await startEcho(t, 'recovery', '--store', `sqlite:${join(folder, 'sockets.db')}`);
  atEnd(t, () => rmSync(folder, { recursive: true, force: true }));
  return server;
}

async function restart(server) {
  await server.kill();
  await server.start();
}

test('after SIGKILL a client has its id, rooms and data, and every event it missed once and in order', async (t) => {
  const server = await start(t);
  const [ada, bob] = [client(t, server.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  await ada.emitWithAck('join', 'tea');
  await ada.emitWithAck('join', 'out');
  await ada.emitWithAck('leave', 'out');
  await ada.emitWithAck('set-data', { likes: 'tea' });
  await bob.emitWithAck('to-all', 'n', 0, Buffer.from([1, 2, 3]));
  await until(() => ada.events('n').length === 1, 'the first has come');
  ada.io.reconnection(false);
  cut(ada);
  let sent = 1;
  for (; sent < 5; sent += 1) await bob.emitWithAck('to-all', 'n', sent);
  await restart(server);
  await connection(bob, 2);
  for (; sent < 10; sent += 1) await bob.emitWithAck('to-room', 'tea', 'n', sent);
  await bob.emitWithAck('to-room', 'out', 'not for ada', 1);
  ada.connect();
  assert.deepEqual(await connection(ada, 2), { id: ada.connects[0].id, recovered: true });
  assert.equal(bob.connects[1].recovered, true);
  await until(() => ada.events('n').length >= 10, 'all have come');
  assert.deepEqual(ada.events('n').map(([n]) => n), Array.from({ length: 10 }, (_, n) => n));
  assert.deepEqual(ada.events('not for ada'), []);
  assert.deepEqual([await ada.emitWithAck('rooms'), await ada.emitWithAck('get-data')], [['tea'], { likes: 'tea' }]);
});

test('what was answered is there after a SIGKILL that comes right behind the answer, however often', async (t) => {
  const server = await start(t);
  const ada = client(t, server.url, { auth: { silent: true } });
  await connection(ada);
  const rooms = [];
  for (let round = 0; round < 10; round += 1) {
    const room = `room ${round}`;
    await ada.emitWithAck('join', room);
    rooms.push(room);
    await ada.emitWithAck('set-data', round);
    await restart(server);
    assert.deepEqual(await connection(ada, round + 2), { id: ada.connects[0].id, recovered: true });
    assert.deepEqual([await ada.emitWithAck('rooms'), await ada.emitWithAck('get-data')], [rooms, round]);
  }
});

test('a client that has received nothing is recovered after SIGKILL, and one that has left is not', async (t) => {
  const server = await start(t);
  const [ada, bob] = [client(t, server.url, { auth: { silent: true } }), client(t, server.url, { auth: { silent: true } })];
  await Promise.all([connection(ada), connection(bob)]);
  const [pid, id] = [bob._pid, bob.id];
  bob.disconnect();
  await ada.emitWithAck('rooms');
  await ada.emitWithAck('join', 'tea');
  await restart(server);
  assert.equal((await connection(ada, 2)).recovered, true);
  const again = client(t, server.url, { auth: { silent: true, pid } });
  assert.notEqual((await connection(again)).id, id);
});

test('events that flow while the server is killed again and again come once and in order', async (t) => {
  const server = await start(t);
  const [ada, bob] = [client(t, server.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  const answered = [];
  let stop = false;
  const sending = (async () => {
    for (let n = 0; !stop; n += 1) {
      // An event that is not answered may have been sent: it is not sent again.
      const reply = await bob.timeout(3_000).emitWithAck('to-all', 'n', n).catch(() => 'none');
      if (reply !== 'none') answered.push(n);
    }
  })();
  for (let round = 0; round < 8; round += 1) {
    const goal = answered.length + 20;
    await until(() => answered.length >= goal, 'some more are answered', 20_000);
    await restart(server);
  }
  stop = true;
  await sending;
  const last = answered.at(-1);
  await until(() => ada.events('n').some(([n]) => n === last), 'the last one has come', 20_000);
  const seen = ada.events('n').map(([n]) => n);
  assert.deepEqual(seen, [...new Set(seen)].sort((a, b) => a - b), 'once and in order');
  assert.deepEqual(answered.filter((n) => !seen.includes(n)), [], 'nothing that was answered is missing');
  assert.ok(ada.connects.every(({ recovered, id }, n) => n === 0 || (recovered && id === ada.connects[0].id)), JSON.stringify(ada.connects));
});

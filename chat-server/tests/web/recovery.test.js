// Connection state recovery with the official client: rooms, data and events of an application, kept in memory by the transport.

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { test } from 'node:test';

import { atEnd } from './support/cleanup.js';
import { client, connection, cut, startEcho } from './support/echo.js';
import { startProxy } from './support/proxy.js';
import { until } from './support/until.js';

async function recoveredAfter(socket, action = () => cut(socket)) {
  const before = socket.connects.length;
  const { id } = socket.connects[before - 1];
  action();
  const now = await connection(socket, before + 1);
  assert.deepEqual(now, { id, recovered: true });
}

for (const transports of [['websocket'], ['polling']]) {
  test(`a cut connection comes back with its id, rooms, data and every missed event once (${transports})`, async (t) => {
    const server = await startEcho(t, 'recovery');
    const [ada, bob] = [client(t, server.url, { transports }), client(t, server.url)];
    await Promise.all([connection(ada), connection(bob)]);
    await until(() => ada.events('auth').length === 1, 'auth has come');
    await ada.emitWithAck('join', 'tea');
    await ada.emitWithAck('set-data', { likes: ['tea', 7] });
    const reconnecting = new Promise((done) => { ada.io.once('reconnect_attempt', done); });
    cut(ada);
    await until(() => !ada.connected, 'the cut is noticed');
    for (let n = 0; n < 20; n += 1) {
      await bob.emitWithAck('to-all', 'n', n);
      await bob.emitWithAck('to-room', 'tea', 'tea', n);
      await bob.emitWithAck('to-room', 'coffee', 'coffee', n);
      await bob.emitWithAck('to-room', ada.connects[0].id, 'own', n);
      await bob.emitWithAck('to-room-except', 'tea', ada.connects[0].id, 'not for ada', n);
      await bob.emitWithAck('broadcast', 'others', n);
    }
    await reconnecting;
    assert.deepEqual(await connection(ada, 2), { id: ada.connects[0].id, recovered: true });
    const numbers = Array.from({ length: 20 }, (_, n) => [n]);
    for (const event of ['n', 'tea', 'own', 'others']) {
      await until(() => ada.events(event).length >= 20, `all of ${event} have come`);
      assert.deepEqual(ada.events(event), numbers);
    }
    assert.deepEqual([ada.events('coffee'), ada.events('not for ada'), ada.events('auth').length], [[], [], 1]);
    assert.deepEqual(await ada.emitWithAck('rooms'), ['tea']);
    assert.deepEqual(await ada.emitWithAck('get-data'), { likes: ['tea', 7] });
  });
}

test('a client that has received nothing yet is recovered, also at once', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url, { auth: { silent: true }, reconnectionDelay: 0, reconnectionDelayMax: 1 });
  await connection(ada);
  await recoveredAfter(ada);
  assert.deepEqual(ada.received, []);
});

test('twenty cuts in a row, with and without traffic between, lose and repeat nothing', async (t) => {
  const server = await startEcho(t, 'recovery');
  const [ada, bob] = [client(t, server.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  let sent = 0;
  for (let round = 0; round < 20; round += 1) {
    if (round % 2) await bob.emitWithAck('to-all', 'n', sent++);
    await recoveredAfter(ada);
    if (round % 3) await bob.emitWithAck('to-all', 'n', sent++);
  }
  await until(() => ada.events('n').length >= sent, 'all have come');
  assert.deepEqual(ada.events('n').flat(), Array.from({ length: sent }, (_, n) => n));
});

test('a quiet time of several pings does not matter', async (t) => {
  const server = await startEcho(t, 'recovery');
  const [ada, bob] = [client(t, server.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  await bob.emitWithAck('to-all', 'n', 1);
  await until(() => ada.events('n').length === 1, 'it has come');
  let pings = 0;
  ada.io.engine.on('ping', () => { pings += 1; });
  await until(() => pings === 3, 'three pings have come', 20_000);
  await recoveredAfter(ada);
  await bob.emitWithAck('to-all', 'n', 2);
  await until(() => ada.events('n').length === 2, 'the next one has come');
});

test('a second cut in the middle of the replay goes on where it was cut', async (t) => {
  const server = await startEcho(t, 'recovery');
  const proxy = await startProxy(t, server.port);
  const [ada, bob] = [client(t, proxy.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  ada.io.reconnection(false);
  proxy.cut();
  await until(() => !ada.connected, 'the cut is noticed');
  const filler = 'x'.repeat(2_000);
  for (let n = 0; n < 80; n += 1) await bob.emitWithAck('to-all', 'n', n, filler);
  ada.io.reconnection(true);
  let cuts = 0;
  ada.onAny((event, n) => {
    if (event === 'n' && n % 25 === 10 && cuts < 3) { cuts += 1; cut(ada); }
  });
  ada.connect();
  await until(() => ada.events('n').length >= 80, 'all have come', 20_000);
  assert.deepEqual(ada.events('n').map(([n]) => n), Array.from({ length: 80 }, (_, n) => n));
  assert.ok(cuts === 3 && ada.connects.slice(1).every(({ recovered }) => recovered), JSON.stringify(ada.connects));
});

for (const transports of [['websocket'], ['polling']]) {
  test(`a connection that the server closes behind an event and an answer comes back, and both have come once (${transports})`, async (t) => {
    const server = await startEcho(t, 'recovery');
    const ada = client(t, server.url, { transports });
    await connection(ada);
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    for (const n of numbers) {
      await ada.emitWithAck('to-me-and-close', 'n', n);
      const { recovered } = await connection(ada, n + 2);
      assert.ok(recovered);
    }
    await ada.emitWithAck('to-me', 'last');
    await until(() => ada.events('last').length === 1, 'what comes behind the replay has come');
    assert.deepEqual(ada.events('n').flat(), numbers);
  });
}

test('a volatile event, one without arguments and one that ends in a string do not disturb it', async (t) => {
  const server = await startEcho(t, 'recovery');
  const [ada, bob] = [client(t, server.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  let round = 0;
  for (const [request, event, ...args] of [['to-all-volatile', 'volatile', 'v'], ['to-all', 'bare'], ['to-all', 'text', 'a string'], ['to-all', 'binary', Buffer.from([1, 2])]]) {
    await bob.emitWithAck(request, event, ...args);
    await until(() => ada.events(event).length === 1, `${event} has come`);
    await recoveredAfter(ada);
    await bob.emitWithAck('to-all', 'n', round);
    round += 1;
    await until(() => ada.events('n').length === round, 'the next one has come');
  }
  assert.deepEqual(ada.received.map(([event]) => event), ['auth', 'volatile', 'n', 'bare', 'n', 'text', 'n', 'binary', 'n']);
});

test('a volatile event is not sent to a client that is away, also not later', async (t) => {
  const server = await startEcho(t, 'recovery');
  const [ada, bob] = [client(t, server.url, { reconnectionDelay: 300, reconnectionDelayMax: 400 }), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  await recoveredAfter(ada, () => {
    cut(ada);
    setTimeout(() => { bob.emit('to-all-volatile', 'volatile', 1); bob.emit('to-all', 'n', 1); }, 50);
  });
  await until(() => ada.events('n').length === 1, 'the other one has come');
  assert.deepEqual(ada.events('volatile'), []);
});

test('a client is back before the server has noticed that its connection is dead, and takes the session over', async (t) => {
  const server = await startEcho(t, 'recovery');
  const proxy = await startProxy(t, server.port);
  const [ada, bob] = [client(t, proxy.url), client(t, server.url)];
  await Promise.all([connection(ada), connection(bob)]);
  await ada.emitWithAck('join', 'tea');
  await bob.emitWithAck('to-room', 'tea', 'n', 0);
  await until(() => ada.events('n').length === 1, 'the first has come');
  proxy.hold();
  for (let n = 1; n < 5; n += 1) await bob.emitWithAck('to-room', 'tea', 'n', n);
  await recoveredAfter(ada, () => proxy.tear());
  await bob.emitWithAck('to-room', 'tea', 'n', 5);
  await until(() => ada.events('n').length >= 6, 'all have come');
  assert.deepEqual(ada.events('n').flat(), [0, 1, 2, 3, 4, 5]);
  await until(() => proxy.count === 1, 'the server has closed the old connection');
});

test('a session that comes back on two connections belongs to the last one, and the other one is told', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url);
  const { id } = await connection(ada);
  await ada.emitWithAck('join', 'tea');
  ada.io.reconnection(false);
  const auth = { pid: ada._pid, offset: ada._lastOffset };
  const left = new Promise((done) => { ada.once('disconnect', done); });
  const twin = client(t, server.url, { auth });
  await connection(twin);
  assert.equal(twin.id, id);
  assert.equal(await left, 'io server disconnect');
  assert.deepEqual(await twin.emitWithAck('rooms'), ['tea']);
});

test('who was thrown out, or has left, is not recovered', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url);
  const { id } = await connection(ada);
  await ada.emitWithAck('join', 'tea');
  const left = new Promise((done) => { ada.once('disconnect', done); });
  ada.emit('kick');
  assert.equal(await left, 'io server disconnect');
  ada.connect();
  const second = await connection(ada, 2);
  assert.ok(!second.recovered && second.id !== id);
  assert.deepEqual(await ada.emitWithAck('rooms'), []);
  ada.disconnect();
  ada.connect();
  assert.equal((await connection(ada, 3)).recovered, false);
});

test('after a restart without a store nobody is recovered', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url);
  await connection(ada);
  await server.kill();
  await server.start();
  assert.equal((await connection(ada, 2)).recovered, false);
});

test('a session is given up when its time is over', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url, { reconnection: false });
  const { id } = await connection(ada);
  await ada.emitWithAck('join', 'tea');
  cut(ada);
  await wait(10_500);
  ada.connect();
  const now = await connection(ada, 2);
  assert.ok(!now.recovered && now.id !== id);
});

test('namespaces are recovered each by itself', async (t) => {
  const server = await startEcho(t, 'recovery');
  const ada = client(t, server.url, { name: '/custom' });
  const main = ada.io.socket('/');
  atEnd(t, () => main.disconnect());
  main.connects = [];
  main.on('connect', () => main.connects.push({ id: main.id, recovered: main.recovered }));
  main.connect();
  await Promise.all([connection(ada), connection(main)]);
  await ada.emitWithAck('join', 'tea');
  await recoveredAfter(ada);
  assert.deepEqual(await connection(main, 2), { id: main.connects[0].id, recovered: true });
  assert.notEqual(main.id, ada.id);
  assert.deepEqual([await ada.emitWithAck('rooms'), await main.emitWithAck('rooms')], [['tea'], []]);
});

test('300 clients that are cut at once while events flow all come back without a loss', async (t) => {
  const server = await startEcho(t, 'recovery');
  const proxy = await startProxy(t, server.port);
  const kinds = [{ transports: ['websocket'] }, { transports: ['polling'] }, { transports: ['polling', 'websocket'] }];
  const clients = Array.from({ length: 300 }, (_, n) => client(t, proxy.url, { ...kinds[n % 3], reconnectionDelayMax: 1_000, randomizationFactor: 1 }));
  // Some are in the middle of their upgrade by then.
  await until(() => clients.filter(({ connects }) => connects.length).length > 250, 'most are there', 30_000);
  const bob = client(t, server.url);
  await connection(bob);
  let sent = 0;
  const send = async (count) => { for (let n = 0; n < count; n += 1) await bob.emitWithAck('to-all', 'n', sent++); };
  await Promise.all(clients.map((each) => connection(each)));
  await send(10);
  const sending = send(60);
  proxy.cut();
  await sending;
  await send(5);
  const behind = () => clients.filter((each) => each.events('n').length < sent);
  await until(() => behind().length === 0, () => `all have everything: ${behind().length} have not, ${JSON.stringify(behind()[0].connects)}`, 60_000);
  for (const each of clients) {
    assert.deepEqual(each.events('n').flat(), Array.from({ length: sent }, (_, n) => n));
    assert.ok(each.connects.slice(1).every(({ recovered, id }) => recovered && id === each.connects[0].id), JSON.stringify(each.connects));
  }
  // A long-polling client that was between two requests has nothing that can be cut.
  assert.ok(clients.filter(({ connects }) => connects.length > 1).length > 200);
});

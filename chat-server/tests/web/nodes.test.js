// Several nodes and one Redis; people hop between the nodes while nodes are killed, and while Redis and the ways to it are in trouble.
//
//   CHAT_TROUBLES=100 CHAT_SEED=7 node --test nodes.test.js

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { io } from 'socket.io-client';

import { atEnd } from './support/cleanup.js';
import { FullClient } from './support/full.js';
import { People } from './support/people.js';
import { startProxy } from './support/proxy.js';
import { seeded } from './support/random.js';
import { IN_MEMORY, startCluster, startRedis } from './support/redis.js';
import { freePort, startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

const TROUBLES = Number(process.env.CHAT_TROUBLES ?? 15);
const SEED = Number(process.env.CHAT_SEED ?? Math.floor(Math.random() * 2 ** 32));

test(`in ${TROUBLES} troubles of three nodes and their Redis nothing is lost, repeated or reordered`, { timeout: 300_000 + TROUBLES * 12_000 }, async (t) => {
  console.log(`# seed ${SEED}`);
  const random = seeded(SEED);
  const redis = await startRedis(t);
  const ways = await Promise.all([1, 2, 3].map(() => startProxy(t, redis.port)));
  const nodes = [];
  for (const way of ways) nodes.push(await startServer(t, { store: way.url.replace('http:', 'redis:') }));
  const front = await startFront(t, nodes, random);
  const people = new People(t, front.url, random, { one: ['websocket'], two: ['websocket'], three: ['websocket'] });
  const any = random.pick;
  const troubles = {
    'a node is killed': async () => {
      const node = any(nodes);
      await node.kill();
      await wait(random.between(0, 500));
      await node.start();
    },
    'clients hop to other nodes': async () => front.cut(),
    'Redis is killed and restarted': async () => {
      await redis.kill();
      await wait(random.between(0, 500));
      await redis.start();
    },
    'Redis stands still': async () => {
      redis.signal('SIGSTOP');
      await wait(random.between(500, 3_000));
      redis.signal('SIGCONT');
    },
    'the connections of a node are cut': async () => any(ways).cut(),
    'a node waits for answers in vain': async () => {
      const way = any(ways);
      way.hold();
      await wait(random.between(200, 2_000));
      way.cut();
    },
  };
  const names = Object.keys(troubles);
  for (let number = 0; number < TROUBLES; number += 1) {
    await wait(random.between(50, 700));
    // Each kind at least once, where there are enough.
    await troubles[names[number] ?? any(names)]();
  }
  const { found, acknowledged } = await people.finish();
  assert.deepEqual(found.slice(0, 20), [], `seed ${SEED}: ${found.length} breaches`);
  assert.ok(acknowledged > TROUBLES, 'people did chat');
});

test('while nodes and primaries of a cluster are killed and slots move nothing is lost that a replica has confirmed, or repeated, or reordered', { timeout: 300_000 }, async (t) => {
  console.log(`# seed ${SEED}`);
  const random = seeded(SEED);
  const cluster = await startCluster(t, 3);
  const nodes = [];
  for (let number = 0; number < 3; number += 1) nodes.push(await startServer(t, { store: cluster.url, args: ['--replicas', '1'] }));
  const front = await startFront(t, nodes, random);
  const people = new People(t, front.url, random, { one: ['websocket'], two: ['websocket'] });
  const killNode = async () => {
    const node = random.pick(nodes);
    await node.kill();
    await node.start();
  };
  for (const trouble of [
    () => cluster.move('chat:{general}'),
    killNode,
    () => cluster.failOver('chat:{general}'),
    () => cluster.move('chat:{general}'),
    // Both at a time.
    () => Promise.all([cluster.failOver('chat:{general}'), killNode()]),
    () => Promise.all([cluster.move('chat:{general}'), killNode()]),
  ]) {
    await wait(random.between(300, 1_000));
    await trouble();
  }
  const { found, acknowledged } = await people.finish();
  assert.deepEqual(found.slice(0, 20), [], `seed ${SEED}: ${found.length} breaches`);
  assert.ok(acknowledged > 100, 'people did chat');
});

test('a Redis that keeps nothing and is restarted leads to a told loss for those who lost something, and for nobody else', async (t) => {
  const redis = await startRedis(t, IN_MEMORY);
  const nodes = [await startServer(t, { store: redis.url }), await startServer(t, { store: redis.url })];
  const [loses, other] = nodes.map((node) => new FullClient(t, node.url, { rooms: { general: 0 }, transports: ['websocket'] }));
  const fresh = new FullClient(t, nodes[1].url, { rooms: { quiet: 0 }, transports: ['websocket'] });
  await Promise.all([loses, other, fresh].map((client) => client.connected()));
  for (let number = 1; number <= 3; number += 1) assert.equal((await loses.postForSure(`k${number}`, number)).ok, true);
  await until(() => other.texts().length === 3, 'everybody has the messages');
  await redis.kill();
  await redis.start();
  assert.equal((await loses.postForSure('new', 'new')).ok, true);
  assert.equal((await fresh.postForSure('first', 'first', 'quiet')).ok, true);
  await until(() => loses.lost.length === 1 && other.lost.length === 1, 'both are told');
  await until(() => [loses, other].every((client) => client.texts().at(-1) === 'new') && fresh.texts('quiet').length === 1, 'and get the rest');
  assert.deepEqual(fresh.lost, []);
  assert.deepEqual([loses.lost[0].room, loses.lost[0].head], ['general', 1]);
});

test('a client is recovered by another node after its own was killed', async (t) => {
  const redis = await startRedis(t);
  const nodes = [await startServer(t, { store: redis.url }), await startServer(t, { store: redis.url })];
  const front = await startFront(t, nodes, { pick: (list) => list[0] });
  const reader = new FullClient(t, front.url, { rooms: { general: 0 }, transports: ['websocket'] });
  const poster = new FullClient(t, nodes[1].url, { rooms: { general: 0 }, transports: ['websocket'] });
  await Promise.all([reader.connected(), poster.connected()]);
  assert.equal((await poster.postForSure('1', 'before')).ok, true);
  await until(() => reader.texts().length === 1, 'the reader has it');
  const { id } = reader.socket;
  await nodes[0].kill();
  assert.equal((await poster.postForSure('2', 'meanwhile')).ok, true);
  await reader.connected();
  await until(() => reader.texts().length === 2, 'the reader has what came meanwhile');
  assert.deepEqual([reader.socket.recovered, reader.socket.id, reader.texts()], [true, id, ['before', 'meanwhile']]);
});

test('a client is recovered by another node while its own still believes in the connection that was cut, which ends there', async (t) => {
  const { nodes, ways: [way], reader, poster, move } = await startHalfOpen(t);
  const seen = await watchPeople(poster);
  const { id } = reader.socket;
  await move();
  await until(() => way.count === 0, 'the old connection is closed, long before its heartbeat would have found out');
  assert.equal((await poster.postForSure('3', 'after')).ok, true);
  await until(() => reader.texts().length === 3, 'and what comes after');
  assert.deepEqual([reader.socket.recovered, reader.socket.id, reader.texts()], [true, id, ['before', 'meanwhile', 'after']]);
  await until(async () => (await devices(poster)).Reader === 1, 'its seat there is given up', 30_000);
  assert.deepEqual(seen, [], 'nobody saw the reader go');
  const other = new FullClient(t, nodes[0].url, { rooms: { general: 0 }, transports: ['websocket'] });
  await until(() => other.texts().length === 3, 'the first node serves others');
});

test('a node that is cut off from Redis when a client is back on another one closes the old connection when it has found Redis again', async (t) => {
  const { ways: [way], redisWays: [redisWay], reader, poster, move } = await startHalfOpen(t);
  redisWay.hold();
  await move();
  assert.ok(reader.socket.recovered);
  assert.equal(way.count, 1, 'it cannot know yet');
  redisWay.cut();
  // Its heartbeat would find out later: it pings after 25 seconds, and waits for 20.
  await until(() => way.count === 0, 'the old connection is closed', 30_000);
  await until(async () => (await devices(poster)).Reader === 1, 'one seat is left', 30_000);
  assert.deepEqual([reader.socket.connected, reader.texts()], [true, ['before', 'meanwhile']]);
});

test('a session that comes back on several nodes at once belongs to one connection, and the others are told', async (t) => {
  const redis = await startRedis(t);
  const nodes = [];
  for (let number = 0; number < 3; number += 1) nodes.push(await startServer(t, { store: redis.url }));
  const ada = new FullClient(t, nodes[0].url, { name: 'Ada', rooms: { general: 0 }, transports: ['websocket'] });
  const bob = new FullClient(t, nodes[2].url, { name: 'Bob', rooms: { general: 0 }, transports: ['websocket'] });
  await Promise.all([ada.connected(), bob.connected()]);
  assert.equal((await bob.postForSure('1', 'before')).ok, true);
  await until(() => ada.texts().length === 1, 'Ada has it');
  const seen = await watchPeople(bob);
  const all = [ada.socket];
  const told = new Map();
  const twin = (node) => {
    const auth = { guest: ada.guest, name: 'Ada', rooms: {}, pid: ada.socket._pid, offset: ada.socket._lastOffset };
    const socket = io(node.url, { auth, forceNew: true, transports: ['websocket'] });
    atEnd(t, () => socket.disconnect());
    socket.on('message', ({ content }) => got.push([socket, content]));
    all.push(socket);
    return socket;
  };
  const got = [];
  const watch = (socket) => socket.on('disconnect', (reason) => told.set(socket, reason));
  watch(ada.socket);
  const second = twin(nodes[1]);
  watch(second);
  await until(() => told.has(ada.socket), 'the first connection is told');
  assert.deepEqual([told.get(ada.socket), second.connected, second.id], ['io server disconnect', true, second.id]);
  // And now two at a time, on different nodes.
  for (const node of [nodes[0], nodes[2]]) watch(twin(node));
  await until(() => told.size === 3, () => `all but one are told, not ${told.size}`);
  const [left, ...none] = all.filter((socket) => socket.connected);
  assert.ok(left && none.length === 0 && all.indexOf(left) > 1);
  assert.deepEqual([...told.values()].filter((reason) => reason !== 'io server disconnect'), []);
  assert.equal((await bob.postForSure('2', 'after')).ok, true);
  await until(() => got.some(([, content]) => content === 'after'), 'the one that is left goes on');
  await until(async () => (await devices(bob)).Ada === 1, 'one seat is left', 30_000);
  assert.deepEqual([seen, told.size, left.connected], [[], 3, true]);
});

test('a forged pid, or one of somebody else, closes no connection on another node', async (t) => {
  const redis = await startRedis(t);
  const nodes = [await startServer(t, { store: redis.url }), await startServer(t, { store: redis.url })];
  const [ada, bob] = nodes.map((node, number) => new FullClient(t, node.url, { name: ['Ada', 'Bob'][number], rooms: { general: 0 }, transports: ['websocket'] }));
  await Promise.all([ada.connected(), bob.connected()]);
  const pid = ada.socket._pid;
  const forged = pid.slice(0, 40) + (pid[40] === 'A' ? 'B' : 'A') + pid.slice(41);
  const told = [];
  ada.socket.on('disconnect', (reason) => told.push(reason));
  for (const auth of [{ guest: ada.guest, pid: forged }, { guest: bob.guest, pid }, { pid }]) {
    const socket = io(nodes[1].url, { auth: { rooms: { general: 0 }, ...auth }, forceNew: true, transports: ['websocket'] });
    atEnd(t, () => socket.disconnect());
    await until(() => socket.connected, 'it is let in');
    assert.ok(!socket.recovered && socket.id !== ada.socket.id);
  }
  // What had been told of them would have come before this.
  assert.equal((await bob.postForSure('1', 'still here')).ok, true);
  await until(() => ada.texts().length === 1, 'Ada goes on');
  assert.deepEqual([told, ada.socket.connected], [[], true]);
});

test('presence, typing and a private message reach people on another node', async (t) => {
  const redis = await startRedis(t);
  const nodes = [];
  for (let number = 0; number < 2; number += 1) nodes.push(await startServer(t, { store: redis.url }));
  const [ada, bob] = nodes.map((node, number) => new FullClient(t, node.url, { name: ['Ada', 'Bob'][number], rooms: { general: 0 }, transports: ['websocket'] }));
  const seen = [];
  ada.socket.on('presence_reset', (told) => seen.push(...(told.online ?? []).map(({ name }) => name)));
  ada.socket.on('presence', ({ user, online }) => online && seen.push(user.name));
  await Promise.all([ada.connected(), bob.connected()]);
  await until(() => seen.includes('Bob'), 'Ada sees Bob, who is on the other node');
  const typing = [];
  bob.socket.on('typing', ({ user }) => typing.push(user.name));
  await until(async () => {
    await ada.ask('typing', { room: 'general', typing: true });
    return typing.includes('Ada');
  }, 'Bob sees Ada type');
  const { members } = await ada.ask('members', { room: 'general' });
  const { id } = members.find(({ name }) => name === 'Bob');
  const { room } = await ada.ask('direct', { user: id });
  assert.equal((await ada.join(room)).ok, true);
  assert.equal((await ada.postForSure('secret', 'for Bob', room)).ok, true);
  await until(() => bob.texts(room).length === 1, 'it comes to Bob without his asking');
});

test('who is kicked or banned on one node is out on the other one at once, and who is banned is not let in by it', async (t) => {
  const redis = await startRedis(t);
  const folder = mkdtempSync(join(tmpdir(), 'chat-rules-test-'));
  atEnd(t, () => rmSync(folder, { recursive: true, force: true }));
  const rules = join(folder, 'rules.toml');
  const everyone = '[[rule]]\nroom = "*"\nwho = "everyone"\nallow = ["join", "read", "post", "members"]\n';
  writeFileSync(rules, everyone);
  const nodes = [];
  for (let number = 0; number < 2; number += 1) nodes.push(await startServer(t, { store: redis.url, args: ['--rules', rules] }));
  const [ada, eve] = nodes.map((node) => new FullClient(t, node.url, { rooms: { general: 0 }, transports: ['websocket'] }));
  await Promise.all([ada.connected(), eve.connected()]);
  const { user: moderator } = await ada.ask('rooms', {});
  const { user: banned } = await eve.ask('rooms', {});
  writeFileSync(rules, `[[rule]]\nroom = "general"\nwho = "user:${moderator.id}"\nallow = ["join", "read", "post", "members", "manage"]\n\n${everyone}`);
  for (const node of nodes) node.signal('SIGHUP');
  const removed = [];
  eve.socket.on('removed', (told) => removed.push(told));
  await until(async () => (await ada.ask('kick', { room: 'general', user: banned.id })).ok, 'Ada may kick by the new rules');
  await until(() => removed.length === 1, 'Eve is told');
  assert.equal((await eve.join()).ok, true);
  assert.equal((await ada.ask('ban', { room: 'general', user: banned.id, reason: 'spam' })).ok, true);
  await until(() => removed.length === 2, 'Eve is told again');
  assert.deepEqual(removed.map(({ room, reason }) => [room, reason]), [['general', 'kicked'], ['general', 'banned']]);
  assert.equal((await ada.postForSure('after', 'not for Eve')).ok, true);
  assert.equal((await eve.join()).error.code, 'forbidden');
  const back = new FullClient(t, nodes[1].url, { guest: eve.guest, rooms: { general: 0 }, transports: ['websocket'], autoConnect: false });
  const refused = new Promise((done) => { back.socket.once('connect_error', done); });
  back.socket.connect();
  assert.equal((await refused).data.code, 'forbidden');
  assert.deepEqual(eve.texts(), []);
});

test('an encrypted connection to Redis works, and only to one whose certificate is trusted', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'chat-tls-test-'));
  atEnd(t, () => rmSync(folder, { recursive: true, force: true }));
  const at = (name) => join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });
  const key = (name) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at(`${name}.key`), '-subj', `/CN=${name}`];
  openssl('req', '-x509', ...key('ca'), '-out', at('ca.pem'), '-days', '2');
  openssl('req', ...key('redis'), '-out', at('redis.csr'));
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost\n');
  openssl('x509', '-req', '-in', at('redis.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at('names'), '-out', at('redis.pem'), '-days', '2');
  const port = await freePort();
  const redis = await startRedis(t, [...IN_MEMORY, '--tls-port', String(port), '--tls-cert-file', at('redis.pem'), '--tls-key-file', at('redis.key'), '--tls-ca-cert-file', at('ca.pem'), '--tls-auth-clients', 'no']);
  assert.ok(redis.port !== port);
  const store = `rediss://localhost:${port}`;
  const server = await startServer(t, { store, env: { SSL_CERT_FILE: at('ca.pem') } });
  const client = new FullClient(t, server.url, { rooms: { general: 0 }, transports: ['websocket'] });
  await client.connected();
  assert.equal((await client.postForSure('1', 'encrypted')).ok, true);
  await until(() => client.texts().length === 1, 'it comes back');
  await assert.rejects(startServer(t, { store }), /the server ended[\s\S]*Redis cannot be reached/);
});

/** A reader on the first of two nodes, over ways that can fail; `move` has its connection torn there and lets it come back on the second one. */
async function startHalfOpen(t) {
  const redis = await startRedis(t);
  const redisWays = await Promise.all([1, 2].map(() => startProxy(t, redis.port)));
  const nodes = [];
  for (const way of redisWays) nodes.push(await startServer(t, { store: way.url.replace('http:', 'redis:') }));
  const way = await startProxy(t, Number(new URL(nodes[0].url).port));
  let node = way;
  const front = await startFront(t, nodes, { pick: () => node });
  const reader = new FullClient(t, front.url, { name: 'Reader', rooms: { general: 0 }, transports: ['websocket'] });
  const poster = new FullClient(t, nodes[1].url, { name: 'Poster', rooms: { general: 0 }, transports: ['websocket'] });
  await Promise.all([reader.connected(), poster.connected()]);
  assert.equal((await poster.postForSure('1', 'before')).ok, true);
  await until(() => reader.texts().length === 1, 'the reader has it');
  const move = async () => {
    node = nodes[1];
    way.tear();
    front.cut();
    assert.equal((await poster.postForSure('2', 'meanwhile')).ok, true);
    await until(() => reader.texts().length === 2, 'the reader has what came meanwhile');
  };
  return { nodes, ways: [way], redisWays, reader, poster, move };
}

/** What somebody is told of another one who goes, from when that one is there. */
async function watchPeople(client) {
  await until(async () => Object.keys(await devices(client)).length === 2, 'both are there');
  const seen = [];
  // That it has come may be told as late as this.
  client.socket.on('presence', (told) => { if (!told.online) seen.push(told); });
  client.socket.on('presence_reset', (told) => { if (told.online?.length !== 2) seen.push(told); });
  return seen;
}

/** On how many connections everybody is, by name. */
async function devices(client) {
  const { members } = await client.ask('members', { room: 'general' });
  return Object.fromEntries(members.map(({ name, devices }) => [name, devices]));
}

/** What a load balancer does without sticky sessions: each connection goes to some node that is there. */
async function startFront(t, nodes, random) {
  const clients = new Set();
  const server = createServer({ noDelay: true }, (client) => {
    clients.add(client);
    client.on('error', () => {});
    client.on('close', () => clients.delete(client));
    attempt(client, nodes);
  });
  const attempt = (client, left) => {
    if (left.length === 0) return client.destroy();
    const node = random.pick(left);
    const upstream = connect({ port: Number(new URL(node.url).port), host: '127.0.0.1', noDelay: true });
    upstream.once('connect', () => {
      client.pipe(upstream).pipe(client);
      client.on('close', () => upstream.destroy());
      upstream.on('close', () => client.destroy());
      upstream.on('error', () => client.destroy());
    });
    upstream.once('error', () => { if (upstream.pending) attempt(client, left.filter((other) => other !== node)); });
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const front = {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() { for (const client of clients) client.destroy(); },
  };
  atEnd(t, () => { front.cut(); server.close(); });
  return front;
}

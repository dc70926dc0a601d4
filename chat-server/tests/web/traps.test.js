// The traps of the tutorial's own server: what it loses, swallows or dies of, and this server does not.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';

import { FullClient } from './support/full.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { tutorialClient } from './support/tutorial.js';
import { until, within } from './support/until.js';

/** Emits with an ack, past the library's `retries`, and returns the answer. */
function askOnce(socket, ...message) {
  return within(new Promise((done) => socket.emit(...message, done)), 'the server answers');
}

test('two clients that type offline both make `undefined-0`, and both messages are stored', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [1, 2].map(() => tutorialClient(t, server.url, { autoConnect: false }));
  assert.equal(ada.send('from ada'), 'undefined-0');
  assert.equal(bob.send('from bob'), 'undefined-0');
  ada.socket.connect();
  bob.socket.connect();
  await until(() => ada.seen.length === 2 && bob.seen.length === 2, 'both have both');
  assert.deepEqual(ada.contents().sort(), ['from ada', 'from bob']);
});

test('two tabs of one guest that type offline both make `undefined-0`, and both messages are stored', async (t) => {
  const server = await startServer(t);
  const guest = randomBytes(16).toString('hex');
  const tabs = [1, 2].map(() => tutorialClient(t, server.url, { autoConnect: false, auth: { guest } }));
  tabs.forEach(({ send }, number) => send(`from tab ${number}`));
  tabs.forEach(({ socket }) => socket.connect());
  await until(() => tabs.every(({ seen }) => seen.length === 2), 'both have both');
  assert.deepEqual(tabs[0].contents().sort(), ['from tab 0', 'from tab 1']);
});

test('the same id with another text is refused, not swallowed', async (t) => {
  const server = await startServer(t);
  const { socket, seen } = tutorialClient(t, server.url, { retries: 0, ackTimeout: undefined });
  assert.equal((await askOnce(socket, 'chat message', 'one', 'key')).ok, true);
  const refused = await askOnce(socket, 'chat message', 'other', 'key');
  assert.deepEqual({ ...refused, error: { ...refused.error, message: undefined } }, { ok: false, error: { code: 'conflict', message: undefined, retryable: false } });
  assert.equal((await askOnce(socket, 'chat message', 'one', 'key')).ok, true, 'a repeat is still answered');
  assert.equal((await askOnce(socket, 'chat message', 'last', 'key-2')).ok, true);
  await until(() => seen.length === 2, 'the two that were taken are shown');
  assert.deepEqual(seen.map(({ content }) => content), ['one', 'last']);
});

for (const [what, serverOffset] of Object.entries({ negative: -5, 'a float': 1.5, 'an object': { $gt: 0 }, 'an array': [1], text: 'x', null: null, huge: 1e300 })) {
  test(`a serverOffset that is ${what} counts as absent`, async (t) => {
    const server = await startServer(t, { store: 'memory:' });
    const ada = tutorialClient(t, server.url);
    ['one', 'two'].forEach(ada.send);
    await until(() => ada.seen.length === 2, 'they are stored');
    const bob = tutorialClient(t, server.url, { auth: { serverOffset } });
    await until(() => bob.seen.length === 2, 'everything is sent');
    assert.deepEqual(bob.contents(), ['one', 'two']);
  });
}

test('a serverOffset written as a decimal string is one', async (t) => {
  const server = await startServer(t, { store: 'memory:' });
  const ada = tutorialClient(t, server.url);
  ['one', 'two', 'three'].forEach(ada.send);
  await until(() => ada.seen.length === 3, 'they are stored');
  const bob = tutorialClient(t, server.url, { auth: { serverOffset: '2' } });
  await until(() => bob.seen.length === 1, 'the rest is sent');
  assert.deepEqual(bob.seen, [{ content: 'three', serverOffset: 3 }]);
});

test('a serverOffset above the head is told, not hidden', async (t) => {
  const server = await startServer(t, { store: 'memory:' });
  const ada = tutorialClient(t, server.url);
  ['one', 'two'].forEach(ada.send);
  await until(() => ada.seen.length === 2, 'they are stored');
  const bob = tutorialClient(t, server.url, { auth: { serverOffset: 1_000 }, autoConnect: false });
  const lost = [];
  bob.socket.on('history_lost', ({ room, oldest, head }) => lost.push({ room, oldest, head }));
  bob.socket.connect();
  await until(() => bob.seen.length === 2, 'what there is, is sent');
  assert.deepEqual(lost, [{ room: 'general', oldest: 1, head: 2 }]);
  ada.send('three');
  await until(() => bob.seen.length === 3, 'and what comes');
});

test('a replaced database is told to those who resume, with what the new one has', async (t) => {
  const server = await startServer(t);
  const reader = new FullClient(t, server.url, { rooms: { general: 0 } });
  const [early, late] = [1, 2].map(() => {
    const client = tutorialClient(t, server.url);
    client.lost = [];
    client.socket.on('history_lost', ({ room, oldest, head }) => client.lost.push({ room, oldest, head }));
    return client;
  });
  for (const number of [1, 2, 3]) await reader.postForSure(`old ${number}`, `old ${number}`);
  await until(() => reader.messages().length === 3 && early.seen.length === 3 && late.seen.length === 3, 'they are read');
  for (const { socket } of [early, late]) socket.disconnect();

  await server.kill();
  for (const suffix of ['', '-wal', '-shm']) rmSync(server.database + suffix, { force: true });
  await server.start();
  const writer = new FullClient(t, server.url);
  await writer.connected();
  await writer.join();
  for (const number of [1, 2]) await writer.postForSure(`new ${number}`, `new ${number}`);
  // A bare number can be checked against what is there only: 3 is beyond it now, and not any more when there is as much as before.
  early.socket.connect();
  await until(() => early.seen.length === 5, 'what there is, is sent');
  assert.deepEqual(early.lost, [{ room: 'general', oldest: 1, head: 2 }]);
  for (const number of [3, 4]) await writer.postForSure(`new ${number}`, `new ${number}`);
  late.socket.connect();
  await until(() => late.seen.length === 4 && early.seen.length === 7, 'both go on');
  assert.deepEqual(early.contents().slice(3), ['new 1', 'new 2', 'new 3', 'new 4']);
  assert.deepEqual({ seen: late.contents().slice(3), lost: late.lost }, { seen: ['new 4'], lost: [] });
  // A position is known by more than its number.
  await until(() => reader.texts().includes('new 4'), 'the reader has the new messages');
  assert.equal(reader.lost.length, 1);
  assert.deepEqual(reader.texts().slice(reader.lost[0].after), ['new 1', 'new 2', 'new 3', 'new 4']);
});

test('a chat message without ack, with odd arguments or with binary content hurts nobody', async (t) => {
  const server = await startServer(t);
  const reader = tutorialClient(t, server.url);
  const { socket } = tutorialClient(t, server.url, { retries: 0, ackTimeout: undefined });
  await until(() => socket.connected && reader.socket.connected, 'both are connected');
  const taken = [
    [null],
    ['text only'],
    ['null for an id', null],
    ['number for an id', 7],
    ['object for an id', { id: 1 }],
    ['extra arguments', 'id-1', 1, 2, 3],
    ['string for an ack', 'id-2', 'not a function'],
    [{ deep: [[[[{ object: true }]]]] }, 'id-3'],
    [42, 'id-4'],
    [null, 'id-5'],
    [Buffer.from([1, 2, 3]), 'id-6'],
    [{ mixed: Buffer.from([4, 5]), text: 'and text' }, 'id-7'],
  ];
  const ignored = [
    [],
    ['empty id', ''],
    ['very long id', 'x'.repeat(10_000)],
    [{ _placeholder: true, num: 7 }, 'id-8'],
  ];
  // In turn, so that what is ignored comes between what is not.
  for (const [index, message] of taken.entries()) {
    for (const sent of [message, ignored[index] ?? []]) socket.emit('chat message', ...sent);
  }
  assert.equal((await askOnce(socket, 'chat message', 'still there', 'last')).ok, true);
  await until(() => reader.contents().includes('still there'), 'the last is shown');
  assert.deepEqual(reader.contents(), [...taken.map(([content]) => content), 'still there']);
  assert.deepEqual(reader.seen.map(({ serverOffset }) => serverOffset), reader.seen.map((_, index) => index + 1));
  assert.ok(socket.connected && reader.socket.connected);
});

test('30 clients that upgrade from polling while others post see everything once and in order', async (t) => {
  const server = await startServer(t);
  const posters = [1, 2, 3].map(() => new FullClient(t, server.url));
  await Promise.all(posters.map(async (poster) => { await poster.connected(); await poster.join(); }));
  let posting = true;
  let count = 0;
  const work = posters.map(async (poster, who) => {
    for (let number = 0; posting; number += 1) {
      await poster.postForSure(`${who} ${number}`, `${who}: ${number}`);
      count += 1;
    }
  });
  const transports = ['polling', 'websocket'];
  const simple = Array.from({ length: 15 }, () => tutorialClient(t, server.url, { transports }));
  const full = Array.from({ length: 15 }, () => new FullClient(t, server.url, { transports, rooms: { general: 0 } }));
  const sockets = [...simple, ...full].map(({ socket }) => socket);
  await until(() => sockets.every(({ io }) => io.engine?.transport?.name === 'websocket'), 'all have upgraded', 60_000);
  const atUpgrade = count;
  await until(() => count > atUpgrade + 50, 'some more is posted');
  posting = false;
  await Promise.all(work);
  await until(() => simple.every(({ seen }) => seen.length >= count) && full.every((client) => client.messages().length >= count), 'all have all', 30_000);
  const expected = Array.from({ length: count }, (_, index) => index + 1);
  for (const { seen } of simple) assert.deepEqual(seen.map(({ serverOffset }) => serverOffset), expected);
  for (const client of full) assert.deepEqual(client.offsets(), expected);
});

test('a first visit to a long history is sent all of it in order, and the server stays small', { timeout: 120_000 }, async (t) => {
  const server = await startServer(t);
  const writer = new FullClient(t, server.url);
  await writer.connected();
  await writer.join();
  const [total, together] = [5_000, 100];
  const filler = 'x'.repeat(4_000);
  for (let first = 0; first < total; first += together) {
    await Promise.all(Array.from({ length: together }, (_, index) => writer.postForSure(`${first + index}`, `${first + index} ${filler}`)));
  }
  const before = residentBytes(server.pid);
  const visitors = Array.from({ length: 20 }, () => tutorialClient(t, server.url));
  let peak = before;
  await until(() => {
    peak = Math.max(peak, residentBytes(server.pid));
    return visitors.every(({ seen }) => seen.length >= total);
  }, 'everybody has everything', 90_000);
  for (const { seen } of visitors) assert.deepEqual(seen.map(({ serverOffset }) => serverOffset), Array.from({ length: total }, (_, index) => index + 1));
  // 20 visitors were sent 400 MB; what the server holds for them does not grow with it.
  assert.ok(peak - before < 64 * 1024 * 1024, `it grew by ${(peak - before) / 1024 / 1024} MB`);
});

for (const transport of ['websocket', 'polling']) {
  test(`cut again and again while others post, a client on ${transport} misses and repeats nothing`, { timeout: 120_000 }, async (t) => {
    const server = await startServer(t);
    const writer = new FullClient(t, server.url);
    await writer.connected();
    await writer.join();
    let posting = true;
    let count = 0;
    const work = Promise.all([1, 2, 3, 4].map(async (who) => {
      while (posting) {
        const number = count += 1;
        await writer.postForSure(`${number}`, `${who}: ${number}`);
      }
    }));
    const quick = { transports: [transport], reconnectionDelay: 1, reconnectionDelayMax: 20, randomizationFactor: 0 };
    const full = new FullClient(t, server.url, { rooms: { general: 0 }, ...quick });
    const simple = tutorialClient(t, server.url, quick);
    const last = () => [full.messages().length, simple.seen.length];
    for (let round = 0; round < 40; round += 1) {
      // In turn: cut while live, in the middle of the replay, and before the first message of the replay has come.
      const wanted = [10, 1, 0][round % 3];
      const [wasFull, wasSimple] = last();
      await until(() => full.socket.connected && simple.socket.connected && full.messages().length >= wasFull + wanted && simple.seen.length >= wasSimple + wanted, 'both are back and reading');
      full.cut();
      simple.socket.io.engine.close();
      await until(() => !full.socket.connected && !simple.socket.connected, 'the cut is noticed');
    }
    posting = false;
    await work;
    await until(() => full.messages().length >= count && simple.seen.length >= count, 'both have all', 30_000);
    const expected = Array.from({ length: count }, (_, index) => index + 1);
    assert.deepEqual(full.offsets(), expected);
    assert.deepEqual(simple.seen.map(({ serverOffset }) => serverOffset), expected);
    assert.deepEqual(full.lost, []);
  });
}

/** What the process holds in memory, in bytes. */
function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
}

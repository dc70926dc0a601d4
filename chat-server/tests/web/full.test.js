// The full protocol, request by request, with the official client.

import assert from 'node:assert/strict';

import { FullClient } from './support/full.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { tutorialClient } from './support/tutorial.js';
import { until } from './support/until.js';

async function inRoom(t, server, from, options) {
  const client = new FullClient(t, server.url, options);
  await client.connected();
  const reply = await client.join('general', from);
  assert.equal(reply.ok, true, JSON.stringify(reply));
  return client;
}

async function write(client, count, room = 'general') {
  for (let number = 1; number <= count; number += 1) {
    const reply = await client.post(`${room} ${number}`, { text: `message ${number}` }, room);
    assert.equal(reply.ok, true, JSON.stringify(reply));
  }
}

test('a post is answered with its place, and everybody in the room is sent it with author, id and time', async (t) => {
  const server = await startServer(t);
  const ada = await inRoom(t, server, {}, { name: 'Ada' });
  const bob = await inRoom(t, server, {});
  const before = Date.now();
  const reply = await ada.post('key-1', { text: 'hello' });
  const { ok, offset, pos, at, duplicate } = reply;
  assert.deepEqual({ ok, offset, duplicate }, { ok: true, offset: 1, duplicate: false });
  assert.ok(pos && Math.abs(at - before) < 60_000, JSON.stringify(reply));
  for (const client of [ada, bob]) {
    await until(() => client.messages().length === 1, 'the message has come');
    const [message] = client.messages();
    assert.equal(message.from.name, 'Ada');
    assert.match(message.from.id, /^guest:/);
    assert.deepEqual({ ...message, from: undefined }, { room: 'general', offset: 1, pos, id: 'key-1', from: undefined, content: { text: 'hello' }, at });
  }
});

test('a repeat is answered with the first one\'s place and shown once', async (t) => {
  const server = await startServer(t);
  const ada = await inRoom(t, server, {});
  const first = await ada.post('key', 'hello');
  const again = await ada.post('key', 'hello');
  assert.deepEqual({ ...again, duplicate: false }, first);
  assert.equal(again.duplicate, true);
  await ada.post('key-2', 'next');
  await until(() => ada.messages().length === 2, 'both have come');
  assert.deepEqual(ada.texts(), ['hello', 'next']);
});

test('the same guest is the same author on another connection', async (t) => {
  const server = await startServer(t);
  const ada = await inRoom(t, server, {});
  await ada.post('key', 'hello');
  const phone = await inRoom(t, server, {}, { guest: ada.guest });
  assert.equal((await phone.post('key', 'hello')).duplicate, true);
  const bob = await inRoom(t, server, {});
  assert.equal((await bob.post('key', 'hello')).duplicate, false, 'another guest has ids of their own');
});

test('the same id with another content is a conflict', async (t) => {
  const server = await startServer(t);
  const ada = await inRoom(t, server, {});
  await ada.post('key', { text: 'one' });
  const reply = await ada.post('key', { text: 'two' });
  assert.equal(reply.ok, false);
  assert.equal(reply.error.code, 'conflict');
  assert.equal(reply.error.retryable, false);
});

test('join begins after a position, with the newest few, or with what comes', async (t) => {
  const server = await startServer(t);
  const writer = await inRoom(t, server, {});
  await write(writer, 10);
  await until(() => writer.messages().length === 10, 'they are stored');
  const after = await inRoom(t, server, { after: 7 });
  await until(() => after.messages().length === 3, 'three come');
  assert.deepEqual(after.offsets(), [8, 9, 10]);
  const byPosition = await inRoom(t, server, { after: writer.messages()[5].pos });
  await until(() => byPosition.messages().length === 4, 'four come');
  const newest = await inRoom(t, server, { last: 2 });
  await until(() => newest.messages().length === 2, 'two come');
  const live = await inRoom(t, server, {});
  await writer.post('next', 'next');
  for (const client of [after, byPosition, newest, live]) await until(() => client.offsets().at(-1) === 11, 'the next comes');
  assert.deepEqual(newest.offsets(), [9, 10, 11]);
  assert.deepEqual(live.offsets(), [11]);
});

test('the answer to join comes before the room\'s messages', async (t) => {
  const server = await startServer(t);
  const writer = await inRoom(t, server, {});
  await write(writer, 20);
  const reader = new FullClient(t, server.url);
  await reader.connected();
  let before;
  await new Promise((done) => reader.socket.emit('join', { room: 'general', after: 0 }, (reply) => {
    before = reader.messages().length;
    done(reply);
  }));
  assert.equal(before, 0);
  await until(() => reader.messages().length === 20, 'all come');
});

test('leave ends the messages of that room only', async (t) => {
  const server = await startServer(t);
  const [reader, writer] = [await inRoom(t, server, {}), await inRoom(t, server, {})];
  for (const client of [reader, writer]) assert.equal((await client.join('garden')).ok, true);
  assert.equal((await reader.ask('leave', { room: 'general' })).ok, true);
  // There is no order between rooms: that one message of a room has not come yet says little, that none of several has come says it.
  for (let round = 1; round <= 5; round += 1) {
    assert.equal((await writer.post(`${round}`, 'unheard')).ok, true);
    assert.equal((await writer.post(`${round}`, 'heard', 'garden')).ok, true);
    await until(() => reader.messages('garden').length === round && writer.messages().length === round, 'who is there hears it');
  }
  assert.deepEqual(reader.texts(), []);
  assert.equal((await reader.post('from outside', 'from outside')).error.code, 'not_joined');
});

test('history is read backward page by page', async (t) => {
  const server = await startServer(t);
  const client = await inRoom(t, server, {});
  await write(client, 25);
  const pages = [];
  let before;
  do {
    const reply = await client.ask('history', { room: 'general', limit: 10, before });
    assert.equal(reply.ok, true, JSON.stringify(reply));
    assert.deepEqual({ oldest: reply.oldest, head: reply.head }, { oldest: 1, head: 25 });
    pages.push(reply.messages.map(({ offset }) => offset));
    before = reply.messages[0].offset;
  } while (before > 1);
  const run = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  assert.deepEqual(pages, [run(16, 25), run(6, 15), run(1, 5)]);
});

test('who is in no room is told so', async (t) => {
  const server = await startServer(t);
  const client = new FullClient(t, server.url);
  await client.connected();
  const reply = await client.post('key', 'hello');
  assert.equal(reply.ok, false);
  assert.equal(reply.error.code, 'not_joined');
});

const BAD = {
  'join without a room': ['join', {}],
  'join with a number for a room': ['join', { room: 5 }],
  'join with an empty room': ['join', { room: '' }],
  'join with too long a room': ['join', { room: 'x'.repeat(129) }],
  'join with a control character in the room': ['join', { room: 'a\u0000b' }],
  'join with text for a position': ['join', { room: 'garden', after: 'nonsense' }],
  'join with a negative last': ['join', { room: 'garden', last: -1 }],
  'join with a list': ['join', [1]],
  'post without an id': ['post', { room: 'general', content: 'x' }],
  'post with an empty id': ['post', { room: 'general', id: '', content: 'x' }],
  'post with too long an id': ['post', { room: 'general', id: 'x'.repeat(129), content: 'x' }],
  'post without content': ['post', { room: 'general', id: 'k' }],
  'history with a limit of zero': ['history', { room: 'general', limit: 0 }],
  'history with text for before': ['history', { room: 'general', before: 'x' }],
  'leave with nothing': ['leave', null],
};

test('bad requests are answered as bad requests, and the connection lives on', async (t) => {
  const server = await startServer(t);
  const client = await inRoom(t, server, {});
  for (const [what, [event, request]] of Object.entries(BAD)) {
    const reply = await client.ask(event, request);
    assert.equal(reply.ok, false, what);
    assert.equal(reply.error.code, 'bad_request', what);
    assert.equal(reply.error.retryable, false, what);
    assert.ok(reply.error.message.length > 0, what);
  }
  assert.equal((await client.post('key', 'hello')).ok, true);
});

test('content that is too large is refused, and the largest is not', async (t) => {
  const server = await startServer(t);
  const client = await inRoom(t, server, {});
  const reply = await client.post('large', 'x'.repeat(65 * 1024));
  assert.equal(reply.error?.code, 'too_large');
  assert.equal(reply.error.retryable, false);
  assert.equal((await client.post('fits', 'x'.repeat(64 * 1024 - 2))).ok, true);
});

test('a resume from a place that is not there any more is told, and goes on with what there is', async (t) => {
  const server = await startServer(t);
  const writer = await inRoom(t, server, {});
  await write(writer, 3);
  const reader = new FullClient(t, server.url, { rooms: { general: 50 } });
  await until(() => reader.messages().length === 3, 'what there is comes');
  assert.equal(reader.lost.length, 1);
  const { room, oldest, head, after } = reader.lost[0];
  assert.deepEqual({ room, oldest, head, after }, { room: 'general', oldest: 1, head: 3, after: 0 });
  assert.deepEqual(reader.offsets(), [1, 2, 3]);
});

test('tutorial and full clients share a room', async (t) => {
  const server = await startServer(t);
  const simple = tutorialClient(t, server.url);
  const full = await inRoom(t, server, { after: 0 });
  simple.send('plain');
  await until(() => full.messages().length === 1 && simple.seen.length === 1, 'both have it');
  await full.post('key', { text: 'rich' });
  await until(() => full.messages().length === 2 && simple.seen.length === 2, 'both have both');
  assert.deepEqual(simple.contents(), full.texts());
});

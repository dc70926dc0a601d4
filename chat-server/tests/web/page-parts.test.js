// The parts of the page that decide, without a page: the outbox and the timeline.

import assert from 'node:assert/strict';

import { guestSecret } from '../../page/client/guest.js';
import { textOf } from '../../page/view/list.js';
import { Outbox, randomId } from '../../page/client/outbox.js';
import { Timeline } from '../../page/client/timeline.js';

import { test } from './support/testing.js';

/** A browser's storage; `full` makes it refuse to keep more. */
class Storage {
  full = false;
  #items = new Map();
  get length() { return this.#items.size; }
  key(index) { return [...this.#items.keys()][index] ?? null; }
  getItem(key) { return this.#items.get(key) ?? null; }
  removeItem(key) { this.#items.delete(key); }
  setItem(key, value) {
    if (this.full) throw new Error('the quota is used up');
    this.#items.set(key, String(value));
  }
}

const texts = (outbox) => outbox.all().map(({ content }) => content.text);

test('drafts survive a reload in the order in which they were written', () => {
  const storage = new Storage();
  const before = new Outbox(storage);
  for (const text of ['one', 'two', 'three']) before.add({ text });
  const after = new Outbox(storage);
  assert.deepEqual(texts(after), ['one', 'two', 'three']);
  assert.deepEqual(after.all(), before.all());
});

test('tabs do not write over one another', () => {
  const storage = new Storage();
  const [left, right] = [new Outbox(storage), new Outbox(storage)];
  const one = left.add({ text: 'left' });
  right.add({ text: 'right' });
  left.remove(one.id);
  assert.deepEqual(texts(new Outbox(storage)), ['right']);
});

test('two tabs, and two drafts of one tab, never share an id', () => {
  const storage = new Storage();
  const outboxes = [new Outbox(storage), new Outbox(storage)];
  const ids = Array.from({ length: 2_000 }, (_, index) => outboxes[index % 2].add({ text: 'same' }).id);
  assert.equal(new Set(ids).size, ids.length);
});

test('ids are random where the page is not in a secure context', (t) => {
  Object.defineProperty(crypto, 'randomUUID', { value: undefined, configurable: true });
  t.after(() => delete crypto.randomUUID);
  const ids = Array.from({ length: 100 }, randomId);
  assert.equal(new Set(ids).size, 100);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test('a draft that another tab has brought to its end is not sent from here', () => {
  const storage = new Storage();
  const left = new Outbox(storage);
  const draft = left.add({ text: 'one' });
  const right = new Outbox(storage);
  left.remove(draft.id);
  assert.equal(right.follow({ key: `chat.draft.${draft.id}`, newValue: null }), draft.id);
  assert.equal(right.next(), undefined);
});

test('what a closed tab has left is gathered once', () => {
  const storage = new Storage();
  const open = new Outbox(storage);
  const closed = new Outbox(storage);
  closed.add({ text: 'left behind' });
  assert.deepEqual(open.gather().map(({ content }) => content.text), ['left behind']);
  assert.deepEqual(open.gather(), []);
});

test('a refused draft waits for its author, also after a reload, and keeps its id when it is tried again', () => {
  const storage = new Storage();
  const outbox = new Outbox(storage);
  const draft = outbox.add({ text: 'one' });
  outbox.fail(draft.id, { code: 'forbidden', message: 'not here' });
  assert.equal(outbox.next(), undefined);
  const later = new Outbox(storage);
  assert.equal(later.next(), undefined);
  assert.equal(later.retry(draft.id).id, draft.id);
  assert.equal(later.next().id, draft.id);
});

test('a draft whose id is taken by another message is tried again under another id', () => {
  const storage = new Storage();
  const outbox = new Outbox(storage);
  const draft = outbox.add({ text: 'one' });
  outbox.fail(draft.id, { code: 'conflict', message: 'taken' });
  const again = outbox.retry(draft.id);
  assert.notEqual(again.id, draft.id);
  assert.deepEqual(again.content, draft.content);
  assert.deepEqual(new Outbox(storage).all(), [again]);
});

test('a full storage costs the draft its life after the page, and the page knows', () => {
  const storage = new Storage();
  const outbox = new Outbox(storage);
  assert.equal(outbox.durable, true);
  storage.full = true;
  outbox.add({ text: 'one' });
  assert.equal(outbox.durable, false);
  assert.deepEqual(texts(outbox), ['one']);
});

test('damaged entries in the storage are left alone', () => {
  const storage = new Storage();
  storage.setItem('chat.draft.a', '{"id":');
  storage.setItem('chat.draft.b', '{"id":"c","content":1,"written":1}');
  storage.setItem('chat.draft.d', 'null');
  storage.setItem('other', '{}');
  const outbox = new Outbox(storage);
  outbox.add({ text: 'one' });
  assert.deepEqual(texts(outbox), ['one']);
  assert.equal(storage.length, 5);
});

test('a browser is the same guest on every visit', async () => {
  const storage = new Storage();
  const secret = await guestSecret(storage);
  assert.ok(secret.length >= 32 && secret.length <= 128);
  assert.equal(await guestSecret(storage), secret);
  assert.notEqual(await guestSecret(new Storage()), secret);
});

test('a kept secret that the server would refuse is replaced', async () => {
  const storage = new Storage();
  // Sixteen halves of eight characters.
  storage.setItem('chat.guest', '😀'.repeat(8));
  const secret = await guestSecret(storage);
  assert.ok(secret.length >= 32, secret);
  assert.equal(storage.getItem('chat.guest'), secret);
});

test('content that is no text is shown as what it is', () => {
  const bytes = new Uint8Array([1, 2, 3]).buffer;
  for (const [content, shown] of [['plain', 'plain'], [{ text: 'hi', more: 1 }, 'hi'], [42, '42'], [bytes, '(3 bytes)'], [{ file: bytes }, '{"file":"(3 bytes)"}']]) {
    assert.equal(textOf(content), shown);
  }
});

const at = (offset) => ({ offset, pos: `p${offset}` });

test('messages are applied once and in order', () => {
  const timeline = new Timeline();
  assert.deepEqual([5, 6, 6, 5, 7].map((offset) => timeline.take(at(offset))), ['show', 'show', 'skip', 'skip', 'show']);
  assert.equal(timeline.position, 'p7');
});

test('a hole is asked for once, and nothing behind it is shown before it is filled', () => {
  const timeline = new Timeline();
  timeline.take(at(1));
  assert.deepEqual([3, 4].map((offset) => timeline.take(at(offset))), ['hole', 'skip']);
  assert.equal(timeline.position, 'p1');
  timeline.rejoined();
  assert.deepEqual([2, 3, 4].map((offset) => timeline.take(at(offset))), ['show', 'show', 'show']);
});

test('a hole that the server does not fill is the server\'s last word', () => {
  const timeline = new Timeline();
  timeline.take(at(1));
  assert.equal(timeline.take(at(3)), 'hole');
  timeline.rejoined();
  assert.deepEqual([3, 4].map((offset) => timeline.take(at(offset))), ['show', 'show']);
  assert.equal(timeline.take(at(6)), 'hole', 'the next hole is asked for again');
});

test('a cut while a hole is being filled asks again', () => {
  const timeline = new Timeline();
  timeline.take(at(1));
  assert.equal(timeline.take(at(3)), 'hole');
  timeline.reconnected();
  assert.equal(timeline.take(at(3)), 'hole');
});

test('after lost history the next message is the first', () => {
  const timeline = new Timeline();
  timeline.take(at(9));
  timeline.restart();
  assert.equal(timeline.position, undefined);
  assert.deepEqual([4, 5].map((offset) => timeline.take(at(offset))), ['show', 'show']);
});

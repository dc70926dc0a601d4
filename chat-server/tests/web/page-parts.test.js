// The parts of the page that decide, without a page.

import assert from 'node:assert/strict';

import { pageModule } from './support/modules.js';
import { test } from './support/testing.js';

const { Outbox, People, Reads, Timeline, Typing, guestSecret, randomId } = await pageModule('client/index.ts');
const { nameOf, parts, roomNameOf, textOf } = await pageModule('view/text.ts');
const { LANGUAGES, languageFor } = await pageModule('view/words.ts');

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
  for (const text of ['one', 'two', 'three']) before.add('general', { text });
  const after = new Outbox(storage);
  assert.deepEqual(texts(after), ['one', 'two', 'three']);
  assert.deepEqual(after.all(), before.all());
});

test('tabs do not write over one another', () => {
  const storage = new Storage();
  const [left, right] = [new Outbox(storage), new Outbox(storage)];
  const one = left.add('general', { text: 'left' });
  right.add('general', { text: 'right' });
  left.remove(one.id);
  assert.deepEqual(texts(new Outbox(storage)), ['right']);
});

test('two tabs, and two drafts of one tab, never share an id', () => {
  const storage = new Storage();
  const outboxes = [new Outbox(storage), new Outbox(storage)];
  const ids = Array.from({ length: 2_000 }, (_, index) => outboxes[index % 2].add('general', { text: 'same' }).id);
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
  const draft = left.add('general', { text: 'one' });
  const right = new Outbox(storage);
  left.remove(draft.id);
  assert.equal(right.follow({ key: `chat.draft.${draft.id}`, newValue: null }).id, draft.id);
  assert.equal(right.next('general'), undefined);
});

test('what a closed tab has left is gathered once', () => {
  const storage = new Storage();
  const open = new Outbox(storage);
  const closed = new Outbox(storage);
  closed.add('general', { text: 'left behind' });
  assert.deepEqual(open.gather().map(({ content }) => content.text), ['left behind']);
  assert.deepEqual(open.gather(), []);
});

test('a refused draft waits for its author, also after a reload, and keeps its id when it is tried again', () => {
  const storage = new Storage();
  const outbox = new Outbox(storage);
  const draft = outbox.add('general', { text: 'one' });
  outbox.fail(draft.id, { code: 'forbidden', message: 'not here' });
  assert.equal(outbox.next('general'), undefined);
  const later = new Outbox(storage);
  assert.equal(later.next('general'), undefined);
  assert.equal(later.retry(draft.id).id, draft.id);
  assert.equal(later.next('general').id, draft.id);
});

test('a draft whose id is taken by another message is tried again under another id', () => {
  const storage = new Storage();
  const outbox = new Outbox(storage);
  const draft = outbox.add('general', { text: 'one' });
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
  outbox.add('general', { text: 'one' });
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
  outbox.add('general', { text: 'one' });
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
    assert.equal(textOf(content, LANGUAGES.en), shown);
  }
});

test('drafts wait for their room, and those of a page that knew one room belong to it', () => {
  const storage = new Storage();
  storage.setItem('chat.draft.old', '{"id":"old","content":{"text":"from before"},"written":1,"failed":null}');
  const outbox = new Outbox(storage);
  outbox.add('elsewhere', { text: 'there' });
  assert.equal(outbox.next('general').id, 'old');
  assert.equal(outbox.next('elsewhere').content.text, 'there');
  assert.equal(outbox.next('nowhere'), undefined);
});

test('a name is shown in one line and in its own order, whatever is in it', () => {
  assert.equal(nameOf('Ada'), 'Ada');
  assert.equal(nameOf('  Ada\n Love\tlace '), 'Ada Love lace');
  assert.equal(nameOf('\u202eadmin\u202c \u2066x\u2069'), 'admin x');
  assert.equal(nameOf('\u200b\u2060 \ufeff'), '');
  for (const blank of ['\u2800\u3164', '\u115f', '\u200d', '\u0301\u0302']) assert.equal(nameOf(blank), '', JSON.stringify(blank));
  assert.equal(nameOf(`Z${'\u0338'.repeat(60)}oe`), `Z${'\u0338'.repeat(4)}oe`);
  assert.equal(nameOf('👩‍🚀❤️'), '👩‍🚀❤️');
  assert.equal(nameOf('😀'.repeat(100)), '😀'.repeat(64));
  assert.equal(nameOf({ toString: () => 'Ada' }), '');
  assert.equal(nameOf('נועם'), 'נועם');
});

test('only what is an address on the web becomes a link, and together the parts are the text', () => {
  const links = (text) => parts(text).filter((part) => typeof part !== 'string').map(({ text: shown, href }) => [shown, href]);
  for (const [text, expected] of [
    ['see https://example.org/a?b=c#d.', [['https://example.org/a?b=c#d', 'https://example.org/a?b=c#d']]],
    ['(http://example.org/x_(y)) and', [['http://example.org/x_(y)', 'http://example.org/x_(y)']]],
    ['HTTPS://EXAMPLE.ORG', [['HTTPS://EXAMPLE.ORG', 'https://example.org/']]],
    ['两个：https://example.org/一，https://example.org/二。', [['https://example.org/一', 'https://example.org/%E4%B8%80'], ['https://example.org/二', 'https://example.org/%E4%BA%8C']]],
    ['javascript:alert(1) data:text/html,x file:///etc ftp://example.org', []],
    ['javascript:https://example.org', [['https://example.org', 'https://example.org/']]],
    ['https://bank.example@evil.example/', []],
    ['https:// http://[ xhttp://example.org', []],
    ['https://example.org/\u202egpj.exe', [['https://example.org/', 'https://example.org/']]],
    ['<a href="https://example.org">', [['https://example.org', 'https://example.org/']]],
  ]) {
    assert.deepEqual(links(text), expected, text);
    assert.equal(parts(text).map((part) => (typeof part === 'string' ? part : part.text)).join(''), text);
  }
});

test('long texts are taken apart in little time', () => {
  for (const text of ['https://'.repeat(20_000), 'https://a.b/' + '('.repeat(60_000), 'https://a.b/' + ')'.repeat(60_000), 'x'.repeat(1_000_000)]) {
    const began = performance.now();
    parts(text);
    assert.ok(performance.now() - began < 2_000, `${text.slice(0, 20)} took ${performance.now() - began} ms`);
  }
});

test('what cannot be the name of a room is not asked for', () => {
  assert.equal(roomNameOf('  #tea  '), 'tea');
  assert.equal(roomNameOf('e\u0301'), '\u00e9');
  for (const bad of ['', ' ', '~secret', 'dm:a.b', 'x'.repeat(129), 'a\u0000b']) assert.equal(roomNameOf(bad), undefined, bad);
});

test('the page speaks the first language it knows of those that are wanted', () => {
  assert.equal(languageFor(['fr', 'zh-CN', 'en']), 'zh-Hans');
  assert.equal(languageFor(['de', 'en-GB', 'zh']), 'en');
  assert.equal(languageFor(['de']), 'en');
  assert.deepEqual(Object.keys(LANGUAGES['zh-Hans']).sort(), Object.keys(LANGUAGES.en).sort());
});

const user = (id, name = id) => ({ id, name });
const names = (people) => people.online.map(({ name }) => name);

test('people come and go, and of two things said about somebody the newer one holds', () => {
  const people = new People();
  people.notice({ user: user('b'), online: false, version: 7 });
  people.page({ members: [user('a'), user('b')], version: 5, total: 2 }, true, true);
  assert.deepEqual(names(people), ['a']);
  people.notice({ user: user('c'), online: true, version: 8 });
  people.notice({ user: user('a', 'Ada'), online: true, version: 9 });
  people.notice({ user: user('c'), online: false, version: 6 });
  assert.deepEqual(names(people), ['Ada', 'c']);
  assert.equal(people.count, 2);
});

test('who is not on any page has left, unless they came after the first page', () => {
  const people = new People();
  for (const [id, version] of [['gone', 1], ['late', 4]]) people.notice({ user: user(id), online: true, version });
  people.page({ members: [user('a')], version: 3, total: 2 }, true, false);
  assert.deepEqual(names(people), ['a', 'gone', 'late'], 'nobody is struck off before the last page');
  assert.equal(people.count, 2, 'the server knows how many there are');
  people.page({ members: [user('b')], version: 5, total: 2 }, false, true);
  assert.deepEqual(names(people), ['a', 'b', 'late']);
});

test('a reset counts more than anything before it, and a large room has a number', () => {
  const people = new People();
  people.page({ members: [user('a')], version: 9, total: 1 }, true, true);
  people.reset({ version: 2, online: [user('b')] });
  assert.deepEqual(names(people), ['b']);
  people.reset({ version: 3, count: 5_000 });
  assert.equal(people.count, 5_000);
});

test('another connection may count anew', () => {
  const people = new People();
  people.page({ members: [user('a'), user('b')], version: 900, total: 2 }, true, true);
  people.reconnected();
  assert.deepEqual(names(people), ['a', 'b'], 'the list does not flicker');
  people.page({ members: [user('b')], version: 1, total: 1 }, true, true);
  people.notice({ user: user('c'), online: true, version: 2 });
  assert.deepEqual(names(people), ['b', 'c']);
});

test('typing ends by itself, with what was typed, and when it is said', () => {
  const typing = new Typing();
  for (const id of ['a', 'b', 'c']) typing.notice({ user: user(id), typing: true }, 0);
  typing.notice({ user: user('a'), typing: false }, 10);
  typing.said('b');
  assert.deepEqual(typing.who(20), ['c']);
  assert.deepEqual(typing.who(typing.nextEnd(20)), []);
  typing.notice({ count: 120 }, 20);
  assert.equal(typing.count(30), 120);
});

test('how far somebody has seen never moves back', () => {
  const reads = new Reads();
  assert.equal(reads.notice({ user: user('a'), offset: 5 }), true);
  assert.equal(reads.notice({ user: user('a'), offset: 3 }), false);
  reads.notice({ user: user('me'), offset: 9 });
  assert.deepEqual(reads.by(5, 'me'), ['a']);
  assert.deepEqual(reads.by(6, 'me'), []);
  assert.equal(reads.furthest('me'), 5);
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

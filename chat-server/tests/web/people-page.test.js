// The page as people use it together: names, who is there, who types, rooms, private chats, what was seen; also through an outage.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { io } from 'socket.io-client';

import { violations } from './support/axe.js';
import { startBrowser } from './support/browser.js';
import { atEnd } from './support/cleanup.js';
import { FullClient } from './support/full.js';
import { enter, entry, isIn, people, rename, say, shows, turnTo, unread, visit, visitAs } from './support/page.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

/** Somebody who has gone is shown for a grace period. */
const GONE_WITHIN_MS = 40_000;

const authors = (page) => page.$$eval('#messages .message:not(.own) .author', (names) => names.map((name) => name.textContent));

function shown(page, expected) {
  return until(async () => {
    const names = await people(page);
    return names.length === expected.length && expected.every((name) => names.includes(name));
  }, `${expected} are shown as being there`, GONE_WITHIN_MS);
}

/** Opens the private room with somebody, as people do. */
async function writeTo(page, name) {
  await page.click(`.person:has-text("${name}")`);
  await until(async () => (await page.textContent('#room')) === name, `the page shows the private room with ${name}`);
}

/** Who is shown as typing. */
const typingLine = async (page) => (await page.textContent('#typing')).replace(/[\u2068\u2069]/g, '');

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'chat-page-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Somebody with an account, as a function that asks the server. */
function signedIn(t, server, secret, claims) {
  const part = (value) => Buffer.from(value).toString('base64url');
  const signed = `${part('{"alg":"HS256"}')}.${part(JSON.stringify({ exp: Math.floor(Date.now() / 1000) + 600, ...claims }))}`;
  const token = `${signed}.${part(createHmac('sha256', secret).update(signed).digest())}`;
  const socket = io(server.url, { auth: { token, rooms: {} }, forceNew: true });
  atEnd(t, () => socket.disconnect());
  return (event, body) => socket.timeout(10_000).emitWithAck(event, body);
}

const wide = { viewport: { width: 1280, height: 800 } };

test('a name is chosen, shown to others, changed, and kept', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visitAs('Ada', browser, server, wide);
  const bob = await visitAs('Bob', browser, server, wide);
  await say(ada.page, 'hello');
  await shows(bob.page, ['hello']);
  assert.deepEqual(await authors(bob.page), ['Ada']);
  await shown(bob.page, ['Ada', 'Bob']);
  await rename(ada.page, 'Ada Lovelace');
  await shown(bob.page, ['Ada Lovelace', 'Bob']);
  await say(ada.page, 'it is still me');
  await shows(bob.page, ['hello', 'it is still me']);
  await ada.page.reload();
  await isIn(ada.page, 'online');
  assert.equal(await ada.page.textContent('#me .title'), 'Ada Lovelace');
  await say(ada.page, 'after a reload');
  await shows(bob.page, ['hello', 'it is still me', 'after a reload']);
  assert.ok((await authors(bob.page)).at(-1).startsWith('Ada'));
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test('people are shown while they are there, and two tabs of one person are one', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visitAs('Ada', browser, server, wide);
  const bob = await visitAs('Bob', browser, server, wide);
  await shown(ada.page, ['Ada', 'Bob']);
  const second = await bob.profile.newPage();
  await second.goto(server.url);
  await isIn(second, 'online');
  await shown(ada.page, ['Ada', 'Bob']);
  await bob.page.close();
  await shown(second, ['Ada', 'Bob']);
  await bob.profile.close();
  await shown(ada.page, ['Ada']);
});

test('who types is shown until they send it', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visitAs('Ada', browser, server);
  const bob = await visitAs('Bob', browser, server);
  await ada.page.focus('#input');
  await ada.page.keyboard.type('let me think');
  const line = () => typingLine(bob.page);
  await until(async () => (await line()) === 'Ada is typing…', 'it is shown');
  assert.equal(await ada.page.textContent('#typing'), '', 'nobody is told of themselves');
  await ada.page.press('#input', 'Enter');
  await shows(bob.page, ['let me think']);
  await until(async () => (await line()) === '', 'it ends');
  await ada.page.keyboard.type('never mind');
  await until(async () => (await line()) === 'Ada is typing…', 'it is shown again');
  await ada.page.fill('#input', '');
  await until(async () => (await line()) === '', 'it ends when the text is given up');
});

test('two write privately, the other one is told, and nobody else sees it', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob, eve] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide), await visitAs('Eve', browser, server, wide)];
  await shown(ada.page, ['Ada', 'Bob', 'Eve']);
  await writeTo(ada.page, 'Bob');
  await until(async () => (await ada.page.textContent('#about')) === 'Here now', 'Bob is there for it, though he has never opened it');
  await say(ada.page, 'between us');
  await shows(ada.page, ['between us']);
  await until(async () => (await unread(bob.page, 'Ada')) === 1, 'Bob is told');
  assert.match(await entry(bob.page, 'Ada').locator('.preview').textContent(), /between us/);
  await turnTo(bob.page, 'Ada');
  await shows(bob.page, ['between us']);
  await say(bob.page, 'as ever');
  await shows(ada.page, ['between us', 'as ever']);
  // Knowing where it is does not let anybody in.
  const address = new URL(ada.page.url()).hash;
  await eve.page.goto(`${server.url}/${address}`);
  await eve.page.reload();
  await eve.page.waitForSelector('#closed:not([hidden])');
  assert.doesNotMatch(await eve.page.textContent('body'), /between us|as ever/);
  await ada.page.reload();
  await shows(ada.page, ['between us', 'as ever']);
  assert.equal(await ada.page.textContent('#room'), 'Bob', 'who the other one is is known after a reload');
});

test('what was missed in other rooms is counted, until it is seen on any device', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide)];
  for (const { page } of [ada, bob]) await enter(page, 'garden');
  await say(ada.page, 'the roses are out');
  await shows(bob.page, ['the roses are out']);
  await turnTo(bob.page, 'general');
  await until(async () => (await bob.page.textContent('#room')) === 'general', 'Bob is elsewhere');
  for (const text of ['and the tulips', 'come and see']) await say(ada.page, text);
  await until(async () => (await unread(bob.page, 'garden')) === 2, 'both are counted');
  assert.match(await entry(bob.page, 'garden').locator('.preview').textContent(), /come and see/);
  assert.match(await bob.page.title(), /^\(2\) /);
  await bob.page.reload();
  await until(async () => (await unread(bob.page, 'garden')) === 2, 'they are counted after a reload');
  const second = await bob.profile.newPage();
  await second.goto(`${server.url}/#garden`);
  await shows(second, ['the roses are out', 'and the tulips', 'come and see']);
  await until(async () => (await unread(bob.page, 'garden')) === 0, 'what was seen in one tab is seen in the other');
});

test('a message is marked as sent, then as seen when the other one has looked', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide)];
  await enter(bob.page, 'elsewhere');
  await say(ada.page, 'are you there?');
  await ada.page.waitForSelector('#messages .own .mark.stored');
  await turnTo(bob.page, 'general');
  await shows(bob.page, ['are you there?']);
  await ada.page.waitForSelector('#messages .own.seen .mark.seen');
  await until(async () => ((await ada.page.textContent('#messages .own .seen-by').catch(() => '')) ?? '').includes('Bob'), 'it says who');
});

test('rooms, private ones and what was written meanwhile are there after an outage, once and in order', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide)];
  for (const { page } of [ada, bob]) await enter(page, 'garden');
  await shown(ada.page, ['Ada', 'Bob']);
  await writeTo(ada.page, 'Bob');
  await say(ada.page, 'private, before');
  await until(async () => (await unread(bob.page, 'Ada')) === 1, 'Bob is told');
  await bob.profile.setOffline(true);
  await isIn(bob.page, 'offline');
  await say(bob.page, 'from the tunnel');
  await server.kill();
  await isIn(ada.page, 'offline');
  await say(ada.page, 'private, during');
  await turnTo(ada.page, 'garden');
  await say(ada.page, 'during the restart');
  await server.start();
  await isIn(ada.page, 'online');
  await shows(ada.page, ['during the restart']);
  await bob.profile.setOffline(false);
  await isIn(bob.page, 'online');
  for (const { page } of [ada, bob]) await shows(page, ['during the restart', 'from the tunnel']);
  await until(async () => (await unread(bob.page, 'Ada')) === 2, 'both private messages have come');
  await turnTo(bob.page, 'Ada');
  await shows(bob.page, ['private, before', 'private, during']);
  await shown(ada.page, ['Ada', 'Bob']);
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test('names, who is there, who types and what was seen are right after an outage', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob, cyd] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide), await visitAs('Cyd', browser, server, wide)];
  await shown(ada.page, ['Ada', 'Bob', 'Cyd']);
  await bob.profile.setOffline(true);
  await isIn(bob.page, 'offline');
  await rename(bob.page, 'Robert');
  await server.kill();
  await isIn(ada.page, 'offline');
  await cyd.profile.close();
  await say(ada.page, 'is anybody there?');
  await server.start();
  await isIn(ada.page, 'online');
  await ada.page.waitForSelector('#messages .own .mark.stored');
  await shown(ada.page, ['Ada']);
  await bob.profile.setOffline(false);
  await isIn(bob.page, 'online');
  await shown(ada.page, ['Ada', 'Robert']);
  await ada.page.waitForSelector('#messages .own.seen');
  await until(async () => ((await ada.page.textContent('#messages .own .seen-by').catch(() => '')) ?? '').includes('Robert'), 'it says who has seen it');
  await bob.page.focus('#input');
  await bob.page.keyboard.type('I am');
  await until(async () => (await typingLine(ada.page)) === 'Robert is typing…', 'it is shown who types');
  await bob.page.keyboard.press('Enter');
  await shows(ada.page, ['is anybody there?', 'I am']);
  assert.deepEqual(await authors(ada.page), ['Robert']);
  await until(async () => (await typingLine(ada.page)) === '', 'nobody types any more');
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test('a private message that was seen while its author was away is marked so when they are back, and after a reload', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visitAs('Ada', browser, server, wide), await visitAs('Bob', browser, server, wide)];
  await shown(ada.page, ['Ada', 'Bob']);
  await writeTo(ada.page, 'Bob');
  await say(ada.page, 'read this when you can');
  await until(async () => (await unread(bob.page, 'Ada')) === 1, 'Bob is told');
  assert.equal(await ada.page.$('#messages .own.seen'), null);
  await ada.profile.setOffline(true);
  await isIn(ada.page, 'offline');
  await turnTo(bob.page, 'Ada');
  await shows(bob.page, ['read this when you can']);
  await say(bob.page, 'I have');
  await shows(bob.page, ['read this when you can', 'I have']);
  await server.kill();
  await isIn(bob.page, 'offline');
  await server.start();
  await isIn(bob.page, 'online');
  await ada.profile.setOffline(false);
  await ada.page.waitForSelector('#messages .own.seen .mark.seen');
  await ada.page.reload();
  await ada.page.waitForSelector('#messages .own.seen .mark.seen');
});

test('who is banned while they are away is told why, and is shut out of that room only', async (t) => {
  const rules = join(folder(t), 'rules.toml');
  const all = ['join', 'read', 'post', 'members'];
  writeFileSync(rules, [['accounts', [...all, 'manage']], ['everyone', all]].map(([who, allow]) => `[[rule]]\nroom = "*"\nwho = "${who}"\nallow = ${JSON.stringify(allow)}\n`).join(''));
  const secret = randomBytes(32).toString('hex');
  const server = await startServer(t, { args: ['--rules', rules], env: { CHAT_TOKEN_SECRET: secret } });
  const browser = await startBrowser(t);
  const [ada, mallory] = [await visitAs('Ada', browser, server, wide), await visitAs('Mallory', browser, server, wide)];
  for (const { page } of [ada, mallory]) await enter(page, 'garden');
  await say(mallory.page, 'buy my roses');
  await shows(ada.page, ['buy my roses']);
  await mallory.profile.setOffline(true);
  await isIn(mallory.page, 'offline');
  await say(mallory.page, 'and my tulips');
  const moderator = await signedIn(t, server, secret, { sub: 'moderator' });
  const { messages } = await moderator('history', { room: 'garden' });
  assert.equal((await moderator('ban', { room: 'garden', user: messages[0].from.id, reason: 'no trading here' })).ok, true);
  await server.kill();
  await isIn(ada.page, 'offline');
  await server.start();
  await mallory.profile.setOffline(false);
  await mallory.page.waitForSelector('#closed:not([hidden])');
  assert.match(await mallory.page.textContent('#closed-why'), /banned/);
  assert.equal(await mallory.page.isVisible('#form'), false);
  await mallory.page.waitForSelector('#messages .failed');
  await turnTo(mallory.page, 'general');
  await say(mallory.page, 'then here');
  await turnTo(ada.page, 'general');
  await shows(ada.page, ['then here']);
  await turnTo(ada.page, 'garden');
  await shows(ada.page, ['buy my roses']);
  // At once, and in the moderator's words, where somebody is there to be told.
  const again = await signedIn(t, server, secret, { sub: 'moderator' });
  assert.equal((await again('kick', { room: 'general', user: messages[0].from.id, reason: 'nor here' })).ok, true);
  await mallory.page.waitForSelector('#closed:not([hidden])');
  assert.equal((await mallory.page.textContent('#closed-why')).replace(/[\u2068\u2069]/g, ''), 'You cannot be in this room: you were asked to leave, nor here.');
  await mallory.page.click('#again');
  await shows(mallory.page, ['then here']);
});

test('names cannot be markup, nor rearrange what is around them', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server, wide);
  await isIn(ada.page, 'online');
  const mallory = await visitAs('<b>Mal</b>\u202elory', browser, server, wide);
  await say(mallory.page, '<script>document.title = "hacked"</script>\u202e');
  await until(async () => (await authors(ada.page)).length === 1, 'it has come');
  for (const name of [...(await authors(ada.page)), ...(await people(ada.page))]) assert.doesNotMatch(name, /[\u202a-\u202e]/);
  assert.equal(await ada.page.$('#messages b, #messages script, #members b'), null);
  assert.equal(await ada.page.title(), 'general');
});

test('a name that cannot be seen is none, and marks that are piled up cover nothing of others', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visitAs('Ada', browser, server, wide);
  const ghost = new FullClient(t, server.url, { name: '\u2800\u3164' });
  await ghost.connected();
  await ghost.join();
  await say(ada.page, 'mine');
  await shows(ada.page, ['mine']);
  await ghost.post('tower', { text: `Z${'\u0310\u0311\u0312'.repeat(100)}` });
  await until(async () => (await authors(ada.page)).length === 1, 'it has come');
  assert.deepEqual(await authors(ada.page), ['Guest']);
  await shown(ada.page, ['Ada', 'Guest']);
  assert.equal(await ada.page.$eval('#messages .message:last-child .text', (text) => getComputedStyle(text).overflowY), 'clip');
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing wrong when the page is full of people: ${colorScheme}`, async (t) => {
    const server = await startServer(t);
    const browser = await startBrowser(t);
    const [ada, bob] = [await visitAs('Ada', browser, server, { ...wide, colorScheme }), await visitAs('\u05d1\u05d5\u05d1', browser, server, wide)];
    for (const { page } of [ada, bob]) await enter(page, 'garden');
    await say(ada.page, 'who is here?');
    await ada.page.waitForSelector('#messages .own .seen-by');
    await shown(bob.page, ['Ada', '\u05d1\u05d5\u05d1']);
    await writeTo(bob.page, 'Ada');
    await say(bob.page, 'me');
    await until(async () => (await unread(ada.page, '\u05d1\u05d5\u05d1')) === 1, 'Ada is told');
    await turnTo(bob.page, 'garden');
    await bob.page.focus('#input');
    await bob.page.keyboard.type('wait');
    await until(async () => (await ada.page.textContent('#typing')) !== '', 'Bob types');
    assert.deepEqual(await violations(ada.page), []);
    await turnTo(ada.page, '\u05d1\u05d5\u05d1');
    await shows(ada.page, ['me']);
    assert.deepEqual(await violations(ada.page), [], 'in the private room');
  });
}

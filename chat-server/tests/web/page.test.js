// The page in a real browser: what people see when the network, the tab or the server fails them.
//
// CHAT_SCREENSHOTS=FOLDER keeps pictures of it.

import assert from 'node:assert/strict';

import { newUser, startBrowser } from './support/browser.js';
import { FullClient } from './support/full.js';
import { isIn, picture, say, settled, shows, state, texts, visit } from './support/page.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

test('two people chat, and each sees every message once and in one order', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visit(browser, server), await visit(browser, server, { colorScheme: 'dark', viewport: { width: 390, height: 780 } })];
  await isIn(ada.page, 'online');
  await isIn(bob.page, 'online');
  await picture(ada.page, 'empty');
  await say(ada.page, 'Is the train running today?');
  await shows(bob.page, ['Is the train running today?']);
  await say(bob.page, 'It is, and I am in it');
  const both = ['Is the train running today?', 'It is, and I am in it'];
  await shows(ada.page, both);
  await shows(bob.page, both);
  assert.deepEqual(await ada.page.$$eval('#messages .own .text', (items) => items.map((item) => item.textContent)), [both[0]]);
  await picture(ada.page, 'chat-light');
  await picture(bob.page, 'chat-dark-phone');
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test('what people write is text, never markup', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  const text = '<img src=x onerror="document.title=\'hacked\'"><b>bold</b> & \u202e text';
  await say(ada.page, text);
  await shows(ada.page, [text]);
  assert.equal(await ada.page.$('#messages img, #messages b'), null);
  assert.equal(await ada.page.title(), 'general');
});

test('a message shows at once and waits while there is no network, survives a reload and is delivered once', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visit(browser, server), await visit(browser, server)];
  await isIn(ada.page, 'online');
  // A page that is reloaded without a network comes from somewhere: here it is handed to the browser past its network.
  await ada.profile.route((url) => !url.pathname.endsWith('/socket.io/'), async (route) => {
    const file = await fetch(route.request().url());
    await route.fulfill({ status: file.status, headers: Object.fromEntries(file.headers), body: Buffer.from(await file.arrayBuffer()) });
  });
  await ada.profile.setOffline(true);
  await isIn(ada.page, 'offline');
  await say(ada.page, 'one');
  await say(ada.page, 'two');
  assert.deepEqual(await ada.page.$$eval('#messages .waiting .text', (items) => items.map((item) => item.textContent)), ['one', 'two']);
  await picture(ada.page, 'waiting');
  await ada.page.reload();
  await isIn(ada.page, 'offline');
  assert.deepEqual(await texts(ada.page), ['one', 'two']);
  await ada.page.fill('#input', 'not sent yet');
  await ada.page.reload();
  assert.equal(await ada.page.inputValue('#input'), 'not sent yet', 'text being typed survives too');
  await ada.profile.setOffline(false);
  await isIn(ada.page, 'online');
  await shows(ada.page, ['one', 'two']);
  await shows(bob.page, ['one', 'two']);
  await ada.page.reload();
  await shows(ada.page, ['one', 'two']);
});

test('when the network comes back the page is online at once and nothing is missing', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visit(browser, server), await visit(browser, server)];
  await isIn(ada.page, 'online');
  await isIn(bob.page, 'online');
  await ada.profile.setOffline(true);
  await isIn(ada.page, 'offline');
  await say(ada.page, 'from the tunnel');
  await say(bob.page, 'where are you?');
  await shows(bob.page, ['where are you?']);
  await ada.profile.setOffline(false);
  await isIn(ada.page, 'online');
  await shows(ada.page, ['where are you?', 'from the tunnel']);
  await shows(bob.page, ['where are you?', 'from the tunnel']);
});

test('the server is killed while people type, and every message is there once', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const [ada, bob] = [await visit(browser, server), await visit(browser, server)];
  await isIn(ada.page, 'online');
  await isIn(bob.page, 'online');
  const written = [];
  for (let round = 1; round <= 3; round += 1) {
    for (const { page } of [ada, bob]) {
      written.push(`before ${written.length}`);
      await say(page, written.at(-1));
    }
    await server.kill();
    for (const { page } of [ada, bob]) {
      written.push(`during ${written.length}`);
      await say(page, written.at(-1));
    }
    await isIn(ada.page, 'offline');
    await server.start();
    await isIn(ada.page, 'online');
    await isIn(bob.page, 'online');
  }
  await until(async () => (await settled(ada.page)).length === written.length && (await settled(bob.page)).length === written.length, 'all are there', 30_000);
  assert.deepEqual((await settled(ada.page)).sort(), [...written].sort());
  assert.deepEqual(await settled(ada.page), await settled(bob.page), 'in one order');
  assert.deepEqual([...ada.errors, ...bob.errors], []);
});

test('two tabs of one person keep their outboxes apart and deliver both', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  const second = await ada.profile.newPage();
  await second.goto(server.url);
  await isIn(ada.page, 'online');
  await isIn(second, 'online');
  await ada.profile.setOffline(true);
  await isIn(ada.page, 'offline');
  await isIn(second, 'offline');
  await say(ada.page, 'from the first tab');
  await say(second, 'from the second tab');
  await ada.profile.setOffline(false);
  const all = ['from the first tab', 'from the second tab'];
  for (const page of [ada.page, second]) {
    await until(async () => (await settled(page)).length === 2 && (await texts(page)).length === 2, 'both are there', 30_000);
    assert.deepEqual((await settled(page)).sort(), all);
  }
});

test('two tabs that are opened at one moment on a first visit are one person', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser);
  // Each tab sees of the storage what it has put there itself: what another does is only seen later.
  await profile.addInitScript(() => {
    const { getItem, setItem } = Storage.prototype;
    const own = new Set();
    Storage.prototype.getItem = function (key) { return own.has(key) ? getItem.call(this, key) : null; };
    Storage.prototype.setItem = function (key, value) { own.add(key); setItem.call(this, key, value); };
  });
  const secrets = [];
  const tabs = [await profile.newPage(), await profile.newPage()];
  for (const tab of tabs) {
    tab.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
      if (String(payload).startsWith('40')) secrets.push(JSON.parse(payload.slice(2)).guest);
    }));
  }
  await Promise.all(tabs.map((tab) => tab.goto(server.url)));
  for (const tab of tabs) await isIn(tab, 'online');
  assert.equal(secrets.length, 2);
  assert.equal(secrets[0], secrets[1]);
});

test('a tab that was closed with unsent text: another tab of that person sends it', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  const second = await ada.profile.newPage();
  await second.goto(server.url);
  await isIn(second, 'online');
  await ada.profile.setOffline(true);
  await isIn(second, 'offline');
  await say(second, 'closed too early');
  await second.close();
  await ada.profile.setOffline(false);
  await shows(ada.page, ['closed too early']);
});

test('a refused message says why, and can be edited and sent', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  await isIn(ada.page, 'online');
  await say(ada.page, 'x'.repeat(70_000));
  await ada.page.waitForSelector('#messages .failed');
  assert.match(await ada.page.textContent('#messages .failed .fate'), /^Not sent: it is too long\./);
  await ada.page.reload();
  await ada.page.click('#messages .failed button:has-text("Edit")');
  assert.equal((await ada.page.inputValue('#input')).length, 70_000);
  await say(ada.page, 'shorter');
  await shows(ada.page, ['shorter']);
});

test('a message that no packet can carry is refused at once, and holds up nothing', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  await isIn(ada.page, 'online');
  await say(ada.page, 'x'.repeat(1_000_100));
  await say(ada.page, 'after it');
  await until(async () => (await settled(ada.page)).includes('after it'), 'the next one is stored');
  assert.match(await ada.page.textContent('#messages .failed .fate'), /^Not sent: it is too long\./);
  await isIn(ada.page, 'online');
});

test('what is said about a draft, and when a message came, can be read whole on a phone', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await visit(browser, server, { viewport: { width: 360, height: 640 }, colorScheme: 'dark' });
  await isIn(ada.page, 'online');
  const writer = new FullClient(t, server.url, { name: 'Maximiliane-Annegret von und zu Hohenstein-Wolfsburg' });
  await writer.connected();
  await writer.join();
  for (let number = 1; number <= 20; number += 1) await writer.post(`${number}`, { text: `message ${number}` });
  await until(async () => (await settled(ada.page)).length === 20, 'all have come');
  const [time, line] = await ada.page.$eval('.byline time', (item) => [item.offsetHeight, parseFloat(getComputedStyle(item).lineHeight)]);
  assert.ok(time < 1.5 * line, `the time has one line: ${time} px, a line has ${line}`);
  await ada.profile.setOffline(true);
  await isIn(ada.page, 'offline');
  await say(ada.page, 'from the tunnel');
  const whole = () => ada.page.evaluate(() => {
    const fate = document.querySelector('.waiting .fate');
    const { height, bottom } = fate.getBoundingClientRect();
    const hasAppeared = height > 0 && fate.getAnimations().length === 0;
    return hasAppeared && bottom <= document.getElementById('scroller').getBoundingClientRect().bottom;
  });
  await until(whole, 'it says that it waits');
  await picture(ada.page, 'offline-dark-phone');
});

test('a first visit shows the newest hundred messages', async (t) => {
  const server = await startServer(t);
  const writer = new FullClient(t, server.url);
  await writer.connected();
  await writer.join();
  for (let number = 1; number <= 130; number += 1) await writer.post(`${number}`, { text: `message ${number}` });
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  await isIn(ada.page, 'online');
  await shows(ada.page, Array.from({ length: 100 }, (_, index) => `message ${index + 31}`));
  const atEnd = () => ada.page.$eval('#scroller', ({ scrollTop, clientHeight, scrollHeight }) => scrollHeight - scrollTop - clientHeight < 5);
  await until(atEnd, 'the newest message is in sight');
  // Somebody who reads further up is left there, and told of what is new.
  await ada.page.$eval('#scroller', (scroller) => { scroller.scrollTop = 200; });
  await ada.page.waitForFunction(() => document.getElementById('scroller').scrollTop === 200);
  await writer.post('131', { text: 'message 131' });
  await ada.page.waitForSelector('#newest:not([hidden])');
  assert.equal(await ada.page.$eval('#scroller', ({ scrollTop }) => scrollTop), 200);
  await ada.page.click('#newest');
  await until(atEnd, 'the newest message is in sight again');
});

test('lost history is told, and the list starts afresh with what there is', async (t) => {
  const server = await startServer(t, { store: 'memory:' });
  const browser = await startBrowser(t);
  const ada = await visit(browser, server);
  await say(ada.page, 'kept in memory only');
  await shows(ada.page, ['kept in memory only']);
  await server.kill();
  await isIn(ada.page, 'offline');
  await server.start();
  await ada.page.waitForSelector('#messages .notice');
  await shows(ada.page, []);
  await say(ada.page, 'hello again');
  await shows(ada.page, ['hello again']);
  await picture(ada.page, 'lost');
});

test('a message that was removed says so in its place', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser);
  const page = await profile.newPage();
  // Nobody can remove anything over the wire yet: what the server sends for a removed message is put in on the way.
  await page.routeWebSocket(/socket\.io/, (socket) => {
    const upstream = socket.connectToServer();
    upstream.onMessage((packet) => socket.send(packet.replace('"content":{"text":"regretted"}', '"content":null,"redacted":true')));
  });
  const writer = new FullClient(t, server.url);
  await writer.connected();
  await writer.join();
  for (const [key, text] of Object.entries({ one: 'regretted', two: 'kept' })) assert.equal((await writer.post(key, { text })).ok, true);
  await page.goto(server.url);
  await shows(page, ['Message removed', 'kept']);
  assert.equal(await page.$$eval('#messages .removed', ({ length }) => length), 1);
});

/** A server of the test's own that counts the connections of `page`, and answers what it is sent by `answer(packet, send)`. */
async function pretend(page, answer) {
  const connections = [];
  await page.routeWebSocket(/socket\.io/, (socket) => {
    connections.push(socket);
    socket.onMessage((packet) => answer(packet, (text) => socket.send(text)));
    socket.send('0{"sid":"pretended","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}');
  });
  return connections;
}

/** What brings a page back at once that waits to connect again. */
const networkIsBack = (page) => page.evaluate(async () => {
  dispatchEvent(new Event('online'));
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  await fetch('/healthz');
});

test('a page is online when it has the newest message, also if the room has entries behind it that are none', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser);
  const page = await profile.newPage();
  const message = JSON.stringify({ room: 'general', offset: 2, pos: 'p', id: 'k', from: { id: 'guest:a', name: 'Ada' }, content: { text: 'hi' }, at: 1 });
  await pretend(page, (packet, send) => {
    if (packet.startsWith('40')) send('40{"sid":"pretended"}');
    const [, id, request] = /^42(\d+)\["(join|history)"/.exec(packet) ?? [];
    if (request === 'join') {
      send(`43${id}[{"ok":true,"pos":"o","oldest":1,"head":3}]`);
      send(`42["message",${message}]`);
    }
    if (request === 'history') send(`43${id}[{"ok":true,"messages":[${message}],"oldest":1,"head":3}]`);
  });
  await page.goto(server.url);
  await isIn(page, 'online');
  await shows(page, ['hi']);
});

test('a page that was refused for good says so, and does not ask again by itself', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser);
  const page = await profile.newPage();
  const connections = await pretend(page, (packet, send) => { if (packet.startsWith('40')) send('44{"message":"you are banned"}'); });
  await page.goto(server.url);
  await isIn(page, 'refused');
  await networkIsBack(page);
  assert.equal(connections.length, 1);
  assert.equal(await state(page), 'refused');
  assert.equal(await page.textContent('#warning'), 'The server refused this connection: you are banned. Reload the page to try again.');
});

test('a room that refuses somebody says so in its place, keeps what they wrote, and is not asked again by itself', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser);
  const page = await profile.newPage();
  let asked = 0;
  const connections = await pretend(page, (packet, send) => {
    if (packet.startsWith('40')) send('40{"sid":"pretended"}');
    const [, id] = /^42(\d+)\["join"/.exec(packet) ?? [];
    if (!id) return;
    asked += 1;
    send(`43${id}[{"ok":false,"error":{"code":"forbidden","message":"you are banned","retryable":false}}]`);
  });
  await page.goto(server.url);
  await page.waitForSelector('#closed:not([hidden])');
  await networkIsBack(page);
  assert.deepEqual([connections.length, asked], [1, 1]);
  assert.equal(await page.textContent('#closed-why'), 'You cannot be in this room: you are banned.');
  assert.equal(await page.isVisible('#form'), false);
  await page.click('#again');
  await until(() => asked === 2, 'it is asked again when somebody wants it');
});

test('the page can be used by keyboard and read by a screen reader', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  await page.getByLabel('Message', { exact: true }).fill('hello');
  await page.getByRole('button', { name: 'Send' }).press('Enter');
  await shows(page, ['hello']);
  await page.reload();
  await isIn(page, 'online');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'input', 'two keys lead to the message box, however many rooms there are');
  assert.equal(await page.getByRole('log').count(), 1);
  assert.equal(await page.getByRole('status').textContent(), 'Online');
});

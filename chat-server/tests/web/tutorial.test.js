// The tutorial's steps, with the tutorial's own client: nobody can tell this server from the tutorial's.

import assert from 'node:assert/strict';

import { newUser, startBrowser } from './support/browser.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { TUTORIAL_PAGE, tutorialClient } from './support/tutorial.js';
import { until, within } from './support/until.js';

test('a message is shown to everybody, its author included, with its offset', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [tutorialClient(t, server.url), tutorialClient(t, server.url)];
  ada.send('hello');
  await until(() => ada.seen.length === 1 && bob.seen.length === 1, 'both have the message');
  assert.deepEqual(ada.seen, [{ content: 'hello', serverOffset: 1 }]);
  assert.deepEqual(bob.seen, ada.seen);
});

test('a post is acknowledged once it is stored', async (t) => {
  const server = await startServer(t);
  const { socket } = tutorialClient(t, server.url);
  const answer = await within(new Promise((done) => socket.emit('chat message', 'hello', 'key-1', (...all) => done(all))), 'it is acknowledged');
  assert.equal(answer[0], null, 'the client was not told of a failure');
  const repeated = await within(new Promise((done) => socket.emit('chat message', 'hello', 'key-1', (...all) => done(all))), 'it is acknowledged again');
  assert.equal(repeated[0], null);
  assert.equal(repeated[1]?.ok, true);
});

test('a new client is sent everything from the oldest message on', async (t) => {
  const server = await startServer(t);
  const ada = tutorialClient(t, server.url);
  const texts = ['one', 'two', 'three'];
  texts.forEach(ada.send);
  await until(() => ada.seen.length === 3, 'they are stored');
  const bob = tutorialClient(t, server.url);
  await until(() => bob.seen.length === 3, 'the new client has them');
  assert.deepEqual(bob.contents(), texts);
});

test('a client that was away is sent what it missed, and nothing twice', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [tutorialClient(t, server.url), tutorialClient(t, server.url)];
  ada.send('before');
  await until(() => bob.seen.length === 1, 'the first has come');
  bob.socket.disconnect();
  ada.send('meanwhile');
  await until(() => ada.seen.length === 2, 'the second is stored');
  bob.socket.connect();
  await until(() => bob.seen.length === 2, 'the second has come');
  ada.send('after');
  await until(() => bob.seen.length === 3, 'the third has come');
  assert.deepEqual(bob.contents(), ['before', 'meanwhile', 'after']);
});

test('what is typed while the server is down is delivered once when it is back, in order', async (t) => {
  const server = await startServer(t);
  const [ada, bob] = [tutorialClient(t, server.url), tutorialClient(t, server.url)];
  ada.send('before');
  await until(() => ada.seen.length === 1 && bob.seen.length === 1, 'the first has come');
  await server.kill();
  await until(() => !ada.socket.connected, 'the client has noticed');
  ['one', 'two', 'three'].forEach(ada.send);
  await server.start();
  await until(() => ada.seen.length === 4 && bob.seen.length === 4, 'all are delivered', 30_000);
  assert.deepEqual(bob.contents(), ['before', 'one', 'two', 'three']);
  assert.deepEqual(ada.contents(), bob.contents());
});

test('the tutorial\'s page works in a browser: chat, break the connection, come back', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const open = async () => {
    const { profile } = await newUser(browser);
    const page = await profile.newPage();
    await page.route('**/tutorial', (route) => route.fulfill({ contentType: 'text/html', body: TUTORIAL_PAGE }));
    await page.goto(`${server.url}/tutorial`);
    return page;
  };
  const say = async (page, text) => {
    await page.fill('#input', text);
    await page.press('#input', 'Enter');
  };
  const texts = (page) => page.$$eval('#messages li', (items) => items.map((item) => item.textContent));
  const shows = (page, expected) => until(async () => (await texts(page)).length === expected.length, () => `${expected} are shown`);

  const [ada, bob] = [await open(), await open()];
  await say(ada, 'hello');
  await shows(bob, ['hello']);
  await bob.click('#toggle-btn');
  await say(ada, 'are you there?');
  await shows(ada, ['hello', 'are you there?']);
  await say(bob, 'typed offline');
  await bob.click('#toggle-btn');
  const all = ['hello', 'are you there?', 'typed offline'];
  await shows(ada, all);
  await shows(bob, all);
  assert.deepEqual(await texts(ada), all);
  assert.deepEqual(await texts(bob), all);
});

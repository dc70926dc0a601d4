// How the page is to use: scrolling back, links, languages, keyboard, screen readers, phones, and what it weighs.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { violations } from './support/axe.js';
import { newUser, startBrowser } from './support/browser.js';
import { FullClient } from './support/full.js';
import { PAGE } from './support/modules.js';
import { enter, isIn, picture, say, settled, shows, turnTo, visit } from './support/page.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until } from './support/until.js';

/** Everything the page loads, compressed. */
const WEIGHT_MAX = 60_000;

test('the page weighs less than 60 kB, the official client included', async (t) => {
  const server = await startServer(t);
  const page = await (await fetch(server.url)).text();
  let weight = gzipSync(page).length;
  const named = page.split('"').filter((part) => part.startsWith('/') && !part.includes('>'));
  assert.ok(named.some((path) => path.endsWith('.js')) && named.some((path) => path.endsWith('.css')));
  for (const path of named) {
    const answer = await fetch(server.url + path);
    assert.equal(answer.status, 200, path);
    assert.equal(answer.headers.get('content-encoding'), path.endsWith('.js') ? 'gzip' : answer.headers.get('content-encoding'));
    const text = await answer.text();
    assert.doesNotMatch(text, /import\(/, 'nothing else is loaded later');
    weight += gzipSync(text).length;
  }
  t.diagnostic(`${weight} bytes`);
  assert.ok(weight < WEIGHT_MAX, `${weight}`);
});

test('the types of the page and of the client module hold, and so does the example of its README', (t) => {
  const readme = readFileSync(join(PAGE, 'client/README.md'), 'utf8');
  const [, example] = /```ts\n(.*?)```/s.exec(readme);
  // Beside this file, where the official client's types are found.
  const folder = new URL('.', import.meta.url).pathname;
  const file = join(folder, 'readme-example.ts');
  writeFileSync(file, example.replace("'./index'", `'${join(PAGE, 'client/index')}'`));
  t.after(() => rmSync(file));
  const tsc = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc');
  const done = spawnSync(process.execPath, [tsc, '--project', join(folder, 'tsconfig.json')], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stdout + done.stderr);
});

test('the lock files name no place to download from', () => {
  for (const file of [join(PAGE, 'package-lock.json'), new URL('package-lock.json', import.meta.url)]) {
    const packages = Object.values(JSON.parse(readFileSync(file, 'utf8')).packages);
    assert.ok(packages.length > 5);
    for (const { resolved } of packages) assert.equal(resolved, undefined);
  }
});

test('scrolling back brings older messages, and leaves in place what is being read', async (t) => {
  const server = await startServer(t);
  const writer = new FullClient(t, server.url, { name: 'Ada' });
  await writer.connected();
  await writer.join();
  for (let number = 1; number <= 230; number += 1) await writer.post(`${number}`, { text: `message ${number}` });
  const browser = await startBrowser(t);
  const { page, errors } = await visit(browser, server);
  await isIn(page, 'online');
  await until(async () => (await settled(page)).length === 100, 'the newest are there');
  /** How far below the top of the window a message stands. */
  const place = (text) => page.evaluate((wanted) => {
    const line = [...document.querySelectorAll('#messages .text')].find((item) => item.textContent === wanted);
    return Math.round(line.getBoundingClientRect().top);
  }, text);
  let count = 100;
  while (count < 230) {
    const before = await page.evaluate((known) => {
      const scroller = document.getElementById('scroller');
      scroller.scrollTop = 120;
      const line = [...document.querySelectorAll('#messages .text')].find((item) => item.textContent === `message ${231 - known + 3}`);
      scroller.scrollTop = 60;
      return Math.round(line.getBoundingClientRect().top);
    }, count);
    const read = `message ${231 - count + 3}`;
    await until(async () => (await settled(page)).length > count, 'older ones have come');
    assert.ok(Math.abs((await place(read)) - before) <= 60 + 2, `${read} stays where it is: it was at ${before} and is at ${await place(read)}`);
    count = (await settled(page)).length;
  }
  assert.deepEqual(await settled(page), Array.from({ length: 230 }, (_, index) => `message ${index + 1}`));
  assert.equal(await page.$$eval('#messages .day', (days) => days.length), 1, 'one day has one line');
  assert.equal(await page.isVisible('#earlier'), false, 'there is nothing before the first');
  assert.deepEqual(errors, []);
});

test('what somebody reads further up stays in place while the server is restarted and others go on', async (t) => {
  const server = await startServer(t);
  const writer = new FullClient(t, server.url, { name: 'Ada' });
  await writer.connected();
  await writer.join();
  for (let number = 1; number <= 160; number += 1) await writer.post(`${number}`, { text: `message ${number}` });
  const browser = await startBrowser(t);
  const { page, errors } = await visit(browser, server);
  await isIn(page, 'online');
  await until(async () => (await settled(page)).length === 100, 'the newest are there');
  const place = (text) => page.evaluate((wanted) => {
    const line = [...document.querySelectorAll('#messages .text')].find((item) => item.textContent === wanted);
    return Math.round(line.getBoundingClientRect().top);
  }, text);
  await page.evaluate(() => {
    const line = [...document.querySelectorAll('#messages .text')].find((item) => item.textContent === 'message 90');
    line.scrollIntoView();
  });
  await page.waitForFunction(() => document.getElementById('scroller').scrollTop > 0);
  const before = await place('message 90');
  await server.kill();
  await isIn(page, 'offline');
  await server.start();
  await writer.connected();
  for (let number = 161; number <= 170; number += 1) assert.equal((await writer.postForSure(`${number}`, { text: `message ${number}` })).ok, true);
  await isIn(page, 'online');
  await until(async () => (await settled(page)).at(-1) === 'message 170', 'what is new has come');
  assert.equal(await place('message 90'), before);
  await page.waitForSelector('#newest:not([hidden])');
  for (const count of [160, 170]) {
    await page.$eval('#scroller', (scroller) => { scroller.scrollTop = 0; });
    await until(async () => (await settled(page)).length === count, 'what is older comes over the new connection');
  }
  assert.deepEqual(await settled(page), Array.from({ length: 170 }, (_, index) => `message ${index + 1}`));
  assert.deepEqual(errors, []);
});

test('addresses become links that know nothing of this page', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  await say(page, 'see https://example.org/a(b), not javascript:alert(1)');
  await shows(page, ['see https://example.org/a(b), not javascript:alert(1)']);
  const links = await page.$$eval('#messages a', (items) => items.map(({ href, rel, target, textContent }) => ({ href, rel, target, textContent })));
  assert.deepEqual(links, [{ href: 'https://example.org/a(b)', rel: 'noopener noreferrer nofollow', target: '_blank', textContent: 'https://example.org/a(b)' }]);
});

test('text is laid out in its own direction, and turns around nothing else', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  for (const text of ['שלום, מה שלומך?', 'hello', '\u202eturned']) await say(page, text);
  await until(async () => (await settled(page)).length === 3, 'all are there');
  assert.deepEqual(await page.$$eval('#messages .text', (lines) => lines.map((line) => getComputedStyle(line).direction)), ['rtl', 'ltr', 'ltr']);
  await enter(page, '\u05d2\u05d9\u05e0\u05d4');
  const sides = await page.$$eval('#rooms .room', (lines) => lines.map((line) => line.querySelector('.face').offsetLeft < line.querySelector('.title').offsetLeft));
  assert.deepEqual(sides, [true, true]);
});

test('the page speaks the language of the browser, and another one if somebody wants it', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page, errors } = await visit(browser, server, { locale: 'zh-CN', viewport: { width: 1280, height: 800 } });
  await isIn(page, 'online');
  assert.equal(await page.textContent('#state'), '在线');
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-Hans');
  await say(page, '你好');
  await shows(page, ['你好']);
  assert.equal(await page.textContent('.day'), '今天');
  assert.doesNotMatch(await page.evaluate(() => document.body.innerText.replace('English', '').replace(/general|Guest \S+/g, '')), /[a-z]{4}/i, 'nothing is left untranslated');
  await page.selectOption('#language', 'en');
  assert.equal(await page.textContent('#state'), 'Online');
  assert.equal(await page.textContent('.day'), 'Today');
  await page.reload();
  await isIn(page, 'online');
  assert.equal(await page.textContent('#state'), 'Online', 'the choice is kept');
  assert.deepEqual(errors, []);
});

test('an input method takes Enter for itself', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  await page.fill('#input', 'nihao');
  await page.$eval('#input', (input) => input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })));
  assert.equal(await page.inputValue('#input'), 'nihao');
  await page.press('#input', 'Shift+Enter');
  await page.keyboard.type('!');
  await page.press('#input', 'Enter');
  await shows(page, ['nihao\n!']);
});

test('a room is joined by name or by address, and left', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  await enter(page, 'garden');
  await say(page, 'in the garden');
  await shows(page, ['in the garden']);
  await turnTo(page, 'general');
  await shows(page, []);
  await page.goBack();
  await shows(page, ['in the garden']);
  await page.fill('#join-name', '~secret');
  await page.press('#join-name', 'Enter');
  await page.waitForSelector('#join-error:not([hidden])');
  await page.fill('#join-name', '');
  await page.reload();
  await shows(page, ['in the garden']);
  await page.click('#leave');
  await until(async () => (await page.$$eval('#rooms .title', (titles) => titles.map((title) => title.textContent))).join() === 'general', 'one room is left');
  await page.goto(`${server.url}/#garden`);
  await shows(page, ['in the garden']);
});

test('many messages at once are told to a listener in one sentence', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const writer = new FullClient(t, server.url, { name: 'Ada' });
  await writer.connected();
  await writer.join();
  await writer.post('before', { text: 'before anybody listened' });
  const { page } = await visit(browser, server);
  await isIn(page, 'online');
  await shows(page, ['before anybody listened']);
  await page.evaluate(() => {
    globalThis.told = [];
    new MutationObserver(() => globalThis.told.push(document.getElementById('announcer').textContent)).observe(document.getElementById('announcer'), { childList: true });
  });
  const told = () => page.evaluate(() => globalThis.told.map((text) => text.replace(/[\u2068\u2069]/g, '')));
  await writer.post('one', { text: 'hello' });
  await until(async () => (await told()).includes('Ada: hello'), 'it is told');
  for (let number = 1; number <= 40; number += 1) await writer.post(`${number}`, { text: `message ${number}` });
  await until(async () => (await settled(page)).length === 42, 'all have come');
  await until(async () => (await told()).slice(1).reduce((sum, text) => sum + (Number.parseInt(text, 10) || 1), 0) === 40, 'they are told');
  assert.ok((await told()).length <= 5, JSON.stringify(await told()));
  assert.equal(await page.getByRole('log').getAttribute('aria-live'), 'off');
});

const looks = {
  light: { colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  dark: { colorScheme: 'dark', viewport: { width: 1280, height: 800 } },
  'on a phone': { colorScheme: 'light', viewport: { width: 390, height: 844 } },
  'on a phone, dark, in Chinese': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, locale: 'zh-CN' },
};

for (const [look, options] of Object.entries(looks)) {
  test(`axe finds nothing wrong with the page: ${look}`, async (t) => {
    const server = await startServer(t);
    const browser = await startBrowser(t);
    const writer = new FullClient(t, server.url, { name: 'Ada' });
    await writer.connected();
    await writer.join();
    await writer.post('one', { text: 'hello, see https://example.org' });
    const { page } = await visit(browser, server, options);
    await isIn(page, 'online');
    assert.deepEqual(await violations(page), [], 'with one message');
    await say(page, 'hi');
    await until(async () => (await settled(page)).length === 2, 'it is sent');
    await say(page, 'x'.repeat(70_000));
    await page.waitForSelector('.failed');
    await page.evaluate(() => { document.querySelector('.failed .text').textContent = 'too long'; });
    assert.deepEqual(await violations(page), [], 'with a refused message');
    if (options.viewport.width < 700) {
      await page.click('#open-side');
      await until(() => page.$eval('#side', (side) => side.getAnimations().length === 0), 'the drawer is open');
      assert.deepEqual(await violations(page), [], 'with the rooms in front');
      await picture(page, `rooms-${look.replaceAll(/\W+/g, '-')}`);
    }
    await page.click('#me');
    await page.waitForSelector('#naming[open]');
    assert.deepEqual(await violations(page), [], 'with the dialog');
    await page.click('#name-cancel');
    await page.keyboard.press('Escape');
    await server.kill();
    await isIn(page, 'offline');
    await page.evaluate(() => Promise.all(document.getAnimations().filter((animation) => animation.effect.getTiming().iterations !== Infinity).map((animation) => animation.finished)));
    assert.deepEqual(await violations(page), [], 'without a server');
  });
}

test('on a phone the rooms slide in, take the focus, and give it back', async (t) => {
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const { profile } = await newUser(browser, { viewport: { width: 390, height: 844 } });
  const page = await profile.newPage();
  await page.goto(server.url);
  await isIn(page, 'online');
  assert.equal(await page.isVisible('#rooms'), false);
  await page.getByRole('button', { name: 'Show rooms' }).press('Enter');
  await until(() => page.isVisible('#rooms'), 'the rooms are in front');
  assert.equal(await page.evaluate(() => document.activeElement.closest('#side') !== null), true);
  assert.equal(await page.$eval('#chat', (chat) => chat.inert), true);
  await page.keyboard.press('Escape');
  await until(async () => !(await page.isVisible('#rooms')), 'they are gone');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-side');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'nothing is wider than the phone');
});

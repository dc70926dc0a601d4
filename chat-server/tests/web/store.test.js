// A store that is busy, full, or away, and a server that is told to stop: nothing is acknowledged that is not stored, and everybody is
// back by themselves.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

import { atEnd } from './support/cleanup.js';
import { FullClient } from './support/full.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { tutorialClient } from './support/tutorial.js';
import { until, within } from './support/until.js';

/** Another process that holds the database's write lock until `release`. */
async function lockDatabase(t, database) {
  const shell = spawn('sqlite3', [database], { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(t, () => shell.kill('SIGKILL'));
  let said = '';
  shell.stdout.on('data', (bytes) => { said += bytes; });
  shell.stdin.write('.timeout 10000\nBEGIN IMMEDIATE;\nSELECT \'locked\';\n');
  await until(() => said.includes('locked'), 'the other process holds the lock');
  return {
    release: async () => {
      const gone = once(shell, 'exit');
      shell.stdin.end('ROLLBACK;\n.quit\n');
      await gone;
    },
  };
}

function count(database, text) {
  const found = execFileSync('sqlite3', ['-readonly', database, '.dump'], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return found.split('\n').filter((line) => line.includes(text) || line.includes(Buffer.from(text).toString('hex'))).length;
}

async function inRoom(t, server, options) {
  const client = new FullClient(t, server.url, options);
  await client.connected();
  assert.equal((await client.join('general', { after: 0 })).ok, true);
  return client;
}

test('while another process holds the database, nothing is acknowledged; then everything is stored once', { timeout: 120_000 }, async (t) => {
  const server = await startServer(t);
  const full = await inRoom(t, server);
  const simple = tutorialClient(t, server.url);
  assert.equal((await full.post('first', 'first')).ok, true);
  await until(() => simple.seen.length === 1, 'the tutorial\'s client is there');

  const lock = await lockDatabase(t, server.database);
  const answers = [];
  const answered = (name) => (reply) => answers.push(`${name} ${JSON.stringify(reply)}`);
  const fullPost = full.postForSure('full', 'from full').then(answered('full'));
  simple.socket.emit('chat message', 'from simple', 'simple', (error, reply) => answered('simple')(reply ?? error));
  // Long enough that the store has given up at least once: it says so on the full protocol, where trying again is the client's business.
  const refused = await full.ask('post', { room: 'general', id: 'probe', content: 'probe' }).catch(() => undefined);
  assert.notEqual(refused?.ok, true);
  if (refused) assert.equal(refused.error.retryable, true, JSON.stringify(refused));
  assert.deepEqual(answers, []);
  assert.deepEqual(full.texts(), ['first']);

  await lock.release();
  await until(() => answers.length === 2, () => `both are answered: ${answers}`, 60_000);
  assert.ok(answers.every((answer) => answer.includes('"ok":true')), String(answers));
  await fullPost;
  await until(() => full.texts().includes('from full') && full.texts().includes('from simple'), 'both are shown');
  assert.equal((await full.post('probe', 'probe')).ok, true);
  for (const text of ['from full', 'from simple', 'probe']) assert.equal(full.texts().filter((shown) => shown === text).length, 1, text);
  assert.deepEqual(full.offsets(), full.offsets().map((_, index) => index + 1));
});

test('while the disk is full nothing is acknowledged, and nothing acknowledged is lost; with space again it goes on', { timeout: 120_000 }, async (t) => {
  // No file may grow beyond this size: for the database that is a full disk, and it can be lifted while the server runs.
  const limit = 2 * 1024 * 1024;
  const wrap = (command) => ['bash', '-c', `trap '' XFSZ; exec prlimit --fsize=${limit}:unlimited -- "$@"`, 'bash', ...command];
  const server = await startServer(t, { wrap });
  const client = await inRoom(t, server);
  const acknowledged = [];
  const filler = 'x'.repeat(30_000);
  let refused;
  for (let number = 1; !refused; number += 1) {
    assert.ok(number < 1_000, 'the disk is full at last');
    const content = `${number} ${filler}`;
    const reply = await client.ask('post', { room: 'general', id: `${number}`, content }).catch(() => ({ ok: false, error: { retryable: true } }));
    if (reply.ok) acknowledged.push(content);
    else refused = { reply, id: `${number}`, content };
  }
  assert.equal(refused.reply.error.retryable, true, JSON.stringify(refused.reply));
  assert.ok(acknowledged.length > 10, 'there was space at first');
  const full = await fetch(`${server.url}/readyz`);
  assert.equal(full.status, 503);
  assert.match(await full.text(), /takes no messages/);

  execFileSync('prlimit', ['--pid', String(server.pid), '--fsize=unlimited:unlimited']);
  assert.equal((await within(client.postForSure(refused.id, refused.content), 'it is stored', 60_000)).ok, true);
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  await server.kill();
  await server.start();
  const reader = new FullClient(t, server.url, { rooms: { general: 0 } });
  await until(() => reader.messages().length > acknowledged.length, 'all are there');
  assert.deepEqual(reader.texts(), [...acknowledged, refused.content]);
});

test('a store that is away for half a minute costs nobody their connection for good, and no message', { timeout: 180_000 }, async (t) => {
  const server = await startServer(t);
  const readers = [await inRoom(t, server), await inRoom(t, server, { transports: ['polling'] })];
  const simple = tutorialClient(t, server.url);
  const poster = await inRoom(t, server);
  assert.equal((await poster.post('before', 'before')).ok, true);

  const lock = await lockDatabase(t, server.database);
  const since = performance.now();
  const posts = ['one', 'two', 'three'].map((text) => poster.postForSure(text, text));
  simple.send('four');
  // Somebody comes while it is away.
  const late = new FullClient(t, server.url, { rooms: { general: 0 } });
  const ready = async () => (await fetch(`${server.url}/readyz`)).status;
  await until(() => performance.now() - since > 30_000, 'half a minute has passed', 40_000);
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  await lock.release();

  await within(Promise.all(posts), 'the posts are answered', 60_000);
  const all = ['before', 'four', 'one', 'three', 'two'];
  for (const client of [...readers, late]) {
    await until(() => client.messages().length === all.length, () => `everybody has everything: ${client.texts()}`, 60_000);
    assert.deepEqual([...client.texts()].sort(), all);
    assert.deepEqual(client.texts(), late.texts());
    assert.deepEqual(client.lost, []);
  }
  await until(() => simple.seen.length === all.length, 'the tutorial\'s client too', 60_000);
  assert.deepEqual(simple.contents(), late.texts());
  await until(async () => (await ready()) === 200, 'the server is ready');
});

test('told to stop, the server ends in time with success, and everybody is back at the next one with nothing lost', { timeout: 120_000 }, async (t) => {
  const server = await startServer(t);
  const clients = [await inRoom(t, server), await inRoom(t, server, { transports: ['polling'] }), await inRoom(t, server, { transports: ['websocket'] })];
  const simple = tutorialClient(t, server.url);
  const reasons = [];
  for (const { socket } of [...clients, simple]) socket.on('disconnect', (reason) => reasons.push(reason));
  const posted = [];
  for (let round = 1; round <= 4; round += 1) {
    const posts = clients.map((client, who) => {
      posted.push(`${round} ${who}`);
      return client.postForSure(`${round} ${who}`, `${round} ${who}`);
    });
    // Posts are under way when the signal comes.
    assert.equal(await within(server.end(round % 2 ? 'SIGTERM' : 'SIGINT'), 'it ends', 20_000), 0, server.output);
    await server.start();
    await within(Promise.all(posts), 'the posts are answered', 30_000);
  }
  for (const client of clients) {
    await until(() => client.messages().length >= posted.length, 'everybody has everything', 30_000);
    assert.deepEqual([...client.texts()].sort(), [...posted].sort());
    assert.deepEqual(client.texts(), clients[0].texts());
  }
  await until(() => simple.seen.length >= posted.length, 'the tutorial\'s client too', 30_000);
  assert.deepEqual(simple.contents(), clients[0].texts());
  // The clients take this one for final and would not come back.
  assert.ok(!reasons.includes('io server disconnect'), String(reasons));
});

/** A request that never ends: the server waits for its body when it is told to stop. */
async function hangingRequest(t, server) {
  const handshake = await (await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`)).text();
  const { sid } = JSON.parse(handshake.slice(1));
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  atEnd(t, () => socket.destroy());
  socket.on('error', () => {});
  const head = [`POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1`, `Host: ${hostname}`, 'Expect: 100-continue', 'Content-Length: 1000', '', ''];
  socket.write(head.join('\r\n'));
  // "Continue": the server has the request, and waits for its body.
  await within(once(socket, 'data'), 'the server waits for the body');
}

test('told to stop with a request that never ends and a store that does not answer, the server still ends within its deadline', async (t) => {
  const server = await startServer(t);
  const client = await inRoom(t, server);
  await hangingRequest(t, server);
  await lockDatabase(t, server.database);
  client.socket.emit('post', { room: 'general', id: 'late', content: 'late' });
  const since = performance.now();
  assert.equal(await within(server.end('SIGTERM'), 'it ends', 30_000), 0, server.output);
  // 8 s, and what a busy machine needs.
  const took = performance.now() - since;
  assert.ok(took < 9_500, `it took ${took} ms`);
});

test('a second signal ends the server at once', async (t) => {
  const server = await startServer(t);
  await hangingRequest(t, server);
  server.signal('SIGTERM');
  await until(() => server.output.includes('stopping'), 'it has begun to stop');
  assert.equal(server.exitCode, null, 'it waits for the request');
  // Not the code of a server that has stopped in peace.
  assert.equal(await within(server.end('SIGTERM'), 'it is gone', 20_000), 130);
});

test('what was acknowledged is in the database file', async (t) => {
  const server = await startServer(t);
  const client = await inRoom(t, server);
  assert.equal((await client.post('key', 'to be found in the file')).ok, true);
  await server.kill();
  assert.ok(count(server.database, 'to be found in the file') >= 1);
});

// How the server starts, what it says when it cannot, and what it hands out over HTTP.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FullClient } from './support/full.js';
import { binary, freePort, startServer, withoutSettings } from './support/server.js';
import { test } from './support/testing.js';
import { until, within } from './support/until.js';

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'chat-start-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Runs the server to its end, which is expected to come by itself. */
function run(t, args, { env = {}, cwd = folder(t) } = {}) {
  const done = spawnSync(binary(), args, { cwd, env: { ...withoutSettings(), ...env }, encoding: 'utf8', timeout: 20_000 });
  return { code: done.status, out: done.stdout, error: done.stderr, all: done.stdout + done.stderr };
}

test('started without options it serves localhost:3000 and keeps messages in ./chat.db', async (t) => {
  // Port 3000 may be taken on the machine of a developer: then the server says so, which is as good a proof of where it listens.
  const cwd = folder(t);
  const child = spawn(binary(), [], { cwd, env: withoutSettings(), stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { said += bytes; });
  await until(() => said.includes('3000'), () => `it names its port: ${said}`);
  if (child.exitCode === null && said.includes('http://localhost:3000')) {
    await until(() => readdirSync(cwd).includes('chat.db'), 'the database is there');
    child.kill('SIGTERM');
    await once(child, 'exit');
    assert.deepEqual(readdirSync(cwd).filter((name) => !name.startsWith('chat.db')), []);
  }
});

test('a port that is taken is named, with what to do', async (t) => {
  const server = await startServer(t, { store: 'memory:' });
  const { code, all } = run(t, ['--listen', new URL(server.url).port, '--store', 'memory:']);
  assert.equal(code, 1, all);
  assert.match(all, /already in use/);
  assert.match(all, /--listen/);
});

test('a database that another server has open is refused, with what to do', async (t) => {
  const server = await startServer(t);
  const { code, all } = run(t, ['--listen', String(await freePort()), '--store', `sqlite:${server.database}`]);
  assert.equal(code, 1, all);
  assert.match(all, /another|in use/i);
});

test('a file that is no database, or in a folder that is not there, is refused in plain words', async (t) => {
  const port = String(await freePort());
  const cwd = folder(t);
  writeFileSync(join(cwd, 'notes.txt'), 'These are my notes, and they are longer than the header of a database file would be, so it reads it all.'.repeat(20));
  const foreign = run(t, ['--listen', port, '--store', 'sqlite:notes.txt'], { cwd });
  assert.equal(foreign.code, 1, foreign.all);
  assert.match(foreign.all, /notes\.txt/);
  assert.match(foreign.all, /not a database|not an? (SQLite|chat)/i);
  const absent = run(t, ['--listen', port, '--store', 'sqlite:gone/chat.db'], { cwd });
  assert.equal(absent.code, 1, absent.all);
  assert.match(absent.all, /gone/);
  for (const { all } of [foreign, absent]) assert.doesNotMatch(all, /panicked|RUST_BACKTRACE/);
});

test('a Redis that is not there is told as such, and nothing is served without it', async (t) => {
  const nobody = await freePort();
  const { code, all } = run(t, ['--listen', String(await freePort()), '--store', `redis://127.0.0.1:${nobody}`]);
  assert.equal(code, 1, all);
  assert.match(all, /error: .*Redis/);
  assert.doesNotMatch(all, /panicked|serving/);
});

test('settings that cannot be used are refused before anything is touched', async (t) => {
  const cwd = folder(t);
  writeFileSync(join(cwd, 'chat.toml'), 'listn = "127.0.0.1:4000"\n');
  for (const [args, env, expected] of [
    [['--listen', 'nowhere'], {}, /--listen: "nowhere" cannot be used/],
    [['--listn', '1'], {}, /--listen/],
    [[], { CHAT_LOG_FORMAT: 'xml' }, /CHAT_LOG_FORMAT: "xml" cannot be used: write text or json/],
    [['--store', 'postgres://localhost'], {}, /--store: "postgres:\/\/localhost" cannot be used: write sqlite:PATH/],
    [['--store', 'redis+cluster://'], {}, /name at least one node of the cluster/],
    [['--config', 'chat.toml'], {}, /unknown key `listn`; did you mean `listen`\?/],
    [['--config', 'gone.toml'], {}, /gone\.toml cannot be read/],
  ]) {
    const { code, error } = run(t, args, { env, cwd });
    assert.equal(code, 2, error);
    assert.match(error, expected);
  }
  assert.deepEqual(readdirSync(cwd), ['chat.toml']);
});

test('--help tells every option and ends well', (t) => {
  const { code, out } = run(t, ['--help']);
  assert.equal(code, 0);
  for (const option of ['--listen', '--store', '--config', '--requests-per-second', 'CHAT_LISTEN']) assert.ok(out.includes(option), option);
  const long = out.split('\n').filter((line) => line.length > 130);
  assert.deepEqual(long, [], 'it fits onto a screen');
});

test('what is to be forgotten after a while is not silently kept in memory', async (t) => {
  const warned = async (options) => {
    const server = await startServer(t, options);
    // The line that comes behind it.
    await until(() => server.output.includes('serving'), 'it has said what it has to say');
    return /keep-days have no effect/.test(server.output);
  };
  assert.equal(await warned({ store: 'memory:', args: ['--keep-days', '30'] }), true);
  assert.equal(await warned({ store: 'memory:' }), false);
  assert.equal(await warned({ args: ['--keep-days', '30'] }), false);
});

test('the page, the official client and the health of the server are there', async (t) => {
  const server = await startServer(t);
  const page = await fetch(server.url);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type'), /^text\/html/);
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'/);
  const text = await page.text();
  for (const id of ['messages', 'form', 'input']) assert.ok(text.includes(`id="${id}"`), id);
  for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js']) {
    const file = await fetch(`${server.url}/socket.io/${name}`);
    assert.equal(file.status, 200, name);
    assert.match(file.headers.get('content-type'), /javascript/);
    assert.ok((await file.text()).includes('Socket.IO'), name);
    const again = await fetch(`${server.url}/socket.io/${name}`, { headers: { 'if-none-match': file.headers.get('etag') } });
    assert.equal(again.status, 304, name);
    assert.equal((await fetch(`${server.url}/socket.io/${name}.map`)).status, 200, name);
  }
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  assert.equal((await fetch(`${server.url}/nothing-here`)).status, 404);
});

test('another site\'s pages are refused, configured ones are not', async (t) => {
  const server = await startServer(t, { store: 'memory:', args: ['--origin', 'https://friend.example'] });
  const handshake = (origin) => fetch(`${server.url}/socket.io/?EIO=4&transport=polling`, { headers: origin ? { origin } : {} });
  assert.equal((await handshake()).status, 200);
  assert.equal((await handshake(server.url)).status, 200);
  const friend = await handshake('https://friend.example');
  assert.equal(friend.status, 200);
  assert.equal(friend.headers.get('access-control-allow-origin'), 'https://friend.example');
  assert.equal((await handshake('https://stranger.example')).status, 403);
});

test('the limits of the protocol are settings, by flag, variable and file', async (t) => {
  const cwd = folder(t);
  writeFileSync(join(cwd, 'chat.toml'), 'rooms = 2\nattachments = 1\n');
  const env = { CHAT_CONTENT_BYTES: '100' };
  const args = ['--packet-bytes', '5000', '--ping-interval', '7', '--ping-timeout', '3', '--config', join(cwd, 'chat.toml')];
  const server = await startServer(t, { store: 'memory:', args, env });
  const handshake = await (await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`)).text();
  const { pingInterval, pingTimeout, maxPayload } = JSON.parse(handshake.slice(1));
  assert.deepEqual({ pingInterval, pingTimeout, maxPayload }, { pingInterval: 7_000, pingTimeout: 3_000, maxPayload: 5_000 });

  const client = new FullClient(t, server.url, { reconnection: false });
  await client.connected();
  for (const room of ['one', 'two']) assert.equal((await client.join(room)).ok, true);
  assert.equal((await client.join('three')).error?.code, 'bad_request');
  assert.equal((await client.post('fits', 'x'.repeat(98), 'one')).ok, true);
  assert.equal((await client.post('does not', 'x'.repeat(99), 'one')).error?.code, 'too_large');
  const bytes = Buffer.from([1]);
  assert.equal((await client.post('one attachment', bytes, 'one')).ok, true);
  for (const tooMuch of [[bytes, bytes], 'x'.repeat(5_000)]) {
    const other = new FullClient(t, server.url, { reconnection: false, transports: ['websocket'] });
    await other.connected();
    const gone = once(other.socket, 'disconnect');
    other.socket.emit('post', { room: 'one', id: 'too much', content: tooMuch });
    await within(gone, 'the server gives up on it');
  }
});

/** A handshake from a page of `origin` that calls the server `host`: `fetch` does not let the second be chosen. */
async function handshakeAs(server, host, origin) {
  const asked = request(`${server.url}/socket.io/?EIO=4&transport=polling`, { headers: { host, origin } }).end();
  const [answer] = await once(asked, 'response');
  answer.resume();
  return answer;
}

test('a server on loopback is its own site under names of this machine only, and under its public one', async (t) => {
  const server = await startServer(t, { store: 'memory:', args: ['--public-url', 'https://chat.example'] });
  const { port } = new URL(server.url);
  // A page of another site whose name was made to point here.
  assert.equal((await handshakeAs(server, `evil.example:${port}`, `http://evil.example:${port}`)).statusCode, 403);
  for (const own of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`]) assert.equal((await handshakeAs(server, own, `http://${own}`)).statusCode, 200, own);
  assert.equal((await handshakeAs(server, `127.0.0.1:${port}`, 'https://chat.example')).statusCode, 200);
});

test('a server that is reached from elsewhere believes the name it is called by, unless its public one is known', async (t) => {
  const nameless = await startServer(t, { store: 'memory:', listen: '0.0.0.0' });
  assert.equal((await handshakeAs(nameless, 'chat.example', 'http://chat.example')).statusCode, 200);
  assert.equal((await handshakeAs(nameless, 'chat.example', 'http://evil.example')).statusCode, 403);
  const named = await startServer(t, { store: 'memory:', listen: '0.0.0.0', args: ['--public-url', 'https://chat.example'] });
  assert.equal((await handshakeAs(named, 'chat.example', 'https://chat.example')).statusCode, 200);
  assert.equal((await handshakeAs(named, 'evil.example', 'http://evil.example')).statusCode, 403);
});

test('where every site may connect, none may use what the browser knows of its visitor', async (t) => {
  const server = await startServer(t, { store: 'memory:', args: ['--origin', '*'] });
  const { headers, status } = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`, { headers: { origin: 'https://stranger.example' } });
  assert.equal(status, 200);
  assert.equal(headers.get('access-control-allow-origin'), 'https://stranger.example');
  assert.equal(headers.get('access-control-allow-credentials'), null);
});

test('a log line is JSON where that is wanted, and holds no message and no secret', async (t) => {
  const server = await startServer(t, { args: ['--log-format', 'json', '--log', 'trace'] });
  const client = new FullClient(t, server.url, { guest: 'a-secret-of-the-guest-1234' });
  await client.connected();
  await client.join();
  assert.equal((await client.post('key', 'the-body-of-a-message')).ok, true);
  await server.end('SIGTERM');
  const lines = server.output.split('\n').filter((line) => line.startsWith('{'));
  assert.ok(lines.length > 0, server.output);
  for (const line of lines) JSON.parse(line);
  assert.ok(!server.output.includes('the-body-of-a-message'));
  assert.ok(!server.output.includes('a-secret-of-the-guest-1234'));
});

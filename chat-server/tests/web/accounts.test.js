// Accounts and permission from outside: the real server, the official client, and whoever wants to be somebody else.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { io } from 'socket.io-client';
import WebSocket from 'ws';

import { atEnd } from './support/cleanup.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { until, within } from './support/until.js';

const SECRET = 'a-secret-of-the-server-that-nobody-may-see';
const keys = generateKeyPairSync('ed25519');
const pem = keys.publicKey.export({ type: 'spki', format: 'pem' });

const now = () => Math.floor(Date.now() / 1000);
const part = (value) => Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString('base64url');

/** A token with this header and these claims, signed by `signer`. */
function token(header, claims, signer) {
  const message = `${part(header)}.${part(claims)}`;
  return `${message}.${part(signer(message))}`;
}

const hs256 = (secret) => (message) => createHmac('sha256', secret).update(message).digest();
const eddsa = (message) => sign(null, Buffer.from(message), keys.privateKey);
const claims = (more = {}) => ({ sub: 'ada', name: 'Ada', exp: now() + 600, ...more });
const bySecret = (more) => token({ alg: 'HS256', typ: 'JWT' }, claims(more), hs256(SECRET));
const byKey = (more) => token({ alg: 'EdDSA', typ: 'JWT' }, claims(more), eddsa);

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'chat-accounts-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A connection attempt: `{socket}`, or `{error}` as the client is told. */
async function attempt(t, url, auth) {
  const socket = io(url, { auth, forceNew: true, reconnectionDelay: 50, autoConnect: false, transports: ['websocket'] });
  atEnd(t, () => socket.disconnect());
  const outcome = new Promise((done) => {
    socket.once('connect', () => done({ socket }));
    socket.once('connect_error', (error) => done({ error }));
  });
  socket.connect();
  return within(outcome, 'the server answers');
}

async function connected(t, url, auth) {
  const { socket, error } = await attempt(t, url, auth);
  assert.ok(socket, `it is let in: ${error?.message} ${JSON.stringify(error?.data)}`);
  return socket;
}

const ask = (socket, event, body) => socket.timeout(10_000).emitWithAck(event, body);

test('forged tokens let nobody in, whatever the key is, and nothing of them is in the log', async (t) => {
  const path = join(folder(t), 'key.pem');
  writeFileSync(path, pem);
  const raw = keys.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  const wanted = ['--token-audience', 'chat', '--token-issuer', 'id', '--log', 'trace'];
  const good = { aud: 'chat', iss: 'id' };
  for (const [server, sign, make] of [
    [await startServer(t, { store: 'memory:', args: [...wanted, '--token-public-key', path] }), eddsa, (more) => byKey({ ...good, ...more })],
    [await startServer(t, { store: 'memory:', args: wanted, env: { CHAT_TOKEN_SECRET: SECRET } }), hs256(SECRET), (more) => bySecret({ ...good, ...more })],
  ]) {
    const algorithm = sign === eddsa ? 'EdDSA' : 'HS256';
    const body = claims(good);
    const forged = {
      'alg none': token({ alg: 'none' }, body, () => ''),
      'alg None': token({ alg: 'None' }, body, () => ''),
      'no signature': token({ alg: algorithm }, body, () => ''),
      'the public key as a secret': token({ alg: 'HS256' }, body, hs256(raw)),
      'the PEM as a secret': token({ alg: 'HS256' }, body, hs256(pem)),
      'the empty secret': token({ alg: 'HS256' }, body, hs256('')),
      'another secret': token({ alg: 'HS256' }, body, hs256('x'.repeat(40))),
      'another algorithm': token({ alg: 'HS512' }, body, sign),
      expired: make({ exp: now() - 100 }),
      'not yet valid': make({ nbf: now() + 100 }),
      'for somebody else': make({ aud: 'mail' }),
      'for nobody': make({ aud: undefined }),
      'from somebody else': make({ iss: 'evil' }),
      'without an end': make({ exp: undefined }),
      'like a guest': make({ sub: 'guest:abc' }),
      'like the server': make({ sub: '~chat' }),
      'without anybody': make({ sub: undefined }),
      empty: make({ sub: '' }),
      huge: make({ sub: 'x'.repeat(300) }),
      'with a control character': make({ sub: 'a\u0000b' }),
      'with a number': make({ sub: 7 }),
      'as large as may be': make({ padding: 'x'.repeat(9_000) }),
      'no token': 'no token',
      nothing: '',
      'an object': { alg: 'none' },
    };
    for (const [what, token] of Object.entries(forged)) {
      for (const auth of [{ token, rooms: {} }, { token }]) {
        const { error } = await attempt(t, server.url, auth);
        assert.equal(error?.data?.code, 'unauthorized', `${what}: ${error?.message}`);
        assert.equal(error.data.retryable, false, what);
        if (typeof token === 'string' && token.length > 20) assert.ok(!JSON.stringify(error.data).includes(token), what);
      }
    }
    const socket = await connected(t, server.url, { token: make(), guest: 'a-secret-of-a-guest-12345', rooms: { general: 0 } });
    const seen = once(socket, 'message');
    assert.equal((await ask(socket, 'post', { room: 'general', id: '1', content: 'a-body-of-a-message', from: { id: 'bob' } })).ok, true);
    assert.deepEqual((await seen)[0].from, { id: 'ada', name: 'Ada' });
    await server.end('SIGTERM');
    const secrets = [SECRET, make(), make().split('.')[1], 'a-body-of-a-message', 'a-secret-of-a-guest-12345', pem.split('\n')[1], ...Object.values(forged).filter((text) => text.length > 40)];
    assert.ok(server.output.includes('serving'), 'it says something');
    for (const secret of secrets) assert.ok(!server.output.includes(secret), `${String(secret).slice(0, 30)} is in the log`);
  }
});

test('a connection outlives its token only with another one of the same user', async (t) => {
  const server = await startServer(t, { store: 'memory:', args: ['--token-skew', '0', '--token-notice', '1'], env: { CHAT_TOKEN_SECRET: SECRET } });
  const started = { exp: now() + 3 };
  const [kept, lost, tutorial] = await Promise.all([
    connected(t, server.url, { token: bySecret(started), rooms: { general: 0 } }),
    connected(t, server.url, { token: bySecret(started), rooms: { general: 0 } }),
    connected(t, server.url, { token: bySecret(started) }),
  ]);
  const out = [lost, tutorial].map(async (socket) => {
    const [[told], [reason]] = await Promise.all([once(socket, 'signed_out'), once(socket, 'disconnect')]);
    return { told, reason };
  });
  const [{ at }] = await within(once(kept, 'token_expiring'), 'it is told ahead');
  assert.equal(at, started.exp * 1000);
  assert.equal((await ask(kept, 'refresh', { token: bySecret({ sub: 'bob' }) })).error.code, 'unauthorized');
  assert.equal((await ask(kept, 'refresh', { token: bySecret() })).ok, true);
  for (const { told, reason } of await within(Promise.all(out), 'the others are signed out')) {
    assert.equal(told.reason, 'expired');
    assert.equal(reason, 'io server disconnect');
  }
  assert.ok(Date.now() >= started.exp * 1000);
  assert.equal((await ask(kept, 'post', { room: 'general', id: '1', content: 1 })).ok, true);
  // Its session is no way around it.
  lost.connect();
  const [error] = await within(once(lost, 'connect_error'), 'it is refused');
  assert.equal(error.data.code, 'unauthorized');
});

test('the rules of a file hold, and are read again on a signal', async (t) => {
  const path = join(folder(t), 'rules.toml');
  const rule = (room, who, allow) => `[[rule]]\nroom = ${JSON.stringify(room)}\nwho = ${JSON.stringify(who)}\nallow = ${JSON.stringify(allow)}\n`;
  const all = ['join', 'read', 'post', 'members', 'manage'];
  const rules = [rule('*', 'role:moderator', all), rule('news', 'everyone', ['join', 'read']), rule('staff-*', 'user:bob', all.slice(0, 3)), rule('staff-*', 'everyone', []), rule('*', 'everyone', ['join', 'read', 'post'])];
  writeFileSync(path, rules.join('\n'));
  const server = await startServer(t, { args: ['--rules', path], env: { CHAT_TOKEN_SECRET: SECRET } });
  const as = (more, rooms = {}) => connected(t, server.url, { token: bySecret(more), rooms });
  const [ada, bob, moderator, guest] = await Promise.all([as({}, { general: 0 }), as({ sub: 'bob' }), as({ sub: 'mod', roles: ['moderator'] }, { general: 0 }), connected(t, server.url, { rooms: { news: 0 } })]);
  assert.equal((await ask(ada, 'join', { room: 'staff-only' })).error.code, 'forbidden');
  assert.equal((await ask(bob, 'join', { room: 'staff-only' })).ok, true);
  assert.equal((await ask(guest, 'post', { room: 'news', id: '1', content: 1 })).error.code, 'forbidden');
  assert.equal((await ask(guest, 'history', { room: 'staff-only' })).error.code, 'forbidden');
  assert.equal((await ask(ada, 'ban', { room: 'general', user: 'mod' })).error.code, 'forbidden');

  // Banned, and not back by any door: not by joining, not by connecting, not by the session, and not after a restart.
  const removed = once(ada, 'removed');
  const until_ = Date.now() + 3_600_000;
  assert.equal((await ask(moderator, 'ban', { room: 'general', user: 'ada', until: until_, reason: 'spam' })).ok, true);
  assert.deepEqual((await within(removed, 'she is told'))[0], { room: 'general', reason: 'banned', message: 'spam', until: until_ });
  assert.equal((await ask(ada, 'join', { room: 'general' })).error.code, 'forbidden');
  await server.end('SIGKILL');
  await server.start();
  const { error } = await attempt(t, server.url, { token: bySecret(), rooms: { general: 0 } });
  assert.equal(error?.data.code, 'forbidden');
  assert.equal(error.data.until, until_);

  writeFileSync(path, rule('*', 'everyone', ['join']));
  server.signal('SIGHUP');
  await until(() => server.output.includes('the rules were read again'), 'they are read');
  const again = await as({ sub: 'eve' }, { 'staff-only': 0 });
  assert.equal((await ask(again, 'post', { room: 'staff-only', id: '1', content: 1 })).error.code, 'forbidden');
  writeFileSync(path, 'rule = 7');
  server.signal('SIGHUP');
  await until(() => server.output.includes('the rules cannot be used'), 'the mistake is told');
  assert.equal((await ask(again, 'join', { room: 'other' })).ok, true);
});

test('a session is of no use to whoever has its pid and another token', async (t) => {
  const server = await startServer(t, { store: 'memory:', env: { CHAT_TOKEN_SECRET: SECRET } });
  const socket = io(server.url, { auth: { token: bySecret(), rooms: { general: 0 } }, forceNew: true, transports: ['websocket'] });
  atEnd(t, () => socket.disconnect());
  await within(once(socket, 'connect'), 'it is let in');
  assert.equal((await ask(socket, 'post', { room: 'general', id: '1', content: 1 })).ok, true);
  const pid = socket._pid;
  assert.ok(pid, 'the client has a pid');
  for (const auth of [{ token: bySecret({ sub: 'eve' }) }, {}, { guest: randomBytes(16).toString('hex') }]) {
    const thief = await connected(t, server.url, { ...auth, rooms: { general: 0 }, pid });
    assert.equal(thief.recovered, false);
    assert.notEqual(thief.id, socket.id);
    const message = new Promise((done) => thief.on('message', (message) => { if (message.id === 'mine') done(message); }));
    await ask(thief, 'post', { room: 'general', id: 'mine', content: 1 });
    assert.notEqual((await within(message, 'its own message comes')).from.id, 'ada');
  }
});

test('a page of another site gets nowhere with the cookies of its visitor', async (t) => {
  const server = await startServer(t, { store: 'memory:', env: { CHAT_TOKEN_SECRET: SECRET } });
  const headers = { origin: 'https://stranger.example', cookie: `io=${randomBytes(8).toString('hex')}; token=${bySecret()}` };
  for (const method of ['GET', 'POST', 'OPTIONS']) {
    const asked = request(`${server.url}/socket.io/?EIO=4&transport=polling`, { method, headers }).end();
    const [answer] = await within(once(asked, 'response'), `${method} is answered`);
    answer.resume();
    assert.equal(answer.statusCode, 403, method);
    assert.equal(answer.headers['access-control-allow-origin'], undefined, method);
  }
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { headers });
  const [, refused] = await within(once(socket, 'unexpected-response'), 'the WebSocket is refused');
  assert.equal(refused.statusCode, 403);
  // A cookie signs nobody in: the token is in the CONNECT, which only the page itself can send.
  const own = io(server.url, { extraHeaders: { cookie: headers.cookie }, auth: { rooms: { general: 0 } }, forceNew: true, transports: ['websocket'] });
  atEnd(t, () => own.disconnect());
  await within(once(own, 'connect'), 'it is let in as a guest');
  const message = once(own, 'message');
  await ask(own, 'post', { room: 'general', id: '1', content: 1 });
  assert.match((await within(message, 'it comes'))[0].from.id, /^guest:/);
});

test('floods of requests and joins are answered, and others are served meanwhile', async (t) => {
  const args = ['--user-requests-per-second', '50', '--joins-per-second', '5', '--rooms', '10', '--user-connections', '3'];
  const server = await startServer(t, { store: 'memory:', args, env: { CHAT_TOKEN_SECRET: SECRET } });
  const flooder = await connected(t, server.url, { token: bySecret({ sub: 'eve' }), rooms: {} });
  const replies = await Promise.all(Array.from({ length: 400 }, (_, number) => ask(flooder, number % 2 ? 'join' : 'history', { room: `r${number % 9}` })));
  const limited = replies.filter((reply) => !reply.ok);
  assert.ok(limited.length > 100 && limited.length < 400, `${limited.length} were refused`);
  for (const { error } of limited) {
    assert.equal(error.code, 'rate_limited');
    assert.ok(error.retryAfterMs > 0);
  }
  const other = await connected(t, server.url, { token: bySecret(), rooms: { general: 0 } });
  assert.equal((await ask(other, 'post', { room: 'general', id: '1', content: 1 })).ok, true);
  for (let number = 0; number < 2; number += 1) await connected(t, server.url, { token: bySecret({ sub: 'eve' }), rooms: {} });
  const { error } = await attempt(t, server.url, { token: bySecret({ sub: 'eve' }), rooms: {} });
  assert.equal(error?.data.code, 'rate_limited');
  assert.match(error.message, /at most 3 connections/);
});

test('a key that cannot be used is told before anything is served', async (t) => {
  const path = join(folder(t), 'key');
  for (const [text, args, expected] of [
    ['short!', ['--token-secret-file', path], /at least 32 bytes/],
    [keys.privateKey.export({ type: 'pkcs8', format: 'pem' }), ['--token-public-key', path], /private key/],
    [generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }), ['--token-public-key', path], /Ed25519 public key is wanted/],
  ]) {
    writeFileSync(path, text);
    const outcome = await startServer(t, { store: 'memory:', args }).then(() => 'started', (error) => error.message);
    assert.match(outcome, expected);
    assert.ok(!outcome.includes(text.split('\n')[1] ?? text.trim()), outcome);
  }
});

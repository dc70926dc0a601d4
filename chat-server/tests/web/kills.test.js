// The server dies again and again while people chat; in the end the checker reads what everybody saw.
//
//   CHAT_KILLS=200 CHAT_SEED=7 node --test kills.test.js

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';

import { breaches } from './support/checker.js';
import { FullClient } from './support/full.js';
import { seeded } from './support/random.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { tutorialClient } from './support/tutorial.js';
import { until } from './support/until.js';
import { fullReader, tutorialReader } from './support/wire.js';

const KILLS = Number(process.env.CHAT_KILLS ?? 20);
const SEED = Number(process.env.CHAT_SEED ?? Math.floor(Math.random() * 2 ** 32));

const TRANSPORTS = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

test(`killed ${KILLS} times with people in the room, the server loses, repeats and reorders nothing`, { timeout: 240_000 + KILLS * 5_000 }, async (t) => {
  console.log(`# seed ${SEED}`);
  const random = seeded(SEED);
  const server = await startServer(t);
  const posts = [];
  const readers = [];
  const busy = { now: true };
  const work = [];
  const lists = Object.entries(TRANSPORTS);

  for (const [name, transports] of lists) {
    const reader = new FullClient(t, server.url, { rooms: { general: 0 }, transports });
    readers.push(() => fullReader(`full reader, ${name}`, reader.wire));
    const simple = tutorialClient(t, server.url, { transports, reconnectionDelay: 50, reconnectionDelayMax: 300 });
    readers.push(() => tutorialReader(`tutorial reader, ${name}`, simple.wire));

    const poster = new FullClient(t, server.url, { transports });
    work.push(postFull(poster, `full ${name}`));
    const simplePoster = tutorialClient(t, server.url, { transports, reconnectionDelay: 50, reconnectionDelayMax: 300 });
    work.push(postTutorial(simplePoster, `tutorial ${name}`));
    work.push(postAndForget(new FullClient(t, server.url, { transports }), `forgetful ${name}`));
  }

  for (let kill = 1; kill <= KILLS; kill += 1) {
    // Random on purpose: not a wait for something, but the moment at which the server dies.
    await wait(random.between(20, 900));
    await server.kill();
    await wait(random.between(0, 200));
    await server.start();
  }
  busy.now = false;
  await Promise.all(work);

  const log = await readLog(t, server);
  const atEnd = (reader) => reader.connections.some(({ received }) => received.at(-1)?.offset === log.length);
  // The library can lose its way for as long as its heartbeat takes, 45 s: when the server dies in the moment of an upgrade, it has stopped
  // polling and has no WebSocket yet.
  await until(() => readers.every((read) => atEnd(read())), 'every reader is at the end', 90_000).catch(() => {
    // The checker says in detail who misses what.
  });
  const found = breaches({ log, posts, readers: readers.map((read) => read()) });
  const acknowledged = posts.filter(({ answers }) => answers.some(({ ok }) => ok)).length;
  const unanswered = posts.filter(({ answers }) => answers.length === 0).length;
  console.log(`# ${posts.length} posts, ${acknowledged} acknowledged, ${unanswered} unanswered, ${log.length} stored, ${readers.length} readers`);
  assert.deepEqual(found.slice(0, 20), [], `seed ${SEED}: ${found.length} breaches`);
  assert.ok(acknowledged > KILLS, 'people did chat');

  async function postFull(client, name) {
    await client.connected();
    await until(async () => (await client.join().catch(() => undefined))?.ok, `${name} is in the room`, 60_000);
    for (let number = 1; busy.now; number += 1) {
      const post = { key: `${name} ${number}`, content: `${name}: ${number}`, answers: [] };
      posts.push(post);
      const reply = await client.postForSure(post.key, post.content);
      post.answers.push(reply);
      await wait(random.between(0, 25));
    }
  }

  /** Several at once, and none of them again: what is cut off in the middle may be stored or not. */
  async function postAndForget(client, name) {
    await client.connected();
    for (let number = 1; busy.now; ) {
      await client.connected();
      await client.join().catch(() => undefined);
      const burst = Array.from({ length: 5 }, () => ({ key: `${name} ${number}`, content: `${name}: ${number++}`, answers: [] }));
      posts.push(...burst);
      await Promise.all(burst.map(async (post) => {
        const reply = await client.post(post.key, post.content).catch(() => undefined);
        if (reply) post.answers.push(reply);
      }));
      await wait(random.between(0, 25));
    }
  }

  async function postTutorial({ socket }, name) {
    for (let number = 1; busy.now; number += 1) {
      const id = `${name} ${number}`;
      const post = { key: told(id), content: `${name}: ${number}`, answers: [] };
      posts.push(post);
      // With `retries` the library calls back exactly once: with an answer, or with an error when it has given up.
      await new Promise((done) => {
        socket.emit('chat message', post.content, id, (error, reply) => {
          if (error === null) post.answers.push({ ok: reply.ok, offset: reply.offset });
          done();
        });
      });
      await wait(random.between(0, 25));
    }
  }
});

/** The room as it is, by the pages of history. */
async function readLog(t, server) {
  const client = new FullClient(t, server.url);
  await client.connected();
  assert.equal((await client.join()).ok, true);
  const log = [];
  let before;
  for (;;) {
    const page = await client.ask('history', { room: 'general', limit: 200, before });
    assert.equal(page.ok, true, JSON.stringify(page));
    if (page.messages.length === 0) return log;
    log.unshift(...page.messages.map(fromFull));
    before = page.messages[0].offset;
    if (before === 1) return log;
  }
}

/** What others are told of the id of a guest without a secret. */
const told = (id) => createHash('sha256').update(id).digest().subarray(0, 16).toString('base64url');

const fromFull = ({ offset, id, content }) => ({ offset, key: id, content });

// People who chat while something is being broken, and what they saw of it, for the checker.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';

import { breaches } from './checker.js';
import { FullClient } from './full.js';
import { tutorialClient } from './tutorial.js';
import { until } from './until.js';
import { fullReader, tutorialReader } from './wire.js';

const PAUSES = { reconnectionDelay: 50, reconnectionDelayMax: 300 };

/** Readers and posters of both protocols, in one room, for each entry of `transports`: a name and what the library is told. They begin at once. */
export class People {
  posts = [];
  #readers = [];
  #work = [];
  #busy = true;
  #random;
  #t;
  #url;

  constructor(t, url, random, transports) {
    this.#t = t;
    this.#url = url;
    this.#random = random;
    for (const [name, list] of Object.entries(transports)) {
      const reader = new FullClient(t, url, { rooms: { general: 0 }, transports: list });
      this.#readers.push(() => fullReader(`full reader, ${name}`, reader.wire));
      const simple = tutorialClient(t, url, { transports: list, ...PAUSES });
      this.#readers.push(() => tutorialReader(`tutorial reader, ${name}`, simple.wire));
      this.#work.push(this.#postFull(new FullClient(t, url, { transports: list }), `full ${name}`));
      this.#work.push(this.#postTutorial(tutorialClient(t, url, { transports: list, ...PAUSES }), `tutorial ${name}`));
      this.#work.push(this.#postAndForget(new FullClient(t, url, { transports: list }), `forgetful ${name}`));
    }
  }

  /** Everybody comes to an end. Resolves to what is wrong with what they saw, and to how many posts were acknowledged. */
  async finish() {
    this.#busy = false;
    await Promise.all(this.#work);
    const log = await readLog(this.#t, this.#url);
    const atEnd = (reader) => reader.connections.some(({ received }) => received.at(-1)?.offset === log.length);
    // The library can lose its way for as long as its heartbeat takes, 45 s: when the server dies in the moment of an upgrade, it has stopped
    // polling and has no WebSocket yet.
    await until(() => this.#readers.every((read) => atEnd(read())), 'every reader is at the end', 90_000).catch(() => {
      // The checker says in detail who misses what.
    });
    const found = breaches({ log, posts: this.posts, readers: this.#readers.map((read) => read()) });
    const acknowledged = this.posts.filter(({ answers }) => answers.some(({ ok }) => ok)).length;
    const unanswered = this.posts.filter(({ answers }) => answers.length === 0).length;
    console.log(`# ${this.posts.length} posts, ${acknowledged} acknowledged, ${unanswered} unanswered, ${log.length} stored, ${this.#readers.length} readers`);
    return { found, acknowledged };
  }

  async #postFull(client, name) {
    await client.connected();
    await until(async () => (await client.join().catch(() => undefined))?.ok, `${name} is in the room`, 60_000);
    for (let number = 1; this.#busy; number += 1) {
      const post = { key: `${name} ${number}`, content: `${name}: ${number}`, answers: [] };
      this.posts.push(post);
      const reply = await client.postForSure(post.key, post.content);
      post.answers.push(reply);
      await wait(this.#random.between(0, 25));
    }
  }

  /** Several at once, and none of them again: what is cut off in the middle may be stored or not. */
  async #postAndForget(client, name) {
    await client.connected();
    for (let number = 1; this.#busy; ) {
      await client.connected();
      await client.join().catch(() => undefined);
      const burst = Array.from({ length: 5 }, () => ({ key: `${name} ${number}`, content: `${name}: ${number++}`, answers: [] }));
      this.posts.push(...burst);
      await Promise.all(burst.map(async (post) => {
        const reply = await client.post(post.key, post.content).catch(() => undefined);
        if (reply) post.answers.push(reply);
      }));
      await wait(this.#random.between(0, 25));
    }
  }

  async #postTutorial({ socket }, name) {
    for (let number = 1; this.#busy; number += 1) {
      const id = `${name} ${number}`;
      const post = { key: told(id), content: `${name}: ${number}`, answers: [] };
      this.posts.push(post);
      // With `retries` the library calls back exactly once: with an answer, or with an error when it has given up.
      await new Promise((done) => {
        socket.emit('chat message', post.content, id, (error, reply) => {
          if (error === null) post.answers.push({ ok: reply.ok, offset: reply.offset });
          done();
        });
      });
      await wait(this.#random.between(0, 25));
    }
  }
}

/** The room as it is, by the pages of history. */
async function readLog(t, url) {
  const client = new FullClient(t, url);
  // What was broken last may not be whole yet.
  const sure = async (event, request) => {
    let reply;
    await until(async () => {
      await client.connected();
      reply = await client.ask(event, request).catch(() => undefined);
      return reply?.ok || reply?.error.retryable === false;
    }, `the server answers ${event}`, 60_000);
    assert.equal(reply.ok, true, JSON.stringify(reply));
    return reply;
  };
  const log = [];
  let before;
  for (;;) {
    const page = await sure('history', { room: 'general', limit: 200, before });
    if (page.messages.length === 0) return log;
    log.unshift(...page.messages.map(({ offset, id, content }) => ({ offset, key: id, content })));
    before = page.messages[0].offset;
    if (before === 1) return log;
  }
}

/** What others are told of the id of a guest without a secret. */
const told = (id) => createHash('sha256').update(id).digest().subarray(0, 16).toString('base64url');

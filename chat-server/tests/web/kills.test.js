// The server dies again and again while people chat; in the end the checker reads what everybody saw.
//
//   CHAT_KILLS=200 CHAT_SEED=7 node --test kills.test.js

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';

import { People } from './support/people.js';
import { seeded } from './support/random.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';

const KILLS = Number(process.env.CHAT_KILLS ?? 20);
const SEED = Number(process.env.CHAT_SEED ?? Math.floor(Math.random() * 2 ** 32));

const TRANSPORTS = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

test(`killed ${KILLS} times with people in the room, the server loses, repeats and reorders nothing`, { timeout: 240_000 + KILLS * 5_000 }, async (t) => {
  console.log(`# seed ${SEED}`);
  const random = seeded(SEED);
  const server = await startServer(t);
  const people = new People(t, server.url, random, TRANSPORTS);
  for (let kill = 1; kill <= KILLS; kill += 1) {
    // Random on purpose: not a wait for something, but the moment at which the server dies.
    await wait(random.between(20, 900));
    await server.kill();
    await wait(random.between(0, 200));
    await server.start();
  }
  const { found, acknowledged } = await people.finish();
  assert.deepEqual(found.slice(0, 20), [], `seed ${SEED}: ${found.length} breaches`);
  assert.ok(acknowledged > KILLS, 'people did chat');
});

// What a connection and a delivery cost the server, roughly. Not a test: nothing passes or fails.
//
//   ulimit -n 20000; node sizes.js connections 5000        resident memory of idle WebSocket connections
//   ulimit -n 20000; node sizes.js deliveries 1000 600 10  processor time of the server: members, posts, posts under way at once
//
// With RECOVERY=off, the clients ask for neither pid nor tokens.
//
// Measures the binary in CHAT_SERVER_BIN, with messages in memory.

import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

import { startServer } from './support/server.js';
import { until } from './support/until.js';

const HELLO = process.env.RECOVERY === 'off' ? '40{"rooms":{"general":0},"recovery":false}' : '40{"rooms":{"general":0}}';
const ends = [];
const server = await startServer({ after: (end) => ends.push(end) }, { store: 'memory:' });
let delivered = 0;

/** A client that costs little itself: no library, and messages are only counted. */
function connect() {
  return new Promise((done, fail) => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    socket.on('error', fail);
    socket.on('message', (bytes) => {
      const packet = String(bytes);
      if (packet === '2') socket.send('3');
      else if (packet.startsWith('0')) socket.send(HELLO);
      else if (packet.startsWith('40')) done(socket);
      else if (packet.startsWith('42["message"')) delivered += 1;
      else if (packet.startsWith('43')) socket.answered();
    });
  });
}

async function connectMany(count) {
  for (let open = 0; open < count; open += 50) await Promise.all(Array.from({ length: Math.min(50, count - open) }, connect));
}

/** In bytes, once it has stopped moving. */
async function residentBytes() {
  const read = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) * 1024;
  let [last, since] = [0, 0];
  return until(() => {
    const now = read();
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since > 2_000 && now;
  }, 'the server rests', 60_000);
}

/** Used so far, in µs: by the server itself, and by the system for it. */
function processorTime() {
  const [user, system] = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13);
  return { user: Number(user) * 10_000, system: Number(system) * 10_000 };
}

async function connections(count) {
  // The first ones pay for what is there once.
  const first = 100;
  await connectMany(first);
  const before = await residentBytes();
  await connectMany(count - first);
  const after = await residentBytes();
  console.log(`${count} connections: ${after} bytes, ${Math.round((after - before) / (count - first))} for each after the first ${first}`);
}

async function deliveries(members, posts, together) {
  await connectMany(members);
  const poster = await connect();
  const waiting = [];
  poster.answered = () => waiting.shift()();
  let posted = 0;
  const post = () => new Promise((done) => {
    waiting.push(done);
    posted += 1;
    poster.send(`42${posted}["post",{"room":"general","id":"${posted}","content":{"text":"${'x'.repeat(100)}"}}]`);
  });
  const postMany = async (count) => {
    const last = posted + count;
    await Promise.all(Array.from({ length: together }, async () => { while (posted < last) await post(); }));
    await until(() => delivered === posted * (members + 1), 'all is delivered', 600_000);
  };
  await postMany(20);
  const [before, had] = [processorTime(), delivered];
  await postMany(posts);
  const after = processorTime();
  const [user, system] = ['user', 'system'].map((kind) => ((after[kind] - before[kind]) / (delivered - had)).toFixed(2));
  console.log(`${posts} posts to ${members} members, ${together} at once: ${user} µs of the server's own and ${system} µs of the system's time for each of ${delivered - had} deliveries`);
}

const [, , what, ...numbers] = process.argv;
try {
  await { connections, deliveries }[what](...numbers.map(Number));
} finally {
  while (ends.length > 0) await ends.pop()();
}
process.exit();

// A limit: Bun's own WebSocket server and topics, with as little of Socket.IO around them as the clients need.
//
// Speaks what ../README.md calls the common contract. No heartbeat, no storage, no replay.
//
//   node_modules/.bin/bun bun.js --listen 127.0.0.1:3000

import { listening, options } from './options.js';

const { host, port } = options();
const DAY_MS = 24 * 60 * 60 * 1000;

let last = 0;

const server = Bun.serve({
  hostname: host,
  port,
  fetch(request, server) {
    if (server.upgrade(request, { data: { room: undefined } })) return undefined;
    return new Response('WebSocket only', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    // What a slow reader has not taken is kept, as the other limit does.
    backpressureLimit: 1024 ** 3,
    open(socket) {
      socket.send(`0${JSON.stringify({ sid: crypto.randomUUID(), upgrades: [], pingInterval: DAY_MS, pingTimeout: DAY_MS, maxPayload: 1_000_000 })}`);
    },
    message(socket, packet) {
      if (packet.startsWith('42')) event(socket, packet);
      else if (packet.startsWith('40')) connect(socket, packet);
    },
  },
});
listening();

function connect(socket, packet) {
  const { room = 'general' } = JSON.parse(packet.slice(2) || '{}');
  socket.data.room = room;
  socket.subscribe(room);
  socket.send(`40{"sid":"${crypto.randomUUID()}"}`);
}

function event(socket, packet) {
  const begin = packet.indexOf('[');
  const [name, argument] = JSON.parse(packet.slice(begin));
  const { room } = socket.data;
  if (name === 'chat message') {
    last += 1;
    server.publish(room, `42${JSON.stringify([name, argument, last])}`);
    if (begin > 2) socket.send(`43${packet.slice(2, begin)}[]`);
  } else if (name === 'typing') {
    socket.publish(room, `42${JSON.stringify([name, argument])}`);
  }
}

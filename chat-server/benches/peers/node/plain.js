// Plain Socket.IO: rooms, and no database.
//
// Speaks what ../README.md calls the common contract.
//
//   node plain.js --listen 127.0.0.1:3000 [--recovery]
//
// --recovery: with connection state recovery, which puts one more argument behind each event.

import { createServer } from 'node:http';

import { Server } from 'socket.io';

import { listening, options } from './options.js';

const { host, port, recovery } = options({ recovery: { type: 'boolean' } });

const http = createServer();
const io = new Server(http, recovery ? { connectionStateRecovery: {} } : {});
// Saves memory, says its documentation: https://socket.io/docs/v4/performance-tuning
io.engine.on('connection', (connection) => { connection.request = null; });

let last = 0;

io.on('connection', (socket) => {
  const { room = 'general' } = socket.handshake.auth;
  socket.join(room);
  socket.on('chat message', (text, clientOffset, acknowledge) => {
    last += 1;
    io.to(room).emit('chat message', text, last);
    acknowledge();
  });
  socket.on('typing', (typing) => { socket.to(room).emit('typing', typing); });
});

http.listen(port, host, listening);

// The final server of Socket.IO's chat tutorial, on one node: https://socket.io/docs/v4/tutorial/step-8
//
// Speaks what ../README.md calls the common contract, except that there is one room for all, no `typing`, and with connection state recovery one more argument behind each event.
// Without the tutorial's page, for which it has Express.
//
//   node tutorial.js --listen 127.0.0.1:3000 --db chat.db [--wal]
//
// The database is as SQLite and the tutorial leave it (rollback journal, synchronous=FULL). --wal: with a write-ahead log.

import { createServer } from 'node:http';

import { Server } from 'socket.io';
import { open } from 'sqlite';
import sqlite3 from 'sqlite3';

import { listening, options } from './options.js';

const SQLITE_CONSTRAINT = 19;

const { host, port, db: filename, wal } = options({ db: { type: 'string', default: 'chat.db' }, wal: { type: 'boolean' } });

const db = await open({ filename, driver: sqlite3.Database });
if (wal) await db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
await db.exec('CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, client_offset TEXT UNIQUE, content TEXT)');

const http = createServer();
const io = new Server(http, { connectionStateRecovery: {} });

io.on('connection', async (socket) => {
  socket.on('chat message', async (text, clientOffset, acknowledge) => {
    let stored;
    try {
      stored = await db.run('INSERT INTO messages (content, client_offset) VALUES (?, ?)', text, clientOffset);
    } catch (error) {
      // A repeat is acknowledged; anything else is not, so that the client tries again.
      if (error.errno === SQLITE_CONSTRAINT) acknowledge();
      return;
    }
    io.emit('chat message', text, stored.lastID);
    acknowledge();
  });

  if (socket.recovered) return;
  try {
    const after = socket.handshake.auth.serverOffset || 0;
    await db.each('SELECT id, content FROM messages WHERE id > ?', [after], (error, row) => socket.emit('chat message', row.content, row.id));
  } catch {
    // As the tutorial has it: who could not be replayed to is not told.
  }
});

http.listen(port, host, listening);

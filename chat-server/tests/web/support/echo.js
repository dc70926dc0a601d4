// The transport's example server as a process of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { io } from 'socket.io-client';

import { atEnd } from './cleanup.js';
import { freePort } from './server.js';
import { until } from './until.js';

const TARGET = new URL('../../../../target/', import.meta.url).pathname;

function binary() {
  const given = process.env.ECHO_BIN;
  const found = [given, join(TARGET, 'release/examples/echo'), join(TARGET, 'debug/examples/echo')].find((path) => path && existsSync(path));
  if (!found) throw new Error('there is no example to test: run `cargo build -p chat-transport-socketio --example echo`, or set ECHO_BIN');
  return found;
}

/** Starts the example in `mode` and waits until it listens. It ends with the test `t`. */
export async function startEcho(t, mode, ...more) {
  const echo = new Echo(mode, more);
  echo.port = await freePort();
  atEnd(t, () => echo.kill());
  await echo.start();
  return echo;
}

class Echo {
  constructor(mode, more) {
    Object.assign(this, { mode, more, output: '' });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const flags = ['--port', String(this.port), '--mode', this.mode, ...this.more];
    this.child = spawn(binary(), flags, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.output = '';
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (bytes) => { this.output += bytes; });
    await until(() => this.output.includes('listening'), () => `the example listens; it said:\n${this.output}`);
  }

  async kill() {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}

/** An official client that is quick to come back, in the namespace `name`, and writes down what it is sent. */
export function client(t, url, { name = '/', transports = ['websocket'], auth = {}, ...options } = {}) {
  const socket = io(`${url}${name}`, { transports, auth, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  socket.received = [];
  socket.onAny((event, ...args) => socket.received.push([event, ...args]));
  // The last argument is the token, which is no business of the application's.
  socket.events = (event) => socket.received.filter(([its]) => its === event).map(([, ...args]) => args.slice(0, -1));
  socket.connects = [];
  socket.on('connect', () => socket.connects.push({ id: socket.id, recovered: socket.recovered }));
  atEnd(t, () => socket.disconnect());
  return socket;
}

/** Waits for the client's connection number `count`, counted from 1, and says what it was. */
export async function connection(socket, count = 1) {
  await until(() => socket.connects.length >= count, `connection ${count} is there`, 20_000);
  return socket.connects[count - 1];
}

/** Cuts the client's connection, as a network does. */
export function cut(socket) {
  const { transport } = socket.io.engine;
  if (transport.name === 'websocket') transport.ws.terminate();
  else socket.io.engine.close();
}

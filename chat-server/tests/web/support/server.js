// The real server as a process: started on a free port with a store of its own, killed by its process id.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { atEnd } from './cleanup.js';
import { until } from './until.js';

const TARGET = new URL('../../../../target/', import.meta.url).pathname;
const START_WITHIN_MS = 20_000;

/** The binary under test: the one in `CHAT_SERVER_BIN`, else the one that was built last with cargo's usual profiles. */
export function binary() {
  const given = process.env.CHAT_SERVER_BIN;
  const found = [given, join(TARGET, 'release/chat-server'), join(TARGET, 'debug/chat-server')].find((path) => path && existsSync(path));
  if (!found) throw new Error('there is no chat-server to test: run `cargo build -p chat-server`, or set CHAT_SERVER_BIN');
  return found;
}

/**
 * Starts a server and waits until it is ready. It ends with the test `t`, and its folder goes with it.
 * `options`: `args`, more flags; `store`, its URL; `listen`, its address; `env`, more variables; `wrap`, a function that may put another command around the server's.
 */
export async function startServer(t, options = {}) {
  const server = new ServerProcess(options);
  atEnd(t, () => server.dispose());
  await server.start();
  return server;
}

class ServerProcess {
  #options;
  #child;
  #port;
  folder = mkdtempSync(join(tmpdir(), 'chat-server-test-'));
  /** Everything it has written, for the message of a test that fails. */
  output = '';

  constructor(options) {
    this.#options = options;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** The database file, where there is one. */
  get database() {
    return join(this.folder, 'chat.db');
  }

  get exitCode() {
    return this.#child.exitCode;
  }

  /** Starts it, on the same port and store as before, and waits until it is ready. */
  async start() {
    await this.launch();
    const ready = async () => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error(`the server ended:\n${this.output}`);
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      return answer?.status === 200;
    };
    await until(ready, () => `the server is ready; it said:\n${this.output}`, START_WITHIN_MS);
  }

  /** Starts it without waiting. */
  async launch() {
    this.#port ??= await freePort();
    const { args = [], env = {}, store = `sqlite:${this.database}`, listen = '127.0.0.1', wrap = (command) => command } = this.#options;
    // The tests are the load: only the tests of the limit itself want it.
    const flags = ['--listen', `${listen}:${this.#port}`, '--store', store, '--requests-per-second', '0', ...args];
    const [command, ...rest] = wrap([binary(), ...flags]);
    this.#child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...withoutSettings(), ...env }, cwd: this.folder });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (bytes) => { this.output = (this.output + bytes).slice(-100_000); });
    }
  }

  signal(name) {
    this.#child.kill(name);
  }

  /** Ends it with a signal and waits until it is gone. Returns its exit code, or null where the signal ended it. */
  async end(name) {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill(name);
      await gone;
    }
    return child.exitCode;
  }

  kill() {
    return this.end('SIGKILL');
  }

  async dispose() {
    if (this.#child) await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * A port that is free now. It lies below the range from which the system gives ports to outgoing connections: otherwise a client that
 * knocks while the server is down could be given the server's own port.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const free = await new Promise((done) => probe.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    if (!free) continue;
    await new Promise((done) => probe.close(done));
    return port;
  }
}

/** This process's environment without settings of the server. */
export function withoutSettings() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CHAT_') && name !== 'PORT'));
}

// A real Redis as a process, on a free port, with a folder of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { atEnd } from './cleanup.js';
import { freePort } from './server.js';
import { until } from './until.js';

/** What was answered is on the disk. */
export const DURABLE = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'];
export const IN_MEMORY = ['--save', '', '--appendonly', 'no'];

export async function startRedis(t, options = DURABLE) {
  const folder = mkdtempSync(join(tmpdir(), 'chat-redis-test-'));
  const port = await freePort();
  let child;
  const redis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      child = spawn(process.env.CHAT_REDIS_SERVER ?? 'redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, ...options], { stdio: 'ignore' });
      await until(() => answers(port), 'redis-server answers', 20_000);
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
    signal: (name) => child.kill(name),
  };
  atEnd(t, async () => {
    await redis.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await redis.start();
  return redis;
}

function answers(port) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.on('data', (bytes) => { done(bytes.toString().startsWith('+PONG')); socket.destroy(); });
    socket.on('error', () => done(false));
    socket.on('close', () => done(false));
  });
}

// A real Redis as a process, on a free port, with a folder of its own; or a cluster of them.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

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

/** A cluster of `shards` primaries with a replica each. */
export async function startCluster(t, shards) {
  const servers = [];
  for (let number = 0; number < 2 * shards; number += 1) {
    const bus = await freePort();
    const options = [...IN_MEMORY, '--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-port', String(bus), '--repl-diskless-sync-delay', '0'];
    servers.push(Object.assign(await startRedis(t, options), { bus }));
  }
  const cluster = new Cluster(servers);
  await cluster.form(shards);
  return cluster;
}

class Cluster {
  #servers;

  constructor(servers) {
    this.#servers = servers;
  }

  get url() {
    return `redis+cluster://${this.#servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  async form(shards) {
    const [first, ...others] = this.#servers;
    const slots = Math.ceil(16_384 / shards);
    for (const [index, server] of this.#servers.slice(0, shards).entries()) {
      await ask(server, 'CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
      await ask(server, 'CLUSTER', 'ADDSLOTSRANGE', index * slots, Math.min((index + 1) * slots, 16_384) - 1);
    }
    for (const server of others) await ask(server, 'CLUSTER', 'MEET', '127.0.0.1', first.port, first.bus);
    for (const [index, replica] of this.#servers.slice(shards).entries()) {
      const id = await ask(this.#servers[index], 'CLUSTER', 'MYID');
      await until(async () => (await ask(replica, 'CLUSTER', 'REPLICATE', id)) === 'OK', 'a replica knows its primary', 20_000);
    }
    await this.whole();
  }

  /** All of them know of all, each shard has a primary and a replica, and the replicas are in step. */
  async whole() {
    await until(async () => {
      for (const server of this.#servers) {
        const [cluster, replication] = [await ask(server, 'CLUSTER', 'INFO'), await ask(server, 'INFO', 'replication')];
        if (!cluster.includes('cluster_state:ok') || !cluster.includes(`cluster_known_nodes:${this.#servers.length}`)) return false;
        if (!/role:slave[^]*master_link_status:up|role:master[^]*state=online/.test(replication)) return false;
      }
      return true;
    }, 'the cluster is whole', 30_000);
  }

  /** The primary that has the slot of `key`, another one, and which slot. */
  async #primariesFor(key) {
    const slot = Number(await ask(this.#servers[0], 'CLUSTER', 'KEYSLOT', key));
    const known = (await ask(this.#servers[0], 'CLUSTER', 'NODES')).split('\n').map((line) => line.split(' '));
    const primaries = known.filter(([, , flags]) => flags?.includes('master') && !flags.includes('fail'));
    const has = ([, , , , , , , , ...ranges]) => ranges.some((range) => {
      const [from, to = from] = range.split('-').map(Number);
      return from <= slot && slot <= to;
    });
    const server = ([id, address]) => ({ id, ...this.#servers.find(({ port }) => address.startsWith(`127.0.0.1:${port}@`)) });
    const owner = primaries.find(has);
    return { slot, owner: server(owner), other: server(primaries.find((primary) => primary !== owner)), primaries: primaries.map(server) };
  }

  /** Kills the primary of a key's shard; it comes back as a replica once its own replica has taken over. */
  async failOver(key) {
    const { owner } = await this.#primariesFor(key);
    const killed = this.#servers.find(({ port }) => port === owner.port);
    // The first one is asked what has become of it.
    this.#servers.sort((one, other) => (one === killed) - (other === killed));
    await killed.kill();
    await until(async () => {
      const now = await this.#primariesFor(key).catch(() => undefined);
      return now && now.owner.port !== killed.port;
    }, 'the replica takes over', 30_000);
    await killed.start();
    await this.whole();
  }

  /** Moves the slot of a key to another shard, with all that is in it. */
  async move(key) {
    const { slot, owner, other, primaries } = await this.#primariesFor(key);
    await ask(other, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', owner.id);
    await ask(owner, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', other.id);
    for (;;) {
      const keys = (await ask(owner, 'CLUSTER', 'GETKEYSINSLOT', slot, 1_000)).split('\n').filter((name) => name !== '');
      if (keys.length === 0) break;
      await ask(owner, 'MIGRATE', '127.0.0.1', other.port, '', 0, 5_000, 'KEYS', ...keys);
    }
    const rest = primaries.filter(({ id }) => id !== owner.id && id !== other.id);
    for (const server of [other, owner, ...rest]) await ask(server, 'CLUSTER', 'SETSLOT', slot, 'NODE', other.id);
  }
}

/** The answer of a server, as text. */
async function ask({ port }, ...command) {
  const { stdout } = await promisify(execFile)('redis-cli', ['-p', String(port), ...command.map(String)]);
  return stdout.trim();
}

function answers(port) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.on('data', (bytes) => { done(bytes.toString().startsWith('+PONG')); socket.destroy(); });
    socket.on('error', () => done(false));
    socket.on('close', () => done(false));
  });
}

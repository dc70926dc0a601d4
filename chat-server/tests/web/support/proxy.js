// A network between clients and a server that can fail.

import { createServer, connect } from 'node:net';
import { once } from 'node:events';

import { atEnd } from './cleanup.js';

/** A TCP proxy to `port` on a port of its own. It ends with the test `t`. */
export async function startProxy(t, port) {
  const pairs = new Set();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    const pair = { client, upstream };
    pairs.add(pair);
    client.pipe(upstream);
    upstream.pipe(client);
    for (const side of [client, upstream]) {
      side.on('error', () => {});
      side.on('close', () => { if (client.destroyed && upstream.destroyed) pairs.delete(pair); });
    }
    // An end on one side ends the other, unless the pair was torn apart.
    client.on('close', () => { if (!pair.torn) upstream.destroy(); });
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Cuts every connection on both sides. */
    cut() {
      for (const { client, upstream } of pairs) { client.destroy(); upstream.destroy(); }
    },
    /** Cuts every connection on the clients' side only: the server still believes in them. */
    tear() {
      for (const pair of pairs) {
        pair.torn = true;
        pair.client.unpipe();
        pair.upstream.unpipe();
        pair.upstream.resume();
        pair.client.destroy();
      }
    },
    /** Lets nothing more through to the clients, which notice nothing of it. */
    hold() {
      for (const { upstream, client } of pairs) { upstream.unpipe(client); upstream.pause(); }
    },
    get count() {
      return pairs.size;
    },
  };
  atEnd(t, () => { proxy.cut(); for (const { upstream } of pairs) upstream.destroy(); server.close(); });
  return proxy;
}

// How the page is built. `npm run dev` serves it from its sources, beside a chat-server on its usual port.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

const SERVER = 'http://localhost:3000';

/** Puts a compressed twin beside each file, so that the server need not compress anything. */
function twins() {
  return {
    name: 'twins',
    apply: 'build',
    async writeBundle({ dir }) {
      for (const { name, parentPath } of await filesIn(dir)) {
        const file = join(parentPath, name);
        const bytes = await readFile(file);
        const small = gzipSync(bytes, { level: 9 });
        if (small.length < bytes.length) await writeFile(`${file}.gz`, small);
      }
    },
  };
}

async function filesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile());
}

export default defineConfig({
  plugins: [twins()],
  build: {
    // The page's policy admits nothing that is written into the page: no `data:` either.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { '/socket.io': { target: SERVER, ws: true, headers: { origin: SERVER } } },
  },
});

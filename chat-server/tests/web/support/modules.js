// The page's modules, for tests without a page: built from their sources as the page is.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'vite';

export const PAGE = new URL('../../../page/', import.meta.url).pathname;

/** What the TypeScript module at `path` below `page/` exports. */
export async function pageModule(path) {
  const folder = mkdtempSync(join(tmpdir(), 'chat-page-module-'));
  try {
    await build({
      configFile: false,
      root: PAGE,
      logLevel: 'error',
      build: { outDir: folder, minify: false, lib: { entry: join(PAGE, path), formats: ['es'], fileName: basename(path, '.ts') } },
    });
    return await import(pathToFileURL(join(folder, `${basename(path, '.ts')}.js`)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// The options of the servers in this folder, and what each of them does at its start.

import { parseArgs } from 'node:util';

/** `--listen HOST:PORT`, and what `more` names, as `parseArgs` has it. */
export function options(more = {}) {
  const { values } = parseArgs({ options: { listen: { type: 'string', default: '127.0.0.1:3000' }, ...more } });
  const colon = values.listen.lastIndexOf(':');
  return { ...values, host: values.listen.slice(0, colon), port: Number(values.listen.slice(colon + 1)) };
}

export function listening() {
  console.log('listening');
}

// How far everybody has seen a room. Never moves back. Pure.

import { idOf, type ReadNotice } from './wire';

export class Reads {
  readonly #seen = new Map<string, number>();
  /** The furthest that anybody is known to be where no names are told. */
  #counted: { readonly offset: number; readonly count: number } | undefined;

  /** Returns whether that was new. */
  notice({ user, offset, count }: ReadNotice): boolean {
    if (user === undefined) {
      if (count === undefined || offset <= (this.#counted?.offset ?? 0)) return false;
      this.#counted = { offset, count };
      return true;
    }
    if (offset <= (this.#seen.get(idOf(user)) ?? 0)) return false;
    this.#seen.set(idOf(user), offset);
    return true;
  }

  /** The ids of those who have seen the message at that offset, except `me`. */
  by(offset: number, me: string | undefined): string[] {
    return [...this.#seen].filter(([id, seen]) => id !== me && offset <= seen).map(([id]) => id);
  }

  /** How far the furthest of the others is. */
  furthest(me: string | undefined): number {
    let furthest = this.#counted?.offset ?? 0;
    for (const [id, offset] of this.#seen) if (id !== me) furthest = Math.max(furthest, offset);
    return furthest;
  }

  /** The room's history began anew. */
  clear(): void {
    this.#seen.clear();
    this.#counted = undefined;
  }
}

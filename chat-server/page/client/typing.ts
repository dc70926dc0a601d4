// Who is typing in a room. What was said about it ends by itself, since the end of it may be lost. Pure: it is told the time.

import { idOf, type TypingNotice } from './wire';

/** The server says when somebody has stopped, and does not repeat that they type; this is for when that was lost. */
const LASTS_MS = 60_000;

export class Typing {
  readonly #until = new Map<string, { readonly until: number }>();
  #count: { readonly count: number; readonly until: number } | undefined;

  notice({ user, typing, count }: TypingNotice, now: number): void {
    if (user === undefined) this.#count = count === undefined ? undefined : { count, until: now + LASTS_MS };
    else if (typing) this.#until.set(idOf(user), { until: now + LASTS_MS });
    else this.#until.delete(idOf(user));
  }

  /** What somebody typed has come. */
  said(user: string): void {
    this.#until.delete(user);
  }

  clear(): void {
    this.#until.clear();
    this.#count = undefined;
  }

  /** The ids of those who type. */
  who(now: number): string[] {
    return [...this.#until].filter(([, { until }]) => now < until).map(([id]) => id);
  }

  /** How many are typing: in large rooms nothing else is said. */
  count(now: number): number {
    const counted = this.#count !== undefined && now < this.#count.until ? this.#count.count : 0;
    return Math.max(counted, this.who(now).length);
  }

  /** When the next of them will have ended, undefined if nobody types. */
  nextEnd(now: number): number | undefined {
    const ends = [...this.#until.values(), ...(this.#count === undefined ? [] : [this.#count])].map(({ until }) => until);
    const coming = ends.filter((until) => now < until);
    return coming.length === 0 ? undefined : Math.min(...coming);
  }
}

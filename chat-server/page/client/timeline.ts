// Which messages of a room have been applied, and what to do with the next one. Pure: no network and no page here.

/** The server's offsets run 1, 2, 3, … in a room; a message is applied once, in that order. */
export class Timeline {
  #last: number | undefined;
  #position: string | undefined;
  #hole: 'none' | 'asked' | 'filled' = 'none';

  /** Where to resume: the `pos` of the last message applied, or where the server said that the room begins for us. */
  get position(): string | undefined {
    return this.#position;
  }

  /** The offset of the last message applied, undefined before the first. */
  get last(): number | undefined {
    return this.#last;
  }

  /**
   * `'show'`: apply it now. `'skip'`: it was applied before, or it comes after a hole that is being filled.
   * `'hole'`: something before it is missing; join again after `position`, then call `rejoined`.
   */
  take({ offset, pos }: { readonly offset: number; readonly pos: string }): 'show' | 'skip' | 'hole' {
    if (this.#last !== undefined && offset <= this.#last) return 'skip';
    const follows = this.#last === undefined || offset === this.#last + 1;
    // After joining again the server has said what comes next, whatever its offset is: asking a second time would not end.
    if (!follows && this.#hole !== 'filled') {
      if (this.#hole === 'asked') return 'skip';
      this.#hole = 'asked';
      return 'hole';
    }
    this.#last = offset;
    this.#position = pos;
    this.#hole = 'none';
    return 'show';
  }

  /** The answer to joining has come: before the first message, this is where we stand. */
  joined(pos: string): void {
    this.#position ??= pos;
  }

  /** The answer to joining again has come: what arrives from here on is what the server has. */
  rejoined(): void {
    if (this.#hole === 'asked') this.#hole = 'filled';
  }

  /** A new connection resumes after `position` by itself. */
  reconnected(): void {
    this.#hole = 'none';
  }

  /** What came before is gone on the server, and the next message is the first. `pos`: where we stand then. */
  restart(pos?: string): void {
    this.#last = undefined;
    this.#position = pos;
    this.#hole = 'none';
  }
}

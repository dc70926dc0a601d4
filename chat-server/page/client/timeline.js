// Which messages of a room have been applied, and what to do with the next one. Pure: no network and no page here.

/** The server's offsets run 1, 2, 3, … in a room; a message is applied once, in that order. */
export class Timeline {
  #last = undefined;
  #position = undefined;
  #hole = 'none';

  /** Where to resume: the `pos` of the last message applied, undefined before the first. */
  get position() {
    return this.#position;
  }

  /** The offset of the last message applied, undefined before the first. */
  get last() {
    return this.#last;
  }

  /**
   * `'show'`: apply it now. `'skip'`: it was applied before, or it comes after a hole that is being filled.
   * `'hole'`: something before it is missing; join again after `position`, then call `rejoined`.
   */
  take({ offset, pos }) {
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

  /** The answer to joining again has come: what arrives from here on is what the server has. */
  rejoined() {
    if (this.#hole === 'asked') this.#hole = 'filled';
  }

  /** A new connection resumes after `position` by itself. */
  reconnected() {
    this.#hole = 'none';
  }

  /** What came before is gone on the server: the next message is the first. */
  restart() {
    this.#last = undefined;
    this.#position = undefined;
    this.#hole = 'none';
  }
}

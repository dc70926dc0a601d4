// Tells those who listen to the page what came, without telling more than can be listened to.

const EVERY_MS = 1_500;
const LONGEST = 200;

export class Announcer {
  readonly #region: HTMLElement;
  readonly #summary: (count: number) => string;
  #waiting: string[] = [];
  #due = false;

  /** `region` is a live region; `summary` says that so many messages came. */
  constructor(region: HTMLElement, summary: (count: number) => string) {
    this.#region = region;
    this.#summary = summary;
  }

  say(text: string): void {
    this.#waiting.push(text);
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => {
      const [only, ...more] = this.#waiting;
      this.#region.textContent = more.length === 0 ? (only ?? '').slice(0, LONGEST) : this.#summary(1 + more.length);
      this.#waiting = [];
      this.#due = false;
    }, EVERY_MS);
  }
}

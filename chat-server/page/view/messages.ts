// The messages of one room on the screen, in order, and below them what waits to be sent.

import type { Draft, Message, Pending, Room } from '../client';
import { button, element, icon, isolate, unseen } from './element';
import { face } from './face';
import { isolated, nameOf, parts, textOf, tint } from './text';
import type { Speech } from './words';

const NEAR_BOTTOM_PX = 80;
/** Where the first new message stands when there are more than fit. */
const NEW_BELOW_TOP_PX = 120;
const GOES_ON_MS = 5 * 60_000;
/** Names of those who have seen a message; beyond them a number. */
const SEEN_NAMES = 3;

interface Elements {
  readonly list: HTMLElement;
  readonly scroller: HTMLElement;
  readonly newest: HTMLElement;
  readonly empty: HTMLElement;
  readonly earlier: HTMLElement;
}

export interface Actions {
  retry(id: string): void;
  edit(id: string): void;
  older(): void;
  /** The newest line has come in sight. */
  caughtUp(): void;
}

export class Messages {
  readonly #at: Elements;
  readonly #speech: Speech;
  readonly #me: () => string | undefined;
  readonly #actions: Actions;
  #room: Room | undefined;
  /** The line of each message, ascending. */
  #lines = new Map<number, HTMLElement>();
  /** The line of each draft that is not among the messages yet. */
  #waiting = new Map<string, HTMLElement>();
  #notice: HTMLElement | undefined;
  #previous: Message | undefined;
  /** Messages behind this offset were new when the room was opened. */
  #newSince: number | undefined;
  #scrollDue = false;
  #following = true;
  #top = 0;

  /** `me`: the public id of this person, if it is known. */
  constructor(at: Elements, speech: Speech, me: () => string | undefined, actions: Actions) {
    this.#at = at;
    this.#speech = speech;
    this.#me = me;
    this.#actions = actions;
    const { scroller, newest, list, earlier } = at;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    newest.addEventListener('click', () => this.follow());
    earlier.addEventListener('click', () => actions.older());
    // A keyboard that opens on a phone, a turned phone, or words that appear below a draft must not hide the newest line.
    const sizes = new ResizeObserver(() => this.#following && this.follow());
    for (const sized of [scroller, list]) sizes.observe(sized);
    // Who scrolls to the beginning need not press anything.
    new IntersectionObserver(([entry]) => entry?.isIntersecting && !this.#following && actions.older(), { root: scroller, rootMargin: '100px 0px 0px' }).observe(earlier);
  }

  /** Whether the newest line is in sight. */
  get following(): boolean {
    return this.#following;
  }

  /** Shows a room anew. */
  show(room: Room): void {
    const another = this.#room !== room;
    if (another) {
      this.#notice = undefined;
      this.#newSince = newSince(room);
      this.#following = true;
    }
    const place = this.#following ? undefined : this.#at.scroller.scrollTop;
    this.#room = room;
    this.#lines.clear();
    this.#waiting.clear();
    this.#previous = undefined;
    this.#at.list.replaceChildren();
    if (this.#notice) this.#at.list.append(this.#notice);
    for (const message of room.messages) this.#at.list.append(...this.#put(message));
    this.drafts();
    this.seen();
    this.settled();
    this.#at.newest.hidden = this.#following;
    if (place !== undefined) this.#at.scroller.scrollTop = place;
    else if (!another || !this.#startAtNew()) this.follow();
  }

  /** Everything is here that the room had: what of it is new is known now. */
  opened(): void {
    if (this.#room !== undefined && this.#newSince === undefined && newSince(this.#room) !== undefined) {
      const room = this.#room;
      this.#room = undefined;
      this.show(room);
    }
    this.settled();
    this.drafts();
  }

  /** Shows the room's next message. */
  message(message: Message, mine: boolean): void {
    const lines = this.#put(message);
    const [first] = this.#waiting.values();
    for (const line of lines) this.#at.list.insertBefore(line, first ?? null);
    this.drafts();
    if (message.from.id === this.#me()) this.seen();
    this.#trim();
    this.#changed(mine);
  }

  /** Shows what came before, and keeps in sight what is. */
  older(messages: readonly Message[]): void {
    if (this.#room === undefined) return;
    const { list, scroller } = this.#at;
    const first = this.#room.messages[messages.length];
    const last = this.#previous;
    this.#keepPlace(() => {
      this.#previous = undefined;
      const before = messages.flatMap((message) => this.#put(message));
      if (first !== undefined) {
        // It may go on from what is above it now, or be of the same day.
        const line = this.#lines.get(first.offset);
        while (list.firstChild !== null && list.firstChild !== line) list.firstChild.remove();
        line?.remove();
        before.push(...this.#put(first));
      }
      list.prepend(...before);
      this.#lines = new Map([...this.#lines].sort(([one], [other]) => one - other));
      if (first !== undefined) this.#previous = last;
    });
    this.seen();
    this.settled();
    if (this.#following) this.follow();
    else this.#top = scroller.scrollTop;
  }

  /** Draws what waits to be sent as it is now. */
  drafts(): void {
    const pending = this.#room?.pending ?? new Map<string, Pending>();
    for (const [id, line] of this.#waiting) {
      if (pending.has(id)) continue;
      line.remove();
      this.#waiting.delete(id);
    }
    for (const [id, { draft, stored }] of pending) {
      let line = this.#waiting.get(id);
      if (line === undefined) {
        line = this.#draftLine(draft);
        this.#waiting.set(id, line);
        this.#at.list.append(line);
        this.#changed(true);
      }
      this.#fate(line, draft, stored);
    }
  }

  /** Marks which of one's own messages others have seen. */
  seen(): void {
    if (this.#room === undefined) return;
    const { reads } = this.#room;
    const { words } = this.#speech;
    const furthest = reads.furthest(this.#me());
    let last: [offset: number, line: HTMLElement] | undefined;
    for (const [offset, line] of this.#lines) {
      if (!line.classList.contains('own')) continue;
      const seen = offset <= furthest;
      if (seen) last = [offset, line];
      if (line.classList.contains('seen') === seen) continue;
      line.classList.toggle('seen', seen);
      line.querySelector('.mark')?.replaceWith(mark(seen ? 'seen' : 'stored', seen ? words.seen : words.stored));
    }
    this.#at.list.querySelector('.seen-by')?.remove();
    if (last === undefined || this.#room.direct) return;
    const room = this.#room;
    const names = reads.by(last[0], this.#me()).map((id) => isolated(nameOf(room.nameOf(id)) || words.guest));
    if (names.length === 0) return;
    last[1].append(element('p', 'seen-by', words.seenBy(names.slice(0, SEEN_NAMES), Math.max(0, names.length - SEEN_NAMES))));
  }

  /** The history is gone; starts afresh, with a line that says why. Drafts stay. */
  restart(room: Room): void {
    if (room !== this.#room) return;
    this.#notice = element('li', 'notice', this.#speech.words.lost);
    this.#newSince = undefined;
    this.#following = true;
    this.show(room);
  }

  /** The page speaks another language now. */
  translate(): void {
    if (this.#notice) this.#notice.textContent = this.#speech.words.lost;
    if (this.#room) this.show(this.#room);
  }

  /** Goes to the newest line and stays there while more come. */
  follow(): void {
    this.#following = true;
    this.#at.newest.hidden = true;
    this.#at.scroller.scrollTop = this.#at.scroller.scrollHeight;
  }

  /** Shows whether there is anything, and anything before it, once that is known. */
  settled(): void {
    const { empty, earlier, list } = this.#at;
    const settled = this.#room?.settled === true;
    empty.hidden = !settled || 0 < list.childElementCount || this.#room?.closed !== undefined;
    earlier.hidden = !settled || this.#room?.complete === true || this.#room?.messages.length === 0;
    if (this.#following) this.follow();
  }

  /** The lines of a message: its own, and before it that of its day. */
  #put(message: Message): HTMLElement[] {
    const { words } = this.#speech;
    const previous = this.#previous;
    this.#previous = message;
    const lines: HTMLElement[] = [];
    const day = (at: number) => new Date(at).toDateString();
    const sameDay = previous !== undefined && day(previous.at) === day(message.at);
    if (!sameDay) lines.push(element('li', 'day', this.#speech.day(message.at)));
    const isFirstNew = this.#newSince !== undefined && this.#newSince < message.offset && (previous === undefined || previous.offset <= this.#newSince);
    if (isFirstNew) lines.push(element('li', 'new-since', words.newFrom));
    const goesOn = sameDay && !isFirstNew && previous?.from?.id === message.from?.id && message.at - previous.at < GOES_ON_MS;
    const line = this.#messageLine(message, goesOn);
    this.#lines.set(message.offset, line);
    lines.push(line);
    return lines;
  }

  #messageLine(message: Message, goesOn: boolean): HTMLElement {
    const { words } = this.#speech;
    const author = message.from?.id ?? '';
    const mine = author !== '' && author === this.#me();
    const name = nameOf(message.from?.name) || words.guest;
    const line = element('li', `message${mine ? ' own' : ''}${goesOn ? ' goes-on' : ''}`);
    line.dataset['offset'] = String(message.offset);
    if (!mine && !goesOn) line.append(face(author || name, name));
    if (!goesOn) line.append(this.#byline(message, mine ? words.you : name, mine ? '' : `tint-${tint(author || name)}`));
    const text = message.redacted ? element('p', 'text removed', words.removed) : textLine(textOf(message.content, words));
    text.title = this.#speech.whole(message.at);
    const bubble = element('div', 'bubble', text);
    if (mine) bubble.append(mark('stored', words.stored));
    line.append(bubble);
    return line;
  }

  #byline(message: Message, name: string, tinted: string): HTMLElement {
    const time = element('time', '', this.#speech.time(message.at));
    if (time.textContent !== '') time.dateTime = new Date(message.at).toISOString();
    return element('p', 'byline', isolate(name, `author ${tinted}`), time);
  }

  #draftLine(draft: Draft): HTMLElement {
    const text = textLine(textOf(draft.content, this.#speech.words));
    text.title = this.#speech.whole(draft.written);
    return element('li', 'message own goes-on', element('div', 'bubble', text), element('p', 'fate'));
  }

  #fate(line: HTMLElement, draft: Draft, stored: number | undefined): void {
    const { words } = this.#speech;
    const state = stored !== undefined ? 'stored' : draft.failed === null ? 'waiting' : 'failed';
    const reason = draft.failed?.message ?? '';
    if (line.dataset['state'] === state + reason) return;
    line.dataset['state'] = state + reason;
    line.classList.toggle('waiting', state === 'waiting');
    line.classList.toggle('failed', state === 'failed');
    const bubble = line.querySelector('.bubble');
    bubble?.querySelector('.mark')?.remove();
    if (state !== 'failed') bubble?.append(mark(state, state === 'stored' ? words.stored : ''));
    const fate = line.querySelector<HTMLElement>('.fate');
    if (fate === null) return;
    fate.textContent = state === 'waiting' ? words.waiting : '';
    if (state !== 'failed' || draft.failed === null) return;
    // In the words of those who write; the server's are for developers.
    const why = { too_large: words.tooLong, forbidden: words.forbidden }[draft.failed.code] ?? draft.failed.message;
    fate.append(words.notSent(why), button(words.retry, () => this.#actions.retry(draft.id)), button(words.edit, () => this.#actions.edit(draft.id)));
  }

  /** Begins with what is new, if that is more than fits. Returns whether it does. */
  #startAtNew(): boolean {
    const { list, scroller, newest } = this.#at;
    const line = list.querySelector<HTMLElement>('.new-since');
    if (line === null) return false;
    const above = line.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop - NEW_BELOW_TOP_PX;
    if (scroller.scrollHeight - scroller.clientHeight <= above) return false;
    this.#following = false;
    newest.hidden = false;
    scroller.scrollTop = above;
    this.#top = above;
    return true;
  }

  /** What the room does not hold any more goes from the screen too. */
  #trim(): void {
    const first = this.#room?.messages[0];
    if (first === undefined) return;
    for (const [offset, line] of this.#lines) {
      if (first.offset <= offset) return;
      this.#keepPlace(() => {
        while (this.#at.list.firstChild !== null && this.#at.list.firstChild !== line) this.#at.list.firstChild.remove();
        line.remove();
      });
      this.#lines.delete(offset);
    }
  }

  /** Changes something above what is in sight. */
  #keepPlace(change: () => void): void {
    const { scroller } = this.#at;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    change();
    if (!this.#following) scroller.scrollTop = scroller.scrollHeight - fromEnd;
  }

  #changed(mine: boolean): void {
    this.#at.empty.hidden = true;
    if (mine) this.#following = true;
    if (this.#scrollDue) return;
    this.#scrollDue = true;
    // Many messages may arrive between two frames; the page is laid out once for all of them.
    requestAnimationFrame(() => {
      this.#scrollDue = false;
      if (this.#following) this.follow();
      else this.#at.newest.hidden = false;
    });
  }

  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#at.scroller;
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) {
      this.#following = true;
      this.#at.newest.hidden = true;
      this.#actions.caughtUp();
    } else if (scrollTop < this.#top) {
      // Only somebody who scrolls up stops following; that the list has grown meanwhile says nothing.
      this.#following = false;
      if (scrollTop < 100 && !this.#at.earlier.hidden) this.#actions.older();
    }
    this.#top = scrollTop;
  }
}

/** Messages behind this offset are new to somebody who has been in the room before. */
function newSince(room: Room): number | undefined {
  return 0 < room.unread && 0 < room.read ? room.read : undefined;
}

function textLine(text: string): HTMLElement {
  const line = element('p', 'text');
  line.dir = 'auto';
  for (const part of parts(text)) {
    if (typeof part === 'string') {
      line.append(part);
      continue;
    }
    const link = element('a', '', part.text);
    link.href = part.href;
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
    line.append(link);
  }
  return line;
}

/** How far a message of one's own has come. */
function mark(state: 'waiting' | 'stored' | 'seen', words: string): HTMLElement {
  const made = element('span', `mark ${state}`, icon(state));
  if (words !== '') {
    made.title = words;
    made.append(unseen(words));
  }
  return made;
}

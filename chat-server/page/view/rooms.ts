// The rooms of a person beside the conversation: where something is unread, what was said last.

import type { Room } from '../client';
import { element, isolate, unseen } from './element';
import { face, roomFace } from './face';
import { nameOf, textOf } from './text';
import type { Speech } from './words';

const UNREAD_SHOWN_MAX = 99;
const PREVIEW_MAX = 120;

export function addressOf(room: string): string {
  return `#${encodeURIComponent(room)}`;
}

/** What a room is called. */
export function titleOf(room: Room, speech: Speech): string {
  return room.direct ? nameOf(room.partner?.name) || speech.words.privateChat : nameOf(room.name);
}

export class RoomList {
  readonly #list: HTMLElement;
  readonly #speech: Speech;
  readonly #isHere: (id: string) => boolean;
  readonly #lines = new Map<string, HTMLElement>();

  constructor(list: HTMLElement, speech: Speech, isHere: (id: string) => boolean) {
    this.#list = list;
    this.#speech = speech;
    this.#isHere = isHere;
  }

  show(rooms: readonly Room[], open: Room | undefined, me: string | undefined): void {
    const sorted = [...rooms].sort((one, other) => (other.last?.at ?? 0) - (one.last?.at ?? 0) || one.name.localeCompare(other.name));
    for (const [name, line] of this.#lines) {
      if (sorted.some((room) => room.name === name)) continue;
      line.remove();
      this.#lines.delete(name);
    }
    const focused = document.activeElement;
    sorted.forEach((room, index) => {
      const line = this.#lines.get(room.name) ?? element('li', '', element('a'));
      this.#lines.set(room.name, line);
      this.#draw(line.firstElementChild as HTMLAnchorElement, room, room === open, me);
      if (this.#list.children[index] !== line) this.#list.insertBefore(line, this.#list.children[index] ?? null);
    });
    if (focused !== document.activeElement && focused instanceof HTMLElement && this.#list.contains(focused)) focused.focus();
  }

  #draw(link: HTMLAnchorElement, room: Room, open: boolean, me: string | undefined): void {
    const title = titleOf(room, this.#speech);
    const { last, unread } = room;
    const preview = this.#preview(room, me);
    const online = room.partner !== undefined && this.#isHere(room.partner.id);
    // What has not changed is not drawn again.
    const key = JSON.stringify([title, preview.textContent, last?.at, unread, open, online, this.#speech.language, new Date().toDateString()]);
    if (link.dataset['key'] === key) return;
    link.dataset['key'] = key;
    link.href = addressOf(room.name);
    link.className = `room${0 < unread ? ' unread' : ''}`;
    if (open) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    const picture = room.direct ? face(room.partner?.id ?? room.name, title) : roomFace();
    if (online) picture.classList.add('online');
    link.replaceChildren(picture, isolate(title, 'title'), element('span', 'when', last ? this.#when(last.at) : ''), preview);
    if (0 < unread) {
      const badge = element('span', 'badge', unread > UNREAD_SHOWN_MAX ? `${UNREAD_SHOWN_MAX}+` : String(unread));
      badge.setAttribute('aria-hidden', 'true');
      link.append(badge, unseen(this.#speech.words.unread(unread)));
    }
  }

  #preview(room: Room, me: string | undefined): HTMLElement {
    const { words } = this.#speech;
    const { last } = room;
    if (last === undefined) return element('span', 'preview', words.noMessage);
    const text = last.redacted ? words.removed : textOf(last.content, words).replace(/\s+/g, ' ').slice(0, PREVIEW_MAX);
    const line = element('span', 'preview');
    const author = last.from?.id === me ? words.you : nameOf(last.from?.name) || words.guest;
    if (!room.direct || last.from?.id === me) line.append(isolate(author), ': ');
    const said = isolate(text);
    line.append(said);
    return line;
  }

  #when(at: number): string {
    const isToday = new Date(at).toDateString() === new Date().toDateString();
    return isToday ? this.#speech.time(at) : this.#speech.shortDay(at);
  }
}

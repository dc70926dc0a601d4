// Who is in the room right now; pressing somebody opens the private room with them.

import type { Room, User } from '../client';
import { button, element, isolate, unseen } from './element';
import { face } from './face';
import { isolated, nameOf } from './text';
import type { Speech } from './words';

/** A list that nobody reads to its end; how many there are is said above it. */
const SHOWN_MAX = 300;

export class PeopleList {
  readonly #list: HTMLElement;
  readonly #rest: HTMLElement;
  readonly #speech: Speech;
  readonly #press: (user: User) => void;
  #shown = '';

  constructor(list: HTMLElement, rest: HTMLElement, speech: Speech, press: (user: User) => void) {
    this.#list = list;
    this.#rest = rest;
    this.#speech = speech;
    this.#press = press;
  }

  show(room: Room, me: string | undefined, pressable: boolean): void {
    const { words, language } = this.#speech;
    const users = room.people.online.slice(0, SHOWN_MAX);
    const more = room.people.count - users.length;
    const key = JSON.stringify([room.name, users, more, me, pressable, language]);
    if (key === this.#shown) return;
    this.#shown = key;
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>('[data-user]')?.dataset['user'];
    this.#list.replaceChildren(...users.map((user) => this.#line(user, user.id === me, pressable && user.id !== me)));
    if (focused !== undefined) {
      const line = [...this.#list.children].find((child) => (child as HTMLElement).dataset['user'] === focused);
      line?.querySelector('button')?.focus();
    }
    this.#rest.hidden = more <= 0;
    this.#rest.textContent = words.morePeople(more);
  }

  #line(user: User, isMe: boolean, pressable: boolean): HTMLElement {
    const { words } = this.#speech;
    const name = nameOf(user.name) || words.guest;
    const picture = face(user.id, name);
    picture.classList.add('online');
    const content = [picture, isolate(name, 'title'), ...(isMe ? [element('span', 'it-is-you', words.itIsYou)] : [])];
    const line = element('li');
    line.dataset['user'] = user.id;
    if (!pressable) {
      line.append(element('span', 'person', ...content));
      return line;
    }
    const pressed = button('', () => this.#press(user));
    pressed.className = 'person';
    pressed.title = words.writeTo(isolated(name));
    pressed.append(...content, unseen(words.writeTo(isolated(name))));
    line.append(pressed);
    return line;
  }
}

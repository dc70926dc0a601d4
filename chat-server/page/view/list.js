// The list of messages on the screen: what the room holds, in order, and below it what waits to be sent.
//
// Everything that people wrote is set as text, never as markup.

/** More than anybody scrolls back through; older lines go, so that a page left open for weeks stays quick. */
const LINES_MAX = 2_000;
const NEAR_BOTTOM_PX = 80;

/** In the words of those who write; the server's are for developers. */
const REASONS = { too_large: 'it is too long.', forbidden: 'you may not write here.' };

const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

export class List {
  #list;
  #scroller;
  #newest;
  #empty;
  #me;
  #actions;
  /** The line of each draft that is not in the room yet. */
  #waiting = new Map();
  /** Drafts the server has stored, and where, until the room brings them. */
  #stored = new Map();
  #previous = undefined;
  #scrollDue = false;
  #following = true;
  #top = 0;

  /** `actions`: `retry(id)` and `edit(id)`, for drafts that were refused. `me`: the public id of this guest, if it is known. */
  constructor({ list, scroller, newest, empty, me, actions }) {
    this.#list = list;
    this.#scroller = scroller;
    this.#newest = newest;
    this.#empty = empty;
    this.#me = me;
    this.#actions = actions;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    newest.addEventListener('click', () => this.follow());
    // A keyboard that opens on a phone, a turned phone, or words that appear below a draft must not hide the newest line.
    const sizes = new ResizeObserver(() => this.#following && this.follow());
    for (const sized of [scroller, list]) sizes.observe(sized);
  }

  /** Shows the room's next message. Returns its author's id if it is one of this page's own. */
  message(message) {
    const own = this.#waiting.get(message.id);
    if (own) {
      own.remove();
      this.#waiting.delete(message.id);
      this.#stored.delete(message.id);
      this.#me = message.from?.id;
    }
    this.#dropStoredUpTo(message.offset);
    const at = new Date(message.at);
    const day = dayFormat.format(at);
    if (this.#previous?.day !== day) this.#insert(line('day', day));
    const author = message.from?.id;
    const goesOn = this.#previous?.day === day && this.#previous.author === author && message.at - this.#previous.at < 5 * 60_000;
    const item = element('li', 'message');
    item.dataset.offset = message.offset;
    const mine = author !== undefined && author === this.#me;
    item.classList.toggle('own', mine);
    item.classList.toggle('goes-on', goesOn);
    if (!goesOn) item.append(byline(message, at, mine));
    item.append(message.redacted ? gap(at) : bubble(message.content, at));
    this.#insert(item);
    this.#previous = { day, author, at: message.at };
    this.#trim();
    this.#changed(own !== undefined);
    return own ? author : undefined;
  }

  /** Shows a draft below the room's messages, at once. */
  draft(draft) {
    const item = element('li', 'message own waiting');
    item.append(bubble(draft.content, new Date(draft.written)));
    item.append(element('p', 'fate'));
    this.#waiting.set(draft.id, item);
    this.#list.append(item);
    this.#fate(item, draft);
    this.#changed(true);
  }

  /** The draft's fate has changed: it was refused, or waits again. */
  redraw(draft) {
    const item = this.#waiting.get(draft.id);
    if (item) this.#fate(item, draft);
  }

  /** The server has the draft. Its message comes in its turn; if its turn is over, it stands further up already. */
  stored(draft, offset, last) {
    const item = this.#waiting.get(draft.id);
    if (!item) return;
    item.classList.remove('waiting');
    item.querySelector('.fate').textContent = '';
    this.#stored.set(draft.id, offset);
    if (last !== undefined) this.#dropStoredUpTo(last + 1);
  }

  /** Takes a draft off the list. */
  drop(id) {
    this.#waiting.get(id)?.remove();
    this.#waiting.delete(id);
    this.#stored.delete(id);
    this.#changed(false);
  }

  /** Starts afresh, with a line that says why. Drafts stay. */
  restart(notice) {
    for (const item of [...this.#list.children]) {
      if (!this.#isDraft(item)) item.remove();
    }
    this.#previous = undefined;
    this.#insert(line('notice', notice));
    this.#changed(true);
  }

  /** Goes to the newest line and stays there while more come. */
  follow() {
    this.#following = true;
    this.#newest.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Shows whether the room has any message, once that is known. */
  settled() {
    this.#empty.hidden = this.#list.childElementCount > 0;
  }

  #fate(item, draft) {
    const fate = item.querySelector('.fate');
    item.classList.toggle('waiting', draft.failed === null);
    item.classList.toggle('failed', draft.failed !== null);
    fate.textContent = draft.failed === null ? 'Waiting to be sent' : `Not sent: ${REASONS[draft.failed.code] ?? draft.failed.message}`;
    if (draft.failed === null) return;
    fate.append(
      button('Try again', () => this.#actions.retry(draft.id)),
      button('Edit', () => this.#actions.edit(draft.id)),
    );
  }

  #insert(item) {
    const [first] = this.#waiting.values();
    this.#list.insertBefore(item, first ?? null);
  }

  #isDraft(item) {
    return [...this.#waiting.values()].includes(item);
  }

  #dropStoredUpTo(offset) {
    for (const [id, at] of this.#stored) if (at < offset) this.drop(id);
  }

  #trim() {
    while (this.#list.childElementCount > LINES_MAX && !this.#isDraft(this.#list.firstElementChild)) {
      this.#list.firstElementChild.remove();
    }
  }

  #changed(mine) {
    this.#empty.hidden = true;
    if (mine) this.#following = true;
    if (this.#scrollDue) return;
    this.#scrollDue = true;
    // Many messages may arrive between two frames; the page is laid out once for all of them.
    requestAnimationFrame(() => {
      this.#scrollDue = false;
      if (this.#following) this.follow();
      else this.#newest.hidden = false;
    });
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) {
      this.#following = true;
      this.#newest.hidden = true;
    } else if (scrollTop < this.#top) {
      // Only somebody who scrolls up stops following; that the list has grown meanwhile says nothing.
      this.#following = false;
    }
    this.#top = scrollTop;
  }
}

/** The text of a message: `{text}` is this page's convention, a plain string that of simpler clients. */
export function textOf(content) {
  if (typeof content === 'string') return content;
  if (typeof content?.text === 'string') return content.text;
  if (content instanceof ArrayBuffer) return inBytes(content);
  return JSON.stringify(content, (_, value) => (value instanceof ArrayBuffer ? inBytes(value) : value)) ?? '';
}

function inBytes(attachment) {
  return `(${attachment.byteLength} bytes)`;
}

function byline(message, at, mine) {
  const name = mine ? 'You' : message.from?.name || 'Guest';
  const item = element('p', 'byline');
  const author = element('span', `author tint-${tint(message.from?.id ?? name)}`);
  author.textContent = name;
  const time = element('time');
  time.dateTime = Number.isNaN(at.getTime()) ? '' : at.toISOString();
  time.textContent = timeFormat.format(at);
  item.append(author, time);
  return item;
}

function bubble(content, at) {
  const item = element('p', 'text');
  item.textContent = textOf(content);
  item.title = at.toLocaleString();
  return item;
}

/** What stands where a message was removed; its place in the room remains. */
function gap(at) {
  const item = element('p', 'text removed');
  item.textContent = 'Message removed';
  item.title = at.toLocaleString();
  return item;
}

function line(kind, text) {
  const item = element('li', kind);
  item.textContent = text;
  return item;
}

function button(label, pressed) {
  const item = element('button');
  item.type = 'button';
  item.textContent = label;
  item.addEventListener('click', pressed);
  return item;
}

function element(tag, classes = '') {
  const item = document.createElement(tag);
  item.className = classes;
  return item;
}

/** One of eight colours, the same for the same author everywhere. */
function tint(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 8_191;
  return sum % 8;
}

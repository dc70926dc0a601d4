// The chat page: ties what people see and do to the client module.

import { io } from 'socket.io-client';

import { Chat, type ChatState, guestSecret, type Removal, type Room, type User } from '../client';
import { Announcer } from './announcer';
import { Drawer } from './drawers';
import { byId, icon, isolate, unseen } from './element';
import { face } from './face';
import { keep, storageOrNothing } from './kept';
import { Messages } from './messages';
import { PeopleList } from './people';
import { addressOf, RoomList, titleOf } from './rooms';
import { isolated, nameOf, roomNameOf, textOf } from './text';
import { type Language, languageFor, LANGUAGES, Speech } from './words';

const HOME = 'general';
/** A state that changes with each message is written this often. */
const STATE_EVERY_MS = 400;
const DAY_LOOKED_AT_EVERY_MS = 60_000;
/** Rooms that a server without lists of its own is asked for again on the next visit. */
const REMEMBERED_MAX = 50;

const local = storageOrNothing('localStorage');
const session = storageOrNothing('sessionStorage');

const kept = local.getItem('chat.language');
const speech = new Speech(kept !== null && kept in LANGUAGES ? (kept as Language) : languageFor(navigator.languages));

const input = byId<HTMLTextAreaElement>('input');
const stateLine = byId('state');
const naming = byId<HTMLDialogElement>('naming');
const nameInput = byId<HTMLInputElement>('name');
const joinInput = byId<HTMLInputElement>('join-name');

const messages = new Messages(
  { list: byId('messages'), scroller: byId('scroller'), newest: byId('newest'), empty: byId('empty'), earlier: byId('earlier') },
  speech,
  () => chat.me,
  { retry: (id) => chat.retry(id), edit, older: () => void chat.older(open.name), caughtUp: markRead },
);
const rooms = new RoomList(byId('rooms'), speech, isHere);
const directs = new RoomList(byId('directs'), speech, isHere);
const people = new PeopleList(byId('members'), byId('more-members'), speech, (user) => void writeTo(user));
const announcer = new Announcer(byId('announcer'), (count) => speech.words.announce(count));
const side = new Drawer('side', 'open-side', '(min-width: 48rem)');
const crowd = new Drawer('people', 'open-people', '(min-width: 70rem)');

const [keptName, keptMe] = [local.getItem('chat.name'), local.getItem('chat.me')];
const chat = new Chat({
  io,
  storage: local,
  guest: guestSecret(local),
  ...(keptName !== null && { name: keptName }),
  ...(keptMe !== null && { me: keptMe }),
});
let open = chat.open(roomInAddress() ?? local.getItem('chat.room') ?? HOME);
let today = new Date().toDateString();
let listDue = false;
let stateDue: ReturnType<typeof setTimeout> | undefined;

translate();
listen();
show(open);
history.replaceState(null, '', addressOf(open.name));
showMe();
warnIfNotDurable();
byId('incomplete').remove();

function listen(): void {
  chat.on('state', showState);
  chat.on('rooms', showListsSoon);
  chat.on('me', (me) => {
    keep(local, 'chat.me', me);
    messages.translate();
    showMe();
    showRoom();
    showListsSoon();
  });
  chat.on('offers', () => {
    // A server that keeps no list of a person's rooms is told of those that this browser has kept.
    if (!chat.offers('rooms')) for (const name of remembered()) chat.join(name);
    showRoom();
  });
  chat.on('message', ({ room, message, own }) => {
    if (room !== open) return;
    messages.message(message, own !== undefined);
    markRead();
    if (own === undefined && message.from.id !== chat.me && room.settled) {
      announcer.say(`${isolated(nameOf(message.from.name) || speech.words.guest)}: ${textOf(message.content, speech.words)}`);
    }
  });
  chat.on('older', (older) => older.room === open && messages.older(older.messages));
  chat.on('room', (room) => {
    if (room !== open) return;
    messages.opened();
    showRoom();
    markRead();
  });
  chat.on('lost', ({ room }) => messages.restart(room));
  chat.on('draft', ({ room }) => room === open && messages.drafts());
  chat.on('people', showListsSoon);
  chat.on('typing', (room) => room === open && showTyping());
  chat.on('read', (room) => room === open && messages.seen());

  byId('skip').addEventListener('click', () => input.focus());
  byId('form').addEventListener('submit', submit);
  input.addEventListener('keydown', (event) => {
    // An input method takes Enter for itself.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit(event);
  });
  input.addEventListener('input', () => {
    keepTyping();
    chat.typing(open.name, input.value.trim() !== '');
  });
  byId('join').addEventListener('submit', join);
  joinInput.addEventListener('input', () => showError('join-error', ''));
  byId('leave').addEventListener('click', leave);
  byId('again').addEventListener('click', () => show(chat.open(open.name)));
  byId('me').addEventListener('click', startNaming);
  byId('naming-form').addEventListener('submit', (event) => void rename(event));
  byId('name-cancel').addEventListener('click', () => naming.close());
  byId('language').addEventListener('change', chooseLanguage);
  for (const list of ['rooms', 'directs']) byId(list).addEventListener('click', (event) => (event.target as Element).closest('a') && side.close());
  addEventListener('hashchange', () => {
    const name = roomInAddress();
    if (name !== undefined && name !== open.name) show(chat.open(name));
  });
  addEventListener('storage', (event) => chat.follow(event));
  addEventListener('online', () => chat.hurry());
  addEventListener('focus', markRead);
  setInterval(showNewDay, DAY_LOOKED_AT_EVERY_MS);
  addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    chat.hurry();
    markRead();
  });
}

// ── What is shown

function show(room: Room): void {
  if (open !== room) chat.typing(open.name, false);
  open = room;
  keep(local, 'chat.room', room.name);
  remember([room.name, ...remembered().filter((name) => name !== room.name)]);
  messages.show(room);
  input.value = session.getItem(`chat.typing.${room.name}`) ?? '';
  showRoom();
  showTyping();
  showLists();
  markRead();
}

function showRoom(): void {
  const { words } = speech;
  const title = titleOf(open, speech);
  byId('sign').hidden = open.direct;
  byId('room').textContent = title;
  input.placeholder = words.messageTo(isolated(title));
  byId('leave').hidden = open.direct || open.name === HOME;

  const meets = chat.offers('members') && open.closed === undefined && 0 < open.people.count;
  const { partner } = open;
  const about = open.direct && partner ? (isHere(partner.id) ? words.here : words.away) : words.peopleCount(open.people.count);
  byId('about').textContent = meets ? about : '';
  byId('open-people').hidden = !meets || open.direct;
  byId('people').hidden = !meets || open.direct;
  people.show(open, chat.me, chat.offers('direct'));

  const { closed } = open;
  byId('closed').hidden = closed === undefined;
  byId('form').hidden = closed !== undefined;
  if (closed !== undefined) {
    byId('closed-why').textContent = words.shutOut('removal' in closed ? causeOf(closed.removal) : closed.error.message.replace(/\.$/, ''));
  }
  showTitle();
}

/** Whoever is in any of the rooms is there for a private word, also before they have opened the private room. */
function isHere(id: string): boolean {
  return chat.rooms.some((room) => room.people.isOnline(id));
}

function showTitle(): void {
  const unread = chat.rooms.reduce((sum, room) => sum + room.unread, 0);
  document.title = `${0 < unread ? `(${unread}) ` : ''}${titleOf(open, speech)}`;
}

/** Much may happen between two frames; what stands beside the conversation is drawn once for all of it. */
function showListsSoon(): void {
  if (listDue) return;
  listDue = true;
  requestAnimationFrame(() => {
    listDue = false;
    showRoom();
    showLists();
  });
}

/** Yesterday is another day when a new one begins. */
function showNewDay(): void {
  if (new Date().toDateString() === today) return;
  today = new Date().toDateString();
  messages.translate();
  showLists();
}

function showLists(): void {
  const known = chat.rooms;
  rooms.show(known.filter((room) => !room.direct), open, chat.me);
  directs.show(known.filter((room) => room.direct), open, chat.me);
  byId('private').hidden = !known.some((room) => room.direct);
  byId('elsewhere').hidden = !known.some((room) => room !== open && 0 < room.unread);
  showTitle();
}

function showTyping(): void {
  const now = Date.now();
  const names = open.typing.who(now).map((id) => isolated(nameOf(open.nameOf(id)) || speech.words.guest));
  const count = open.typing.count(now);
  const text = 0 < count ? speech.words.typing(names, count) : '';
  const line = byId('typing');
  if (line.textContent !== text) line.textContent = text;
}

function showMe(): void {
  const name = nameOf(chat.name);
  const me = byId('me');
  const label = name === '' ? speech.words.chooseName : name;
  me.replaceChildren(face(chat.me ?? label, name === '' ? '?' : name), unseen(name === '' ? '' : `${speech.words.name}: `), isolate(label, 'title'), icon('pen'));
}

function showState(state: ChatState): void {
  if (state.name === 'refused') {
    warn(state.removal ? speech.words.signedOut(causeOf(state.removal)) : speech.words.refused(state.error.message.replace(/\.$/, '')));
  }
  if (state.name === 'online') {
    messages.settled();
    markRead();
  }
  stateLine.dataset['state'] = state.name;
  if (state.name === 'catching-up' && stateDue !== undefined) return;
  writeState();
  if (state.name !== 'catching-up') return;
  stateDue = setTimeout(() => {
    stateDue = undefined;
    writeState();
  }, STATE_EVERY_MS);
}

/** Why somebody was shut out, as it is said to them. */
function causeOf({ reason, message, until }: Removal): string {
  const { causes, until: till } = speech.words;
  const cause = reason in causes ? causes[reason as keyof typeof causes] : '';
  return [cause, until === undefined ? '' : till(speech.whole(until)), message ? isolated(message) : ''].filter((part) => part !== '').join(', ');
}

function writeState(): void {
  const { state } = chat;
  const text = state.name === 'catching-up' ? speech.words.state['catching-up'](state.missing) : speech.words.state[state.name]();
  if (stateLine.textContent !== text) stateLine.textContent = text;
}

function translate(): void {
  document.documentElement.lang = speech.language;
  byId<HTMLSelectElement>('language').value = speech.language;
  const words = speech.words as unknown as Record<string, string>;
  for (const [attribute, put] of [
    ['words', (item: HTMLElement, text: string) => { item.textContent = text; }],
    ['label', (item: HTMLElement, text: string) => item.setAttribute('aria-label', text)],
    ['placeholder', (item: HTMLElement, text: string) => item.setAttribute('placeholder', text)],
  ] as const) {
    for (const item of document.querySelectorAll<HTMLElement>(`[data-${attribute}]`)) put(item, words[item.dataset[attribute] ?? ''] ?? '');
  }
}

// ── What people do

function submit(event: Event): void {
  event.preventDefault();
  const text = input.value;
  if (text.trim() === '' || open.closed !== undefined) return;
  input.value = '';
  keepTyping();
  chat.post(open.name, { text });
  warnIfNotDurable();
}

/** Takes a refused draft back into the input, in front of what is being typed there. */
function edit(id: string): void {
  const draft = chat.discard(id);
  if (draft === undefined) return;
  input.value = [textOf(draft.content, speech.words), input.value].filter((text) => text !== '').join(' ');
  keepTyping();
  input.focus();
}

function join(event: Event): void {
  event.preventDefault();
  const name = roomNameOf(joinInput.value);
  if (name === undefined) return showError('join-error', joinInput.value.trim() === '' ? '' : speech.words.roomNameBad);
  joinInput.value = '';
  go(name);
}

/** Opens a room, as its address does. */
function go(name: string): void {
  side.close();
  crowd.close();
  if (addressOf(name) === location.hash) show(chat.open(name));
  else location.hash = addressOf(name);
  if (matchMedia('(pointer: fine)').matches) input.focus();
}

function leave(): void {
  if (0 < open.pending.size && !confirm(speech.words.leaveUnsent)) return;
  const { name } = open;
  keep(session, `chat.typing.${name}`, '');
  go(HOME);
  remember(remembered().filter((kept) => kept !== name));
  void chat.leave(name);
}

async function writeTo(user: User): Promise<void> {
  const reply = await chat.direct(user);
  if (reply.ok) go(reply.room);
  else warn(speech.words.noDirect(reply.error.message.replace(/\.$/, '')));
}

function startNaming(): void {
  nameInput.value = chat.name ?? '';
  showError('name-error', '');
  naming.showModal();
  nameInput.select();
}

async function rename(event: Event): Promise<void> {
  event.preventDefault();
  const name = nameOf(nameInput.value);
  if (name === '' || name === chat.name) return naming.close();
  const reply = await chat.rename(name);
  if (!reply.ok && reply.error.retryable !== true) return showError('name-error', speech.words.nameRefused(reply.error.message));
  keep(local, 'chat.name', name);
  showMe();
  naming.close();
}

function chooseLanguage(event: Event): void {
  speech.choose((event.target as HTMLSelectElement).value as Language);
  keep(local, 'chat.language', speech.language);
  translate();
  messages.translate();
  showRoom();
  showTyping();
  showLists();
  showMe();
  writeState();
}

/** What is in sight of somebody who looks has been seen. */
function markRead(): void {
  const last = open.messages.at(-1);
  if (last === undefined || !open.settled || !messages.following || document.visibilityState !== 'visible') return;
  chat.read(open.name, last.offset);
}

// ── What is kept

/** The text being typed survives a reload of its tab. */
function keepTyping(): void {
  keep(session, `chat.typing.${open.name}`, input.value);
}

function remembered(): string[] {
  try {
    const names: unknown = JSON.parse(local.getItem('chat.rooms') ?? '[]');
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

function remember(names: string[]): void {
  keep(local, 'chat.rooms', JSON.stringify(names.slice(0, REMEMBERED_MAX)));
}

function roomInAddress(): string | undefined {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return name.startsWith('dm:') ? name : roomNameOf(name);
  } catch {
    return undefined;
  }
}

function warnIfNotDurable(): void {
  if (!chat.durable) warn(speech.words.notDurable);
}

function warn(text: string): void {
  byId('warning').textContent = text;
  byId('warning').hidden = false;
}

function showError(id: string, text: string): void {
  byId(id).textContent = text;
  byId(id).hidden = text === '';
}

// The chat page: ties the form, the list, the outbox and the connection together.

import { io } from 'socket.io-client';

import { Connection } from './connection.js';
import { guestSecret } from '../client/guest.js';
import { List, textOf } from './list.js';
import { Outbox } from '../client/outbox.js';

const ROOM = 'general';

const byId = (id) => document.getElementById(id);
const input = byId('input');
const state = byId('state');
const warning = byId('warning');

const local = storageOrNothing('localStorage');
const session = storageOrNothing('sessionStorage');

const outbox = new Outbox(local);
const list = new List({
  list: byId('messages'),
  scroller: byId('scroller'),
  newest: byId('newest'),
  empty: byId('empty'),
  me: local.getItem('chat.me') ?? undefined,
  actions: { retry, edit },
});
let connection;
let last;

for (const draft of outbox.all()) list.draft(draft);
input.value = session.getItem('chat.typing') ?? '';
input.addEventListener('input', keepTyping);
byId('form').addEventListener('submit', submit);
addEventListener('storage', followOtherTabs);

begin();
warnIfNotDurable();

/** What is written meanwhile waits in the outbox. */
async function begin() {
  connection = new Connection({
    io,
    room: ROOM,
    guest: await guestSecret(local),
    outbox,
    tell: {
      state: showState,
      message,
      lost,
      stored,
      draft: (draft) => list.draft(draft),
      refused: (draft) => list.redraw(draft),
    },
  });
}

function submit(event) {
  event.preventDefault();
  const text = input.value;
  if (text.trim() === '') return;
  list.draft(outbox.add({ text }));
  input.value = '';
  keepTyping();
  warnIfNotDurable();
  connection?.send();
}

function message(next) {
  last = next.offset;
  const me = list.message(next);
  if (me !== undefined) keep(local, 'chat.me', me);
}

function stored(draft, offset) {
  list.stored(draft, offset, last);
}

function lost() {
  last = undefined;
  list.restart('Earlier messages are no longer kept on the server. This is what it has.');
}

function retry(id) {
  const draft = outbox.retry(id);
  if (draft === undefined) return;
  if (draft.id === id) {
    list.redraw(draft);
  } else {
    list.drop(id);
    list.draft(draft);
  }
  connection?.send();
}

/** Takes a refused draft back into the input, in front of what is being typed there. */
function edit(id) {
  const draft = outbox.get(id);
  if (draft === undefined) return;
  input.value = [textOf(draft.content), input.value].filter((text) => text !== '').join(' ');
  keepTyping();
  outbox.remove(id);
  list.drop(id);
  input.focus();
}

function followOtherTabs(event) {
  const settled = outbox.follow(event);
  if (settled !== undefined) list.drop(settled);
}

function showState(name, detail) {
  state.dataset.state = name;
  state.textContent = {
    connecting: () => 'Connecting…',
    'catching-up': () => (detail > 0 ? `Catching up, ${detail} to go` : 'Catching up…'),
    online: () => 'Online',
    offline: () => 'Offline',
    refused: () => 'Not connected',
  }[name]();
  if (name === 'online') list.settled();
  if (name === 'refused') warn(`The server refused this connection: ${detail.replace(/\.$/, '')}. Reload the page to try again.`);
}

/** The text being typed survives a reload of its tab. */
function keepTyping() {
  keep(session, 'chat.typing', input.value);
}

function warnIfNotDurable() {
  if (!outbox.durable) warn('This browser keeps nothing for this page: what has not been sent yet is gone when you close it.');
}

function warn(text) {
  warning.textContent = text;
  warning.hidden = false;
}

function keep(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // A full storage costs only what it was to keep.
  }
}

/** A browser that forbids storage throws at its mere mention; then nothing is kept. */
function storageOrNothing(name) {
  try {
    return window[name];
  } catch {
    const refuse = () => {
      throw new Error('this browser keeps nothing for this page');
    };
    return { getItem: () => null, setItem: refuse, removeItem: refuse, get length() { return refuse(); } };
  }
}

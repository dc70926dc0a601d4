// People in rooms, with the official client: who is there, who types, under which name, over how many devices.

import assert from 'node:assert/strict';

import { FullClient } from './support/full.js';
import { startServer } from './support/server.js';
import { test } from './support/testing.js';
import { tutorialClient } from './support/tutorial.js';
import { until } from './support/until.js';

/** Longer than somebody who is cut off stays. */
const GONE_WITHIN_MS = 25_000;

/** A client in the room that keeps what it is told of people, as an application would. */
class Person extends FullClient {
  /** Names by id, in the order in which they came. */
  online = new Map();
  typing = new Map();
  told = [];

  constructor(t, url, name, options = {}) {
    super(t, url, { name, ...options });
    for (const event of ['presence', 'presence_reset', 'typing', 'read']) {
      this.socket.on(event, (what) => this.told.push({ event, ...what }));
    }
    this.socket.on('presence_reset', ({ online }) => { this.online = new Map(online.map(({ id, name }) => [id, name])); });
    this.socket.on('presence', ({ user, online }) => (online ? this.online.set(user.id, user.name) : this.online.delete(user.id)));
    this.socket.on('typing', ({ user, typing }) => this.typing.set(user.name, typing));
  }

  static async inRoom(t, server, name, options) {
    const person = new Person(t, server.url, name, options);
    await person.connected();
    assert.equal((await person.join()).ok, true);
    await until(() => person.told.some(({ event }) => event === 'presence_reset'), `${name} is told who is there`);
    return person;
  }

  names() {
    return [...this.online.values()].sort();
  }

  async knows(...names) {
    const told = () => `${this.names()} are ${names}: ${JSON.stringify(this.told)}`;
    await until(() => JSON.stringify(this.names()) === JSON.stringify(names), told, GONE_WITHIN_MS);
  }
}

test('who joins and leaves is told to those in the room, and who comes is told who is there', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const bob = await Person.inRoom(t, server, 'Bob');
  await bob.knows('Ada', 'Bob');
  await ada.knows('Ada', 'Bob');
  assert.equal((await bob.ask('leave', { room: 'general' })).ok, true);
  await ada.knows('Ada');
  assert.equal((await bob.join()).ok, true);
  await ada.knows('Ada', 'Bob');
  await bob.knows('Ada', 'Bob');
  assert.ok(bob.told.every(({ event, user }) => event !== 'presence' || user.name !== 'Bob'), 'and nobody of itself');
});

test('a device that is gone is missed only after a while, and only if it was the last one', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const phone = await Person.inRoom(t, server, 'Bob');
  const laptop = await Person.inRoom(t, server, 'Bob', { guest: phone.guest });
  const bob = async () => (await ada.ask('members', { room: 'general' })).members.find(({ name }) => name === 'Bob');
  await until(async () => (await bob()).devices === 2, 'both devices are there');
  phone.socket.disconnect();
  await until(async () => (await bob()).devices === 1, 'one is left', GONE_WITHIN_MS);
  assert.deepEqual(ada.names(), ['Ada', 'Bob']);
  const before = performance.now();
  laptop.socket.disconnect();
  await ada.knows('Ada');
  assert.ok(performance.now() - before > 8_000, 'not at once');
  assert.equal(ada.told.filter(({ event, online }) => event === 'presence' && !online).length, 1);
});

test('a connection that is cut and comes back is not missed', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const bob = await Person.inRoom(t, server, 'Bob');
  await ada.knows('Ada', 'Bob');
  const told = ada.told.length;
  for (let cut = 0; cut < 3; cut += 1) {
    const resets = bob.told.filter(({ event }) => event === 'presence_reset').length;
    bob.cut();
    await until(() => bob.told.filter(({ event }) => event === 'presence_reset').length > resets, 'it is told anew who is there');
    await bob.knows('Ada', 'Bob');
    assert.equal(bob.socket.recovered, true);
  }
  await bob.post('k', 'hello');
  await until(() => ada.texts().includes('hello'), 'the message has come');
  assert.equal(ada.told.length, told);
});

test('typing is told to the others until it stops or expires', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const bob = await Person.inRoom(t, server, 'Bob');
  for (const typing of [true, true, false]) {
    assert.deepEqual(await bob.ask('typing', { room: 'general', typing }), { ok: true });
    await until(() => ada.typing.get('Bob') === typing, `Bob types: ${typing}`);
  }
  bob.socket.emit('typing', { room: 'general', typing: true });
  await until(() => ada.typing.get('Bob') === true, 'Bob types again');
  await until(() => ada.typing.get('Bob') === false, 'it has expired');
  assert.equal(ada.told.filter(({ event }) => event === 'typing').length, 4, 'and what was said again was not told again');
  assert.equal(bob.typing.size, 0);
  const refused = await bob.ask('typing', { room: 'elsewhere', typing: true });
  assert.equal(refused.error.code, 'not_joined');
});

test('a guest that renames itself is known by its new name to everybody', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const bob = await Person.inRoom(t, server, 'Bob');
  await ada.knows('Ada', 'Bob');
  assert.deepEqual(await bob.ask('rename', { name: 'Robert' }), { ok: true });
  await ada.knows('Ada', 'Robert');
  await bob.post('k', 'hello');
  await until(() => ada.messages().some(({ from }) => from.name === 'Robert'), 'the message is in the new name');
  const cyd = await Person.inRoom(t, server, 'Cyd');
  await cyd.knows('Ada', 'Cyd', 'Robert');
});

test('a page of the tutorial is there for the others and is told nothing', async (t) => {
  const server = await startServer(t);
  const ada = await Person.inRoom(t, server, 'Ada');
  const tab = tutorialClient(t, server.url);
  const events = [];
  tab.socket.onAny((event) => events.push(event));
  await until(() => ada.online.size === 2, 'the tab is there');
  await ada.ask('typing', { room: 'general', typing: true });
  await ada.post('k', 'hello');
  await until(() => events.length > 0, 'the message has come');
  assert.deepEqual(events, ['chat message']);
});

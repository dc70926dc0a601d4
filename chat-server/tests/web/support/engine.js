// Engine.IO sessions without a client library, for tests that say what no library would.

import WebSocket from 'ws';

import { atEnd } from './cleanup.js';
import { within } from './until.js';

/** Engine.IO on one path of a server. */
export class Endpoint {
  constructor(url, path) {
    this.url = new URL(path, url);
  }

  target(query) {
    const url = new URL(this.url);
    url.search = new URLSearchParams(query);
    return url;
  }

  /** One HTTP request with this query. */
  async request(query, method = 'GET', body = undefined) {
    const response = await within(fetch(this.target(query), { method, body }), `a ${method} is answered`);
    return { status: response.status, body: await response.text() };
  }

  /** A WebSocket with this query, opened or on its way. It ends with the test `t`. */
  socket(t, query) {
    const url = this.target(query);
    url.protocol = 'ws:';
    const socket = new Socket(new WebSocket(url));
    atEnd(t, () => socket.terminate());
    return socket;
  }

  /** A session of its own on a WebSocket, behind the handshake. */
  async websocket(t) {
    const socket = this.socket(t, { EIO: 4, transport: 'websocket' });
    const opening = await socket.next();
    return Object.assign(socket, { opening });
  }

  /** A polling session. */
  async polling() {
    const { status, body } = await this.request({ EIO: 4, transport: 'polling' });
    return new Polling(this, status, body);
  }
}

class Polling {
  constructor(endpoint, status, opening) {
    const { sid } = JSON.parse(opening.slice(1));
    Object.assign(this, { endpoint, status, opening, sid });
  }

  get query() {
    return { EIO: 4, transport: 'polling', sid: this.sid };
  }

  get() {
    return this.endpoint.request(this.query);
  }

  post(body) {
    return this.endpoint.request(this.query, 'POST', body);
  }

  /** A WebSocket for the same session, not yet probed. */
  async upgrade(t) {
    const socket = this.endpoint.socket(t, { ...this.query, transport: 'websocket' });
    await socket.opened();
    return socket;
  }
}

/** A WebSocket whose messages wait until they are asked for: text as text, binary as an array of numbers. */
class Socket {
  #socket;
  #messages = [];
  #isClosed = false;
  #changed = () => {};

  constructor(socket) {
    this.#socket = socket;
    const note = (change) => (...args) => {
      change(...args);
      this.#changed();
    };
    socket.on('message', note((data, isBinary) => this.#messages.push(isBinary ? [...data] : String(data))));
    socket.on('open', note(() => {}));
    socket.on('close', note(() => { this.#isClosed = true; }));
    // Whatever went wrong, it is closed afterwards.
    socket.on('error', () => {});
  }

  send(message) {
    this.#socket.send(message);
  }

  terminate() {
    this.#socket.terminate();
  }

  async opened() {
    await this.#wait(() => this.#socket.readyState === WebSocket.OPEN, 'the WebSocket is open');
  }

  /** The next message. */
  async next() {
    await this.#wait(() => this.#messages.length > 0, 'a message comes');
    return this.#messages.shift();
  }

  /** The next message that is no ping. Pings are answered. */
  async packet() {
    for (;;) {
      const message = await this.next();
      if (message !== '2') return message;
      this.send('3');
    }
  }

  /** Answers no ping until the server has closed it, and returns what came before. */
  async closed() {
    await within(this.#until(() => this.#isClosed), 'the server closes the WebSocket');
    return this.#messages.splice(0);
  }

  async #wait(condition, what) {
    await within(this.#until(() => condition() || this.#isClosed), what);
    if (!condition()) throw new Error(`it was closed before ${what}`);
  }

  async #until(condition) {
    while (!condition()) await new Promise((resolve) => { this.#changed = resolve; });
  }
}

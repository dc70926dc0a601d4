// The client of the official tutorial as its last step leaves it: in node, and as a page.
//
// Nothing here may know more about the server than the tutorial does.

import { io } from 'socket.io-client';

import { atEnd } from './cleanup.js';
import { recordWire } from './wire.js';

/** `wire` is what came, connection by connection (wire.js); `seen` grows by `{content, serverOffset}`; `send(value)` does what the tutorial's form does. */
export function tutorialClient(t, url, options = {}) {
  const { auth = {}, autoConnect = true, ...rest } = options;
  const socket = io(url, { auth: { serverOffset: 0, ...auth }, ackTimeout: 10_000, retries: 3, forceNew: true, ...rest, autoConnect: false });
  atEnd(t, () => socket.disconnect());
  const wire = recordWire(socket);
  const seen = [];
  let counter = 0;
  socket.on('chat message', (content, serverOffset) => {
    seen.push({ content, serverOffset });
    socket.auth.serverOffset = serverOffset;
  });
  if (autoConnect) socket.connect();
  const send = (value) => {
    const clientOffset = `${socket.id}-${counter++}`;
    socket.emit('chat message', value, clientOffset);
    return clientOffset;
  };
  return { socket, seen, send, wire, contents: () => seen.map(({ content }) => content) };
}

/** The page, with a button that breaks the connection, as in the tutorial's step on recovery. */
export const TUTORIAL_PAGE = `<!doctype html>
<html>
<body>
  <ul id="messages"></ul>
  <form id="form" action=""><input id="input" autocomplete="off"><button>Send</button><button id="toggle-btn">Disconnect</button></form>
  <script src="/socket.io/socket.io.js"></script>
  <script>
    let counter = 0;
    const socket = io({ auth: { serverOffset: 0 }, ackTimeout: 10000, retries: 3 });
    const form = document.getElementById('form');
    const input = document.getElementById('input');
    const messages = document.getElementById('messages');
    const toggle = document.getElementById('toggle-btn');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (!input.value) return;
      const clientOffset = socket.id + '-' + counter++;
      socket.emit('chat message', input.value, clientOffset);
      input.value = '';
    });
    toggle.addEventListener('click', (event) => {
      event.preventDefault();
      if (socket.connected) {
        toggle.innerText = 'Connect';
        socket.disconnect();
      } else {
        toggle.innerText = 'Disconnect';
        socket.connect();
      }
    });
    socket.on('chat message', (text, serverOffset) => {
      const item = document.createElement('li');
      item.textContent = text;
      messages.appendChild(item);
      socket.auth.serverOffset = serverOffset;
    });
  </script>
</body>
</html>`;

// What really came over each connection of a client, read below the library's event queue.
//
// The library may hand an event to the application late: one that arrives in the very moment in which the client itself closes the
// connection is kept and handed out after the next one is open, when it has come a second time. That is the client's affair; what the
// server is measured by is what it sent, after what the client had said.

/**
 * Records from the next connection on; to be called before the socket connects. Each connection is `{hello, events}`: the payload of its
 * CONNECT, and its events as `[name, ...arguments]`.
 */
export function recordWire(socket) {
  const connections = [];
  socket.io.on('open', () => {
    const { engine } = socket.io;
    const connection = { hello: {}, events: [] };
    connections.push(connection);
    engine.on('packetCreate', ({ type, data }) => {
      if (type === 'message' && data.startsWith?.('0')) connection.hello = JSON.parse(data.slice(1) || '{}');
    });
    engine.on('packet', ({ type, data }) => {
      if (type === 'message' && data.startsWith?.('2[')) connection.events.push(JSON.parse(data.slice(1)));
    });
  });
  return connections;
}

/** The connections of a reader of the tutorial's protocol, as the checker takes them. */
export function tutorialReader(name, connections) {
  return {
    name,
    connections: connections.map(({ hello, events }) => ({
      after: hello.serverOffset,
      received: events.filter(([event]) => event === 'chat message').map(([, content, offset]) => ({ offset, content })),
      lost: events.filter(([event]) => event === 'history_lost').length,
    })),
  };
}

/** The connections of a reader of the full protocol that follows one room. */
export function fullReader(name, connections, room = 'general') {
  const offsets = new Map([[0, 0]]);
  return {
    name,
    connections: connections.map(({ hello, events }) => {
      const after = offsets.get(hello.rooms?.[room]);
      const messages = events.filter(([event, message]) => event === 'message' && message.room === room).map(([, message]) => message);
      for (const { pos, offset } of messages) offsets.set(pos, offset);
      return {
        after,
        received: messages.map(({ offset, id, content }) => ({ offset, key: id, content })),
        lost: events.filter(([event]) => event === 'history_lost').length,
      };
    }),
  };
}

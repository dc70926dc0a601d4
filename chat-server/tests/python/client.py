"""python-socketio as an application uses it, with nothing but what its documentation has."""

import socket
import threading

import socketio

from until import until


class Client:
    """A client that is quick to come back, and writes down what it is sent. It ends with the test case `case`.

    `auth` may be a function, which the library calls for each connection.
    """

    def __init__(self, case, server, auth, transports=None, events=("message", "chat message", "history_lost")):
        self.sio = socketio.Client(reconnection_delay=0.02, reconnection_delay_max=0.05, randomization_factor=0)
        # The library hands each event to a thread of its own.
        self._lock = threading.Lock()
        self._received = []
        self.connects = 0
        self.sio.on("connect", self._connected)
        for event in events:
            self.sio.on(event, lambda *args, event=event: self._note(event, args))
        case.addCleanup(self._end)
        self.sio.connect(server.url, auth=auth, transports=transports, wait_timeout=10)

    def call(self, event, request):
        """The answer to a request."""
        return self.sio.call(event, request, timeout=10)

    def events(self, name):
        """The arguments of each event of that name, in the order of their threads."""
        with self._lock:
            return [args for event, args in self._received if event == name]

    def cut(self):
        """Cuts the connection as a network does, and waits until the client has noticed."""
        before = self.connects
        self.sio.eio.ws.sock.shutdown(socket.SHUT_RDWR)
        until(lambda: not self.sio.connected or before < self.connects, "the cut is noticed")

    def is_back(self, connects):
        until(lambda: connects <= self.connects and self.sio.connected, f"connection {connects} is there")

    def _connected(self):
        with self._lock:
            self.connects += 1

    def _note(self, event, args):
        with self._lock:
            self._received.append((event, args))

    def _end(self):
        self.sio.reconnection = False
        self.sio.shutdown()

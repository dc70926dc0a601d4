"""The real server as a process: on a free port, with a store of its own, ended by its process id."""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

from until import until

TARGET = pathlib.Path(__file__).resolve().parents[3] / "target"


def binary():
    """The binary under test: the one in `CHAT_SERVER_BIN`, else the one that was built with cargo's usual profiles."""
    given = os.environ.get("CHAT_SERVER_BIN")
    for path in [given, TARGET / "release/chat-server", TARGET / "debug/chat-server"]:
        if path and os.path.exists(path):
            return str(path)
    raise FileNotFoundError("there is no chat-server to test: run `cargo build -p chat-server`, or set CHAT_SERVER_BIN")


class Server:
    """Ends with the test case `case`, and its folder goes with it."""

    def __init__(self, case):
        self.folder = tempfile.mkdtemp(prefix="chat-server-test-")
        case.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        case.addCleanup(self.kill)
        self.start()

    def start(self):
        """On the same port and store as before. Waits until it is ready."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_") and name != "PORT"}
        command = [binary(), "--listen", f"127.0.0.1:{self.port}", "--store", f"sqlite:{self.folder}/chat.db", "--requests-per-second", "0"]
        with open(f"{self.folder}/output", "ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self.folder, env=settings)
        until(self._is_ready, "the server is ready", 20)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{pathlib.Path(self.folder, 'output').read_text()}")
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False


def free_port():
    """Below the range from which the system gives ports to outgoing connections, so that no client is given the server's."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

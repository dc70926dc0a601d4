"""The basics with a client of another language: connect, post, receive, ack, be cut and come back.

python-socketio knows no connection state recovery: it hands neither `pid` nor offset back. What an application of it can do is in
the `auth` of each connection: a `guest` secret, so that it is the same author, and how far it is in each room.
"""

import unittest

from client import Client
from server import Server
from until import until

ADA = "ada-ada-ada-ada-ada"
BOB = "bob-bob-bob-bob-bob"


class Reader:
    """An application in the room `general` that remembers how far it is, and says so when it is connected again."""

    def __init__(self, case, server, recovery, **options):
        # Left out, it is on.
        self.recovery = {} if recovery else {"recovery": False}
        self.client = None
        self.client = Client(case, server, self._auth, **options)

    def _auth(self):
        """Threads overtake each other: the place to go on from is the last one before which nothing is missing."""
        place = 0
        if self.client:
            places = {message["offset"]: message["pos"] for message in self.messages()}
            number = 0
            while number + 1 in places:
                number += 1
            place = places.get(number, 0)
        return {"guest": ADA, "rooms": {"general": place}, **self.recovery}

    def messages(self):
        return [args[0] for args in self.client.events("message")]

    def contents(self):
        """What has come, repeats included, by its place in the room."""
        return [message["content"] for message in sorted(self.messages(), key=lambda message: message["offset"])]


def post(client, number):
    reply = client.call("post", {"room": "general", "id": f"k-{number}", "content": {"text": f"message {number}"}})
    assert reply["ok"], reply
    return reply


def contents(count):
    return [{"text": f"message {number}"} for number in range(count)]


class Basics(unittest.TestCase):
    def test_a_post_is_answered_and_comes_to_everybody_over_each_transport(self):
        for transports in [["websocket"], ["polling"], ["polling", "websocket"]]:
            with self.subTest(transports=transports):
                server = Server(self)
                ada = Reader(self, server, recovery=False, transports=transports)
                bob = Client(self, server, {"guest": BOB, "name": "Bob", "rooms": {"general": 0}, "recovery": False}, transports=transports)
                reply = post(bob, 0)
                self.assertEqual((reply["offset"], reply["duplicate"]), (1, False))
                until(lambda: ada.messages(), "the message has come")
                [message] = ada.messages()
                self.assertEqual(message["from"]["name"], "Bob")
                self.assertEqual((message["offset"], message["pos"], message["id"]), (1, reply["pos"], "k-0"))
                self.assertTrue(post(bob, 0)["duplicate"], "a repeat is answered with the first one's place")

    def test_binary_content_comes_as_binary(self):
        server = Server(self)
        ada = Reader(self, server, recovery=False)
        content = {"picture": bytes([1, 2, 3]), "text": "look"}

        def has_come():
            # The library has a thread for each part of a message, too, and may lose one whose parts overtake each other.
            reply = ada.client.call("post", {"room": "general", "id": f"k-{len(ada.messages())}", "content": content})
            self.assertTrue(reply["ok"], reply)
            return content in ada.contents()

        until(has_come, "a message has come as it was posted")

    def test_a_request_that_cannot_be_met_is_answered_with_its_code(self):
        ada = Client(self, Server(self), {"rooms": {}, "recovery": False})
        reply = ada.call("post", {"room": "general", "id": "", "content": 1})
        self.assertEqual((reply["ok"], reply["error"]["code"]), (False, "bad_request"))

    def test_events_have_one_more_argument_unless_recovery_is_not_wanted(self):
        server = Server(self)
        wanted, unwanted = Reader(self, server, recovery=True), Reader(self, server, recovery=False)
        post(unwanted.client, 0)
        until(lambda: wanted.messages() and unwanted.messages(), "the message has come to both")
        [[message, token]] = wanted.client.events("message")
        self.assertEqual([(message,)], unwanted.client.events("message"))
        self.assertIsInstance(token, str)

    def test_one_that_is_cut_comes_back_and_misses_and_repeats_nothing(self):
        for recovery in [True, False]:
            with self.subTest(recovery=recovery):
                server = Server(self)
                ada = Reader(self, server, recovery, transports=["websocket"])
                bob = Client(self, server, {"guest": BOB, "rooms": {"general": 0}, "recovery": False})
                sent = 0
                for connects in range(1, 6):
                    ada.client.is_back(connects)
                    for _ in range(5):
                        post(bob, sent)
                        sent += 1
                    until(lambda: len(ada.messages()) >= sent - 2, "most have come")
                    ada.client.cut()
                    post(bob, sent)
                    sent += 1
                ada.client.is_back(6)
                until(lambda: len(ada.messages()) >= sent, "all have come")
                # One more behind them: what would come twice has come by then.
                post(bob, sent)
                until(lambda: {"text": f"message {sent}"} in ada.contents(), "the last one has come")
                self.assertEqual(ada.contents(), contents(sent + 1))
                self.assertEqual(ada.client.events("history_lost"), [])

    def test_after_a_crash_of_the_server_everybody_is_back_and_misses_nothing(self):
        for recovery in [True, False]:
            with self.subTest(recovery=recovery):
                server = Server(self)
                ada = Reader(self, server, recovery)
                bob = Client(self, server, {"guest": BOB, "rooms": {"general": 0}, "recovery": False})
                first = post(bob, 0)
                until(lambda: ada.messages(), "the first has come")
                server.kill()
                until(lambda: not ada.client.sio.connected and not bob.sio.connected, "both have noticed")
                server.start()
                bob.is_back(2)
                again = post(bob, 0)
                self.assertEqual((again["duplicate"], again["pos"]), (True, first["pos"]), "the same guest is the same author")
                post(bob, 1)
                ada.client.is_back(2)
                until(lambda: {"text": "message 1"} in ada.contents(), "the second has come")
                self.assertEqual(ada.contents(), contents(2))

    def test_the_tutorials_protocol_is_answered_and_resumed_by_a_number(self):
        server = Server(self)
        ada = Client(self, server, {"serverOffset": 0, "recovery": False})
        for number in range(3):
            reply = ada.call("chat message", (f"message {number}", f"k-{number}"))
            self.assertTrue(reply is None or reply["ok"], reply)
        until(lambda: len(ada.events("chat message")) == 3, "all have come")
        self.assertEqual(sorted(ada.events("chat message")), [("message 0", 1), ("message 1", 2), ("message 2", 3)])
        late = Client(self, server, {"serverOffset": 2, "recovery": False})
        until(lambda: late.events("chat message"), "the rest has come")
        self.assertEqual(late.events("chat message"), [("message 2", 3)])


if __name__ == "__main__":
    unittest.main()

"""A client that was written from docs/PROTOCOL.md alone, with nothing but Python's standard library.

    independent_client.py TCP-ADDRESS WEBSOCKET-ADDRESS KEY VECTORS

It joins, publishes, receives and comes back over TCP, WebSocket and HTTP, and fails where the server does not keep to
the document. VECTORS is tests/data/vectors-extensions.json. The numbers in brackets are sections of the document.
"""

import base64
import http.client
import json
import os
import random
import socket
import struct
import sys
from urllib.parse import quote

PATIENCE = 60


# Keys [3.3]


def siphash(data):
    """SipHash-2-4 with a key of zeros."""
    mask = (1 << 64) - 1
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def rotate(n, bits):
        return (n << bits | n >> (64 - bits)) & mask

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    end = len(data) // 8 * 8
    last = data[end:].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", data[:end] + last):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def session_key(secret, uid, channel):
    return siphash(b"".join(part.encode() + b"\xff" for part in (secret, uid, channel)))


# CBOR, as far as it is needed [3.2]


class Malformed(Exception):
    pass


def encode(value):
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    pairs = (encode(key) + encode(item) for key, item in value.items())
    return head(5, len(value)) + b"".join(pairs)


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, form in ((24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q")):
        if n < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | info]) + struct.pack(form, n)
    raise OverflowError


class Decoder:
    """Reads one item after the other. `marks` has the first byte of each byte string [3.8]."""

    def __init__(self, data):
        self.data, self.at, self.marks = data, 0, []

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed("cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def item(self, depth=0):
        first = self.take(1)[0]
        major, n = first >> 5, first & 31
        if n > 23:
            form = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}.get(n)
            if form is None:
                raise Malformed("a length without an end")
            (n,) = struct.unpack(form, self.take(struct.calcsize(form)))
        if major == 0:
            return n
        if major == 2:
            self.marks.append(first)
            return self.take(n)
        if major == 3:
            try:
                return self.take(n).decode()
            except UnicodeDecodeError as error:
                raise Malformed("not UTF-8") from error
        if major == 4 and depth < 8:
            return [self.item(depth + 1) for _ in range(n)]
        if major == 5 and depth < 8:
            pairs = {}
            for _ in range(n):
                key = self.item(depth + 1)
                if not isinstance(key, str) or key in pairs:
                    raise Malformed("a key")
                pairs[key] = self.item(depth + 1)
            return pairs
        if major == 7 and n in (20, 21):
            return n == 21
        raise Malformed("another type")


def decode(data):
    decoder = Decoder(data)
    value = decoder.item()
    if decoder.at != len(data):
        raise Malformed("more behind it")
    return value, decoder.marks


def read_body(body):
    """Returns uid, message, and whether it is a hint. A body that cannot be decoded is nobody's message [5.4]."""
    try:
        value, marks = decode(body)
        types = {"uid": str, "channel": str, "message": bytes}
        if not isinstance(value, dict) or value.keys() != types.keys():
            raise Malformed("other keys")
        if not all(isinstance(value[key], types[key]) for key in types):
            raise Malformed("other types")
    except Malformed:
        return None, None, False
    is_hint = value["message"] == b"" and marks[0] not in (0x5A, 0x5B)
    return value["uid"], value["message"], is_hint


# Counting [5.4]


class Position:
    """The position of a client, counted."""

    def __init__(self):
        self.epoch, self.offset = None, None

    def __str__(self):
        return f"{self.epoch}:{self.offset}"

    def set(self, text, less=0):
        self.epoch, offset = text.split(":")
        self.offset = int(offset) - less

    def notice(self, name, fields):
        if name == "welcome":
            self.set(fields["position"], fields["replay"])
        elif name == "receipt":
            self.set(fields["position"])
        elif name == "gap":
            self.offset += fields["missed"]


# The event of a session: ("hint", uid), ("message", uid, payload, offset), (name of a notice, fields), or None at the end.


class Session:
    """What sessions over TCP and WebSocket have in common."""

    def __init__(self):
        self.position = Position()

    def notice(self, notice):
        ((name, fields),) = notice.items()
        self.position.notice(name, fields)
        return name, fields

    def message(self, uid, payload):
        if self.position.epoch is not None:
            self.position.offset += 1
        return "message", uid, payload, self.position.offset

    def expect(self, kind):
        """Returns the next event but for hints, which has to be of that kind."""
        while True:
            event = self.next()
            if event is None or event[0] != "hint":
                break
        assert event is not None and event[0] == kind, f"{event} instead of {kind}"
        return event

    def messages(self, count):
        return [self.expect("message")[2].decode() for _ in range(count)]


class Stream:
    """Reads a socket in whole pieces."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.pending = b""

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        more = self.socket.recv(65536)
        self.pending += more
        return bool(more)

    def take(self, count):
        """Returns so many bytes; None at the end of the stream."""
        while len(self.pending) < count:
            if not self.fill():
                assert not self.pending, "the stream ends inside of something"
                return None
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def cut(self):
        """Ends the connection with a reset: the server is told nothing in order."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class TcpSession(Session):
    """A session of v1 over TCP [3]."""

    def __init__(self, address, secret, uid, channel, resume=None):
        super().__init__()
        self.stream = Stream(address)
        self.names = {"uid": uid, "channel": channel}
        self.key = session_key(secret, uid, channel)
        self.cid = random.getrandbits(32)
        self.publish(b"", **({} if resume is None else {"resume": resume}))

    def publish(self, message, **more):
        body = encode({**self.names, "message": message, **more})
        assert 0 < len(body) < 1 << 24
        header = b"M" + len(body).to_bytes(3, "big") + struct.pack(">IQ", self.cid, self.key)
        self.stream.send(header + body)

    def next(self):
        header = self.stream.take(16)
        if header is None:
            return None
        body = self.stream.take(int.from_bytes(header[1:4], "big"))
        if header[:1] == b"N":
            return self.notice(decode(body)[0])
        assert header[:1] == b"M", f"a frame that begins with {header[:1]}"
        uid, message, is_hint = read_body(body)
        return ("hint", uid) if is_hint else self.message(uid, message)

    def cut(self):
        self.stream.cut()


class WebSocketSession(Session):
    """A session of v2 [4.3, 5.8]."""

    def __init__(self, address, secret, uid, channel, **wishes):
        super().__init__()
        self.stream = Stream(address)
        self.stream.send(
            (
                f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                "Sec-WebSocket-Protocol: mles-websocket.resume, mles-websocket\r\n\r\n"
            ).encode()
        )
        while b"\r\n\r\n" not in self.stream.pending:
            assert self.stream.fill(), self.stream.pending
        head, self.stream.pending = self.stream.pending.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        assert lines[0].startswith("HTTP/1.1 101 "), lines
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        assert headers["sec-websocket-protocol"] == "mles-websocket.resume", headers
        auth = siphash((uid + channel + secret).encode())
        self.send(1, json.dumps({"uid": uid, "channel": channel, "auth": f"{auth:x}", **wishes}).encode())

    def send(self, opcode, payload):
        length = len(payload)
        if length < 126:
            head = bytes([0x80 | opcode, 0x80 | length])
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.stream.send(head + mask + masked)

    def publish(self, message):
        self.send(1 if isinstance(message, str) else 2, message.encode() if isinstance(message, str) else message)

    def next(self):
        while True:
            start = self.stream.take(2)
            if start is None:
                return None
            opcode, length = start[0] & 15, start[1]
            if length == 126:
                (length,) = struct.unpack(">H", self.stream.take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.stream.take(8))
            payload = self.stream.take(length)
            if opcode == 9:
                self.send(10, payload)
            elif opcode == 8:
                self.send(8, payload[:2])
                return "close", struct.unpack(">H", payload[:2])[0]
            elif opcode in (1, 2):
                prefix, rest = payload[:1], payload[1:]
                if prefix == b"!":
                    return self.notice(json.loads(rest))
                assert prefix == b"=", payload
                return self.message(None, rest)

    def cut(self):
        self.stream.cut()


class Publisher:
    """Publishes each message exactly once [5.6]."""

    def __init__(self, join):
        self.join, self.id, self.unconfirmed = join, random.getrandbits(64), []
        self.session, self.confirmed = None, 0
        self.come_back()

    def come_back(self):
        since = {} if self.session is None else {"since": str(self.session.position)}
        self.session = self.join({"publisher": self.id, **since})
        welcome = self.session.expect("welcome")[1]
        published = welcome.get("published")
        if published is None:
            assert self.confirmed == 0 and not self.unconfirmed, "the server has forgotten this publisher"
            while str(self.session.position) != welcome["position"]:
                self.session.expect("message")
        self.confirm((published or 0) - self.confirmed)
        for message in self.unconfirmed:
            self.session.publish(message)

    def publish(self, message):
        self.unconfirmed.append(message)
        self.session.publish(message)

    def confirm(self, count):
        assert 0 <= count <= len(self.unconfirmed), f"{count} of {len(self.unconfirmed)}"
        self.confirmed += count
        del self.unconfirmed[:count]

    def flush(self):
        """Waits until every message has its receipt."""
        while self.unconfirmed:
            event = self.session.next()
            assert event is not None, "the session has ended"
            if event[0] == "receipt":
                self.confirm(event[1]["count"])


# What is tried


class Trial:
    def __init__(self, tcp, websocket, secret, vectors):
        self.tcp, self.websocket, self.secret, self.vectors = tcp, websocket, secret, vectors

    def join(self, uid, channel, resume=None):
        return TcpSession(self.tcp, self.secret, uid, channel, resume)

    def join_v2(self, uid, channel, **wishes):
        return WebSocketSession(self.websocket, self.secret, uid, channel, **wishes)

    def vectors_are_understood(self):
        for vector in self.vectors["siphash"]:
            assert f"{siphash(bytes.fromhex(vector['input_hex'])):016x}" == vector["siphash"]
        for vector in self.vectors["frames"]:
            frame = bytes.fromhex(vector["frame_hex"])
            value, marks = decode(frame[16:])
            if not {0x5A, 0x5B} & set(marks):
                assert encode(value) == frame[16:], vector

    def messages_arrive(self):
        subscriber, publisher = self.join("sub", "plain"), self.join("pub", "plain")
        for n in range(100):
            publisher.publish(f"{n}".encode())
        assert subscriber.messages(100) == [f"{n}" for n in range(100)]
        assert self.join("late", "plain").messages(100) == [f"{n}" for n in range(100)]

    def a_wrong_key_is_refused(self):
        assert TcpSession(self.tcp, "guess", "mallory", "plain").next() is None

    def a_subscriber_misses_nothing(self):
        publisher = self.join("pub", "resumed")
        subscriber = self.join("sub", "resumed", {})
        assert subscriber.expect("welcome")[1]["recovered"] is True
        seen, sent = [], 0
        for _ in range(10):
            for _ in range(random.randrange(1, 9)):
                publisher.publish(f"{sent}".encode())
                sent += 1
            while len(seen) < sent and random.random() < 0.8:
                seen.append(subscriber.expect("message")[2:])
            subscriber.cut()
            subscriber = self.join("sub", "resumed", {"since": str(subscriber.position)})
            assert subscriber.expect("welcome")[1]["missed"] == 0
        while len(seen) < sent:
            seen.append(subscriber.expect("message")[2:])
        assert seen == [(f"{n}".encode(), n + 1) for n in range(sent)], seen

    def a_subscriber_misses_nothing_over_websocket(self):
        publisher = self.join("pub", "resumed v2")
        subscriber = self.join_v2("sub", "resumed v2", resume=True)
        subscriber.expect("welcome")
        seen, sent = [], 0
        for _ in range(10):
            for _ in range(random.randrange(1, 9)):
                publisher.publish(f"!{sent}".encode())
                sent += 1
            while len(seen) < sent and random.random() < 0.8:
                seen.append(subscriber.expect("message")[2:])
            subscriber.cut()
            subscriber = self.join_v2("sub", "resumed v2", since=str(subscriber.position))
            assert subscriber.expect("welcome")[1]["missed"] == 0
        while len(seen) < sent:
            seen.append(subscriber.expect("message")[2:])
        assert seen == [(f"!{n}".encode(), n + 1) for n in range(sent)], seen

    def a_foreign_position_is_told(self):
        subscriber = self.join("other", "resumed", {"since": "0123456789abcdef:3"})
        welcome = subscriber.expect("welcome")[1]
        assert welcome["recovered"] is False and "missed" not in welcome
        assert len(subscriber.messages(welcome["replay"])) == welcome["replay"]
        assert str(subscriber.position) == welcome["position"]

    def a_publisher_doubles_nothing(self):
        self.publish_again("published", lambda wishes: self.join("pub", "published", wishes))

    def a_publisher_doubles_nothing_over_websocket(self):
        def join(wishes):
            wishes["publisher"] = f"{wishes['publisher']:x}"
            return self.join_v2("pub", "published v2", **wishes)

        self.publish_again("published v2", join)

    def publish_again(self, channel, join):
        for n in range(5):
            self.ask("POST", channel, "", f"before {n}", {"Content-Type": "text/plain"})
        watcher = self.join("watcher", channel, {})
        assert watcher.expect("welcome")[1]["replay"] == 5
        watcher.messages(5)
        publisher = Publisher(join)
        sent = 0
        for _ in range(10):
            for _ in range(random.randrange(1, 9)):
                publisher.publish(f"{sent}".encode())
                sent += 1
            publisher.session.cut()
            publisher.come_back()
        publisher.flush()
        assert watcher.messages(sent) == [f"{n}" for n in range(sent)]
        assert publisher.confirmed == sent

    def http_goes_on_where_tcp_has_stopped(self):
        subscriber = self.join("sub", "mixed", {})
        subscriber.expect("welcome")
        receipt = self.ask("POST", "mixed", "", "over HTTP", {"Content-Type": "text/plain"})
        assert subscriber.messages(1) == ["over HTTP"]
        assert receipt["position"] == str(subscriber.position)
        subscriber.publish(b"\xff")
        subscriber.expect("receipt")
        page = self.ask("GET", "mixed", f"?since={quote(receipt['position'])}")
        assert page["messages"] == [{"offset": 2, "uid": "sub", "base64": "/w=="}], page
        assert page["next"] == str(subscriber.position)

    def an_event_stream_goes_on_behind_the_last_event(self):
        publisher = self.join("pub", "events", {})
        publisher.expect("welcome")
        for n in range(9):
            publisher.publish(f"{n}".encode())
            publisher.expect("receipt")
        seen, last = [], ""
        for count in (4, 5):
            connection = http.client.HTTPConnection(self.websocket, timeout=PATIENCE)
            headers = {"Authorization": f"Bearer {self.secret}", "Last-Event-ID": last}
            connection.request("GET", "/channels/events/events", headers=headers)
            events = self.events(connection.getresponse())
            name, last, welcome = next(events)
            assert name == "welcome" and welcome["missed"] == 0, welcome
            for _ in range(count):
                name, last, message = next(events)
                assert name == "message" and last.endswith(f":{message['offset']}"), name
                seen.append(message["text"])
            connection.close()
        assert seen == [f"{n}" for n in range(9)], seen

    @staticmethod
    def events(response):
        """Yields name, id and data of each event."""
        assert response.getheader("Content-Type") == "text/event-stream"
        last, fields = "", {}
        while line := response.readline().decode():
            name, _, value = line.rstrip("\n").partition(":")
            if name:  # Else it is a comment, or the end.
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                last = fields.get("id", last)
                yield fields.get("event", "message"), last, json.loads(fields["data"])
                fields = {}

    def ask(self, method, channel, query, body=None, headers=None):
        connection = http.client.HTTPConnection(self.websocket, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.secret}", **(headers or {})}
        connection.request(method, f"/channels/{quote(channel)}/messages{query}", body, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status in (200, 201), answer
        connection.close()
        return json.loads(answer)


def main():
    tcp, websocket, secret, vectors = sys.argv[1:]
    with open(vectors, encoding="utf-8") as file:
        trial = Trial(tcp, websocket, secret, json.load(file))
    for name in [
        "vectors_are_understood",
        "messages_arrive",
        "a_wrong_key_is_refused",
        "a_subscriber_misses_nothing",
        "a_foreign_position_is_told",
        "a_subscriber_misses_nothing_over_websocket",
        "a_publisher_doubles_nothing",
        "a_publisher_doubles_nothing_over_websocket",
        "an_event_stream_goes_on_behind_the_last_event",
        "http_goes_on_where_tcp_has_stopped",
    ]:
        getattr(trial, name)()
        print(name, flush=True)


if __name__ == "__main__":
    main()

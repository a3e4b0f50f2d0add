"""A WebSocket client made of Python's `websockets`, driven line by line.

    ws_client.py URL [--protocols LIST] [--ca FILE] [--authorization VALUE]

It keeps the defaults of the library where they do not get into the way of a test: it offers
permessage-deflate and answers pings. It reads commands from standard input and prints what
happens; ws_client.mjs is the same for Node:

    text TEXT | binary HEX | fragments text|binary HEX HEX ... | ping | close CODE REASON

    open PROTOCOL OFFERED-EXTENSIONS AGREED-EXTENSIONS    "-" stands for none
    text TEXT | binary HEX | ping | pong | closed CODE REASON | refused STATUS | failed WHY
"""

import argparse
import asyncio
import ssl
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

# A line of commands may hold a large message in hex.
LONGEST_LINE = 64 * 1024 * 1024


def tell(*words):
    print(*words, flush=True)


class Connection(ClientConnection):
    """Tells of pings, which the library answers by itself."""

    def process_event(self, event):
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            tell("ping")
        super().process_event(event)


def listed(headers, name):
    return "".join(", ".join(headers.get_all(name)).split()) or "-"


def connection(arguments):
    headers = {}
    if arguments.authorization:
        headers["Authorization"] = arguments.authorization
    trust = ssl.create_default_context(cafile=arguments.ca) if arguments.ca else None
    if arguments.url.startswith("wss:") and trust is None:
        trust = ssl.create_default_context()
    return connect(
        arguments.url,
        additional_headers=headers,
        subprotocols=arguments.protocols.split(",") if arguments.protocols else None,
        create_connection=Connection,
        ping_interval=None,
        max_size=None,
        proxy=None,
        ssl=trust,
    )


async def obey(socket, lines):
    while line := (await lines.readline()).decode():
        command, _, rest = line.rstrip("\n").partition(" ")
        if command == "text":
            await socket.send(rest)
        elif command == "binary":
            await socket.send(bytes.fromhex(rest))
        elif command == "fragments":
            kind, *parts = rest.split(" ")
            parts = [bytes.fromhex(part) for part in parts]
            await socket.send(parts, text=kind == "text")
        elif command == "ping":
            await (await socket.ping(b"are you there?"))
            tell("pong")
        elif command == "close":
            code, _, reason = rest.partition(" ")
            await socket.close(int(code), reason)
        else:
            raise ValueError(command)


async def listen(socket):
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, str):
                tell("text", message)
            else:
                tell("binary", message.hex())
    except ConnectionClosed as end:
        frame = end.rcvd
        tell("closed", *((frame.code, frame.reason) if frame else (1006, "")))


async def main(arguments):
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    try:
        socket = await connection(arguments)
    except InvalidStatus as answer:
        return tell("refused", answer.response.status_code)
    except OSError as error:
        return tell("failed", str(error).replace("\n", " "))
    asked, answered = socket.request.headers, socket.response.headers
    tell(
        "open",
        listed(answered, "Sec-WebSocket-Protocol"),
        listed(asked, "Sec-WebSocket-Extensions"),
        listed(answered, "Sec-WebSocket-Extensions"),
    )
    obeying = asyncio.create_task(obey(socket, lines))
    await listen(socket)
    obeying.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--protocols", default="")
    parser.add_argument("--ca")
    parser.add_argument("--authorization")
    asyncio.run(main(parser.parse_args()))

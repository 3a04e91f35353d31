"""Two proxies, one before the store and one before AWS, that can be told to misbehave.

Run as `python -m chaos.proxies`. A line of JSON on the control port changes `Weather`; the
answer is a line too. What goes through a proxy is forwarded as it is.
"""

import argparse
import asyncio
import json
import random
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

BROKER = ("sns", "sqs")
# Longer than any client waits.
HANG_S = 30.0
CHUNK = 65536
_SCOPE = re.compile(rb"Credential=[^/]+/\d+/[^/]+/([a-z0-9]+)/aws4_request")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "chaos",
}
_BROKEN = {"__type": "com.amazonaws.sqs#InternalFailure", "message": "chaos"}
_BROKEN_XML = (
    b'<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Receiver</Type>'
    b"<Code>InternalFailure</Code><Message>chaos</Message></Error></ErrorResponse>"
)
# What something in between may say that is not AWS.
_GARBLED = b"upstream connect error or disconnect/reset before headers"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Weather:
    """What the proxies do just now; as it is made, they do nothing.

    replies: the share of the store's replies that get lost; `silent`: the connection stays
    open meanwhile, else it is closed. tables: the share of calls that are throttled.
    broker: "", "refused" (nobody listens, for the tables neither), "reset", "hang", "500",
    "garbled" (a 500 that AWS would not say), or "deaf": the call is done and not answered.
    """

    replies: float = 0.0
    silent: bool = False
    tables: float = 0.0
    broker: str = ""
    rng: random.Random = field(default_factory=random.Random)


async def proxy_store(weather: Weather, target: int, client: Streams) -> None:
    """One connection to the store."""
    reader, writer = client
    try:
        upstream = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.transport.abort()
        return
    await _either(_pump(reader, upstream[1]), _replies(weather, upstream[0], writer))
    for end in (writer, upstream[1]):
        end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _replies(
    weather: Weather, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(CHUNK):
        if weather.rng.random() < weather.replies:
            if weather.silent:
                await asyncio.sleep(HANG_S)  # all that follows is lost too
            return
        writer.write(data)
        await writer.drain()


async def _either(*works: Coroutine[None, None, None]) -> None:
    """Until one of `works` is done; a connection that breaks is done."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def proxy_aws(weather: Weather, target: int, client: Streams) -> None:
    """One connection to AWS, request by request."""
    reader, writer = client
    upstream: Streams | None = None
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while request := await _message(reader):
            if upstream is None:
                upstream = await asyncio.open_connection("127.0.0.1", target)
            if not await _answer(weather, request, upstream, writer):
                break
    for end in (client, upstream):
        if end:
            end[1].transport.abort()


async def _answer(
    weather: Weather, request: bytes, upstream: Streams, writer: asyncio.StreamWriter
) -> bool:
    """Answer one request; False when the connection is to be cut instead."""
    scope = _SCOPE.search(request)
    service = scope[1].decode() if scope else ""
    broker = weather.broker if service in BROKER else ""
    if broker == "reset":
        return False
    if broker == "hang":
        await asyncio.sleep(HANG_S)
        return False
    if broker == "500":
        body = _BROKEN_XML if service == "sns" else json.dumps(_BROKEN).encode()
        writer.write(_response("500 Internal Server Error", body))
    elif broker == "garbled":
        writer.write(_response("503 Service Unavailable", _GARBLED))
    elif service == "dynamodb" and weather.rng.random() < weather.tables:
        writer.write(_response("400 Bad Request", json.dumps(_THROTTLED).encode()))
    else:
        upstream[1].write(request)
        reply = await _message(upstream[0])
        if broker == "deaf" or not reply:
            return False
        writer.write(reply)
    await writer.drain()
    return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP request or response as it is on the wire; empty at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    if _CHUNKED.search(head):
        return head + await _chunks(reader)
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    size = 1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
    return b"".join(parts)


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nx-amzn-RequestId: chaos\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Door:
    """A listening port that can be closed and opened again."""

    def __init__(self, port: int, serve: Callable[..., Coroutine[None, None, None]]) -> None:
        """Serve each connection to `port` by `serve`."""
        self._port = port
        self._serve = serve
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, unless it does."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, backlog=1024, limit=2**20
            )

    def close(self) -> None:
        """Refuse new connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None


async def serve(given: argparse.Namespace) -> None:
    """Run both proxies and the control port until the process is ended."""
    weather = Weather(rng=random.Random(given.seed))
    aws_connections: set[asyncio.StreamWriter] = set()

    async def on_store(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await proxy_store(weather, given.store_target, (reader, writer))

    async def on_aws(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        aws_connections.add(writer)
        await proxy_aws(weather, given.aws_target, (reader, writer))
        aws_connections.discard(writer)

    async def on_control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for name, value in json.loads(line).items():
                setattr(weather, name, value)
            if weather.broker == "refused":
                aws.close()
                for connection in list(aws_connections):
                    connection.transport.abort()
            else:
                await aws.open()
            writer.write(b"done\n")
            await writer.drain()
        writer.close()

    store, aws = Door(given.store_port, on_store), Door(given.aws_port, on_aws)
    control = Door(given.control_port, on_control)
    for door in (store, aws, control):
        await door.open()
    await asyncio.Event().wait()


def main() -> None:
    """`python -m chaos.proxies`: see its arguments."""
    parser = argparse.ArgumentParser(prog="python -m chaos.proxies", description=__doc__)
    for name in ("store", "aws"):
        parser.add_argument(f"--{name}-port", type=int, required=True)
        parser.add_argument(f"--{name}-target", type=int, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

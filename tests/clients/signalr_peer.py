"""A program on pysignalr or signalrcore, run in an environment of its own: tells each event as a line of JSON.

Its argument is its configuration: library, url, token, mode (``header``, ``query`` or ``skip`` for no negotiation),
``again``, whether it comes back, after what it got last, when the connection is lost, and ``pings``, whether
signalrcore is built with its automatic reconnect, without which it never says a word.
"""

import asyncio
import json
import os
import sys
import threading
from urllib.parse import quote

OUTPUT = os.fdopen(os.dup(1), "w")  # the libraries print to standard output, too
PAUSE = 0.3


def tell(what, **more):
    """One line for the test."""
    OUTPUT.write(json.dumps({"what": what} | more) + "\n")
    OUTPUT.flush()


class Program:
    """What it knows: where and who, and the last entry that came."""

    def __init__(self, config):
        self.config = config
        self.last = None

    @property
    def url(self):
        """Where to connect now."""
        url, last = self.config["url"], self.last
        if self.config["mode"] == "query":
            url += f"&access_token={self.config['token']}"
        return url if last is None else f"{url}&since={quote(last)}"

    @property
    def headers(self):
        """What goes with it."""
        return {} if self.config["mode"] == "query" else {"Authorization": f"Bearer {self.config['token']}"}

    def received(self, arguments):
        """Something came."""
        self.last = json.loads(arguments[0])["id"]
        tell("message", args=arguments, types=["string" if isinstance(arg, str) else "other" for arg in arguments])


async def run_pysignalr(program):
    """The asyncio client. Its token factory is asked too late for the first connection, so it gets headers."""
    from pysignalr.client import SignalRClient  # noqa: PLC0415 - one of two libraries

    client = SignalRClient(program.url, headers=program.headers)

    async def opened():
        tell("connected")

    async def closed():
        tell("close", message=None)

    async def received(arguments):
        program.received(arguments)

    client.on_open(opened)
    client.on_close(closed)
    client.on("ReceiveMessage", received)
    await client.run()


def run_signalrcore(program):
    """The client with threads; returns when the connection is over."""
    from signalrcore.hub_connection_builder import HubConnectionBuilder  # noqa: PLC0415 - one of two libraries

    options = {"headers": program.headers, "skip_negotiation": program.config["mode"] == "skip"}
    builder = HubConnectionBuilder().with_url(program.url, options=options)
    if program.config["pings"]:
        builder = builder.with_automatic_reconnect({"type": "raw", "keep_alive_interval": 10, "max_attempts": 5})
    client = builder.build()
    ended = threading.Event()

    def closed():
        tell("close", message=None)
        ended.set()

    client.on_open(lambda: tell("connected"))
    client.on_close(closed)
    client.on_reconnect(lambda: tell("reconnected"))
    client.on("ReceiveMessage", program.received)
    client.start()
    ended.wait()


async def main():
    """Connect, and tell how it ended."""
    program = Program(json.loads(sys.argv[1]))
    sys.stdout = sys.stderr
    while True:
        try:
            if program.config["library"] == "pysignalr":
                await run_pysignalr(program)
            else:
                await asyncio.to_thread(run_signalrcore, program)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is what the test wants to know
            tell("refused", message=f"{type(error).__name__}: {error}")
        if not program.config["again"]:
            return
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main())

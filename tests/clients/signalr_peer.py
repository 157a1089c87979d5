"""A program on pysignalr or signalrcore, run in an environment of its own: tells each event as a line of JSON.

Arguments: library, address of the hub, token, and how it connects: ``header``, ``query`` or ``skip`` (negotiation).
"""

import asyncio
import json
import sys
import time


def tell(what, value=None):
    """One line for the test."""
    sys.stdout.write(json.dumps({"what": what, "value": value}) + "\n")
    sys.stdout.flush()


async def run_pysignalr(url, headers):
    """The asyncio client. Its token factory is asked too late for the first connection, so it gets headers."""
    from pysignalr.client import SignalRClient  # noqa: PLC0415 - one of two libraries

    client = SignalRClient(url, headers=headers)

    async def opened():
        tell("open")

    async def received(arguments):
        tell("message", arguments)

    client.on_open(opened)
    client.on("ReceiveMessage", received)
    await client.run()


def run_signalrcore(url, headers, *, skip):
    """The client with threads."""
    from signalrcore.hub_connection_builder import HubConnectionBuilder  # noqa: PLC0415 - one of two libraries

    options = {"headers": headers, "skip_negotiation": skip}
    client = HubConnectionBuilder().with_url(url, options=options).build()
    client.on_open(lambda: tell("open"))
    client.on("ReceiveMessage", lambda arguments: tell("message", arguments))
    client.start()
    time.sleep(600)


def main():
    """Connect, and tell how it ended."""
    library, url, token, mode = sys.argv[1:]
    headers = {} if mode == "query" else {"Authorization": f"Bearer {token}"}
    if mode == "query":
        url += f"&access_token={token}"
    try:
        if library == "pysignalr":
            asyncio.run(run_pysignalr(url, headers))
        else:
            run_signalrcore(url, headers, skip=mode == "skip")
    except Exception as error:  # noqa: BLE001 - whatever the library raises is what the test wants to know
        tell("failed", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()

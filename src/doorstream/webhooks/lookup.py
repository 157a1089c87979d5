"""Asking the system for the addresses of a name, so that names that never answer hold up nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

MAX_LOOKUPS = 256
"""Names that are asked for at one time."""


class SystemLookup:
    """``getaddrinfo`` in a thread for each name.

    The event loop's own threads are few (four in uvloop) and shared with everything else: some names whose servers
    are silent would stop all deliveries for half a minute. Here a silent name costs one thread, however many attempts
    wait for it, and the thread does not keep the process alive.
    """

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, name: str) -> list[str]:
        """All addresses of the name, in the order of preference of the system; raises OSError."""
        future = self._asked.get(name)
        if future is None:
            future = self._ask(name)
        return await asyncio.shield(future)  # whoever gives up must not take the answer from the others

    def _ask(self, name: str) -> asyncio.Future[list[str]]:
        if len(self._asked) >= MAX_LOOKUPS:
            raise socket.gaierror(socket.EAI_AGAIN, "too many names wait for an answer")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        self._asked[name] = future

        def settle(answer: list[str] | OSError) -> None:
            del self._asked[name]
            if isinstance(answer, OSError):
                future.set_exception(answer)
                future.exception()  # it counts as seen, also when nobody waits any more
            else:
                future.set_result(answer)

        def work() -> None:
            answer = _addresses(name)
            with contextlib.suppress(RuntimeError):  # the loop may be gone by now
                loop.call_soon_threadsafe(settle, answer)

        threading.Thread(target=work, name="webhook-lookup", daemon=True).start()
        return future


def _addresses(name: str) -> list[str] | OSError:
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return error
    except UnicodeError:  # a label that is too long or empty
        return socket.gaierror(socket.EAI_NONAME, "this name cannot exist")
    return list(dict.fromkeys(_text(info[4]) for info in infos))


def _text(address: tuple[Any, ...]) -> str:
    """A socket's address without its port; a link's address keeps its scope, without which it leads nowhere."""
    host = str(address[0])
    scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 - host, port, flow, scope
    return f"{host}%{scope}" if scope and "%" not in host else host

"""A gate whose controller speaks lines over TCP, by code that blocks: it has a process of its own."""

from __future__ import annotations

import socket

import msgspec

from doorstream.drivers import Driver, Refused, audited


class LegacyGate(Driver):
    """A gate with a line protocol: OPEN, CLOSE and STATE, each answered with one line."""

    isolation = "process"
    module_name = "Gate"

    class Settings(msgspec.Struct):
        """Where the controller listens; ``timeout`` and ``every`` are in seconds."""

        host: str
        port: int = 4000
        timeout: float = 3.0
        every: float = 10.0

    async def on_load(self) -> None:
        """Look how the gate stands, and go on looking."""
        await self._look()
        self.every(self.settings.every, self._look)

    @audited
    async def open(self) -> str:
        """Open the gate; returns what the controller says."""
        answer = self._ask("OPEN")
        if answer != "OK":
            raise Refused(f"the controller says {answer}", 502)
        await self.emit("x.gate.opened", {"host": self.settings.host})
        await self._look()
        return answer

    @audited
    async def close(self) -> str:
        """Close the gate; returns what the controller says."""
        answer = self._ask("CLOSE")
        await self._look()
        return answer

    async def _look(self) -> None:
        try:
            self.status["position"] = self._ask("STATE").lower()
        except OSError as error:
            self.status["connected"] = False
            self.logger.warning("the controller does not answer: %s", error)
        else:
            self.status["connected"] = True

    def _ask(self, command: str) -> str:
        """One line to the controller, and its answer. Blocks, which harms nobody in a process of its own."""
        address = (self.settings.host, self.settings.port)
        with socket.create_connection(address, self.settings.timeout) as connection:
            connection.sendall(f"{command}\n".encode())
            return connection.makefile().readline().strip()

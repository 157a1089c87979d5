"""An endpoint that takes every client and writes down what it does."""

from doorstream.gateway import Limits, WebSocketConnection
from doorstream.protocols.websocket import UpgradeRequest


class Recorder:
    """One client: its connection, its messages, and the codes with which it closed."""

    def __init__(self) -> None:
        self.connection: WebSocketConnection | None = None
        self.messages: list[str | bytes] = []
        self.codes: list[int] = []

    def opened(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    def message(self, data: str | bytes) -> None:
        self.messages.append(data)

    def closed(self, code: int) -> None:
        self.codes.append(code)


class RecordingEndpoint:
    """Takes whoever comes."""

    limits = Limits()

    def __init__(self) -> None:
        self.handlers: list[Recorder] = []
        self.requests: list[UpgradeRequest] = []

    def open(self, request: UpgradeRequest) -> Recorder:
        self.requests.append(request)
        self.handlers.append(Recorder())
        return self.handlers[-1]

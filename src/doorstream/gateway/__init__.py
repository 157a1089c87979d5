"""The thin shell that owns sockets: WebSocket, Engine.IO and Socket.IO connections, and nothing about doors.

`websocket` is the class that uvicorn hands sockets to, `registry` the `Gateway` that says which path leads where,
`contract` what endpoints and handlers owe; `engineio`, `polling` and `socketio` build on them; `serve` runs it all.
"""

from doorstream.gateway.contract import Endpoint, Handler, Limits, Refusal
from doorstream.gateway.rate import Rate
from doorstream.gateway.registry import Gateway
from doorstream.gateway.websocket import WebSocketConnection

__all__ = ["Endpoint", "Gateway", "Handler", "Limits", "Rate", "Refusal", "WebSocketConnection"]

"""The HTTP side of long-polling: handshakes, polls (GET) and packets from the client (POST), as ASGI.

A second poll or POST while one is under way ends the session, as in the reference implementation.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from doorstream.gateway.contract import Refusal
from doorstream.gateway.engine_socket import CloseReason, EngineSocket, Fault
from doorstream.gateway.polling import Polling
from doorstream.protocols.engineio import EngineIOError, Session, decode_payload
from doorstream.protocols.websocket import UpgradeRequest

if TYPE_CHECKING:
    from doorstream.gateway.engineio import EngineIOEndpoint

_BODY_SECONDS = 20.0
"""How long the body of a POST may take; it has at most `max_payload` bytes."""


class _BodyTooLong(Exception):
    """The body of a POST is larger than `max_payload`."""


class _BodyCutOff(Exception):
    """The client went away within a body, or took too long."""


async def serve_polling(endpoint: "EngineIOEndpoint", scope: Any, receive: Any, send: Any) -> None:
    """Serve one request that is not an upgrade."""
    request = _request(scope)
    fault = endpoint.check(request, "polling")
    sid = request.get("sid")
    if fault is not None:
        await _refuse(send, fault.refusal())
    elif sid is None:
        await _handshake(endpoint, request, send)
    else:
        socket = endpoint.find(sid)
        polling = socket.polling if socket is not None else None
        if socket is None or polling is None:
            await _refuse(send, Fault.BAD_REQUEST.refusal())
        elif request.method == "GET":
            await _poll(endpoint, socket, polling, receive, send)
        elif request.method == "POST" and socket.is_open:
            await _post(socket, polling, request, receive, send)
        else:
            await _refuse(send, Fault.BAD_REQUEST.refusal())


async def _handshake(endpoint: "EngineIOEndpoint", request: UpgradeRequest, send: Any) -> None:
    version = endpoint.version_of(request)
    if version is None:
        await _refuse(send, Fault.UNSUPPORTED_VERSION.refusal())
        return
    handler = await endpoint.decide(request)
    if isinstance(handler, Refusal):
        await _refuse(send, handler)
        return
    polling = Polling(version, endpoint.limits, base64=bool(request.get("b64")))
    socket = EngineSocket(endpoint, handler, request, Session(version, websocket=False), polling)
    polling.overflowed = socket.overflowed
    polling.send_packet(endpoint.opening(socket.sid, ["websocket"]))
    # The first answer holds the open packet alone: some programs read it as a single packet.
    body, content_type = polling.take()
    socket.start()
    await _answer(send, 200, content_type, body)


async def _poll(endpoint: "EngineIOEndpoint", socket: EngineSocket, polling: Polling, receive: Any, send: Any) -> None:
    if polling.polled:
        socket.fail(CloseReason.TRANSPORT_ERROR)
        await _refuse(send, Fault.BAD_REQUEST.refusal())
        return
    if socket.probed:
        polling.hurry()
    if not await polling.ready(lambda: _disconnected(receive)):
        if socket.polling is polling:  # else a WebSocket has taken over, with everything
            socket.fail(CloseReason.TRANSPORT_CLOSE)
        return
    body, content_type = polling.take()
    if not socket.is_open:
        endpoint.forget(socket)
    await _answer(send, 200, content_type, body)


async def _post(socket: EngineSocket, polling: Polling, request: UpgradeRequest, receive: Any, send: Any) -> None:
    if polling.posting:
        socket.fail(CloseReason.TRANSPORT_ERROR)
        await _refuse(send, Fault.BAD_REQUEST.refusal())
        return
    polling.posting = True
    headers = request.headers
    try:
        body = await _read_body(receive, headers.get("content-length", ""), polling.limits.max_payload)
        binary = headers.get("content-type", "").startswith("application/octet-stream")
        await _take_packets(socket, polling, body, binary=binary)
    except _BodyTooLong:
        socket.fail(CloseReason.TRANSPORT_ERROR)
        await _refuse(send, Refusal(413))
    except _BodyCutOff:
        socket.fail(CloseReason.TRANSPORT_ERROR)
        await _refuse(send, Refusal(408))
    except EngineIOError:
        socket.fail(CloseReason.PARSE_ERROR)
        await _refuse(send, Fault.BAD_REQUEST.refusal())
    else:
        await _answer(send, 200, b"text/plain", b"ok")
    finally:
        polling.posting = False


async def _take_packets(socket: EngineSocket, polling: Polling, body: bytes, *, binary: bool) -> None:
    rate = polling.limits.rate
    clock = asyncio.get_running_loop()
    for packet in decode_payload(body, polling.version, binary=binary):
        if rate is not None:
            wait = rate.wait(polling.full_at, clock.time())
            if wait > 0:
                polling.throttled = True
                await asyncio.sleep(wait)
                polling.throttled = False
            polling.full_at = rate.charge(polling.full_at, clock.time(), 1)
        socket.receive(packet)


async def _read_body(receive: Any, length: str, limit: int) -> bytes:
    if length.isdecimal() and int(length[:20]) > limit:
        raise _BodyTooLong
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _BodyCutOff
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _BodyTooLong
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise _BodyCutOff from error


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request(scope: Any) -> UpgradeRequest:
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    client = scope.get("client")
    return UpgradeRequest.build(scope["method"], target, scope["headers"], client[0] if client else "")


async def _refuse(send: Any, refusal: Refusal) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers.items()]
    headers.append((b"content-length", str(len(refusal.body)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})


async def _answer(send: Any, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Structured logs on standard error. No secret reaches them: what carries one is redacted here, for everybody."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_NAMES = (
    "token|access_token|id_token|refresh_token|client_secret|password|code|code_verifier|api[-_]key|x-api-key|ticket"
)
_IN_QUERY = re.compile(rf"(?i)((?:{_NAMES})=)[^&\s\"']+")
_IN_JSON = re.compile(rf"(?i)(\"(?:{_NAMES})\"\s*:\s*\")[^\"]+")
_IN_ADDRESS = re.compile(r"(://)[^/\s@]+@")
_FORMS = re.compile(r"\bds_[A-Za-z0-9_-]{8,}|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def redacted(text: str) -> str:
    """The text without tokens, keys, passwords and secrets."""
    text = _IN_JSON.sub(r"\1…", _IN_QUERY.sub(r"\1…", text))
    return _FORMS.sub("…", _IN_ADDRESS.sub(r"\1…@", text))


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _redacted_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted_value(inner) for inner in value]
    return value


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _redacted_value(value)
    return event


def configure(*, json: bool, level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's loggers alike."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.error", "uvicorn.access", "nats.aio.client", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))

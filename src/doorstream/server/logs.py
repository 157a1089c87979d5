"""Structured logs on standard error. No secret reaches them: what carries one is redacted here, for everybody."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEYS = re.compile(
    r"(?i)((?:token|access_token|id_token|refresh_token|client_secret|password|code|code_verifier|api[-_]key|x-api-key|ticket)=)"
    r"[^&\s\"']+"
)
_SECRET_FORMS = re.compile(r"\bds_[A-Za-z0-9_-]{8,}|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


def redacted(text: str) -> str:
    """The text without tokens, keys, passwords and secrets."""
    text = _SECRET_KEYS.sub(r"\1…", text)
    text = _URL_PASSWORD.sub(r"\1…@", text)
    return _SECRET_FORMS.sub("…", text)


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redacted(value)
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

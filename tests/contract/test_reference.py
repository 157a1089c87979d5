"""Whatever has a name outside is documented: commands and options, errors, scopes, topics, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from contract_support import generate

from doorstream.cli.main import app as cli
from doorstream.dialects.placeos.errors import Code
from doorstream.directory.scopes import SCOPES
from doorstream.events import CATALOGUE
from doorstream.protocols.websocket import CloseCode
from doorstream.server.api.problems import CODES, TYPE
from doorstream.server.metrics import METRICS

PAGES = generate.reference()


def commands(app: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that people can give, with all that it consists of."""
    for name in app:
        if name.startswith("-"):
            continue
        command = app[name]
        words = (*names, name)
        yield " ".join(words), command
        yield from commands(command, words)


@pytest.mark.parametrize(
    ("name", "command"), list(commands(cli)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_and_option_is_documented(name: str, command: Any) -> None:
    """With a text of its own: that of a command is its docstring, that of an option stands in there."""
    page = PAGES["reference/commands.md"]
    assert f" doorstream {name}\n" in page
    assert command.help.strip(), f"{name} says nothing of itself"
    if command.default_command is None:
        return
    section = re.split(rf"^#+ doorstream {name}$", page, flags=re.MULTILINE)[1].partition("\n## ")[0]
    for argument in command.assemble_argument_collection(parse_docstring=True):
        if argument.show and not argument.name.startswith("--config"):
            option = argument.name.partition(".")[0].removesuffix("[]")
            assert option in section, f"{name} {option}"
            if "." not in argument.name and not argument.name.endswith("-id"):
                assert (argument.parameter.help or "").strip(), f"{name} {option} says nothing of itself"


def test_every_problem_is_documented() -> None:
    page = PAGES["reference/errors.md"]
    for slug, code in CODES.items():
        assert f"`{TYPE}{slug}` | {code.status} | {code.title}" in page


def test_every_code_of_a_dialect_is_documented() -> None:
    """Of sockets that are closed, commands that fail, and requests that are refused."""
    page = PAGES["reference/errors.md"]
    for code in Code:
        assert f"| {code.value} | {code.name.lower().replace('_', ' ')}" in page
    for code in (CloseCode.POLICY_VIOLATION, CloseCode.TRY_AGAIN_LATER, CloseCode.SERVICE_RESTART):
        assert f"| {code.value} |" in page
    for text in (
        "invalid token",
        "`bad-parameter`",
        "`ambiguous`",
        "`invalid_grant`",
        "| 1500 | 401 |",
        "token expired",
    ):
        assert text in page, text


def test_every_scope_topic_and_metric_is_documented() -> None:
    for scope, text in SCOPES.items():
        assert f"| `{scope}` | {text} |" in PAGES["reference/scopes.md"]
    for topic in CATALOGUE:
        assert f"| `{topic}` |" in PAGES["reference/topics.md"]
    for metric in METRICS:
        assert f"| `{metric.name}" in PAGES["reference/metrics.md"]

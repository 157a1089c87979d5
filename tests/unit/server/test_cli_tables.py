"""How commands print lists."""

from __future__ import annotations

import pytest

from doorstream.cli.tables import print_table


def test_a_line_for_each_object_and_a_column_for_each_member(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": "a", "sites": ["one", "two"], "roles": {"one": "site_admin"}, "disabled": True, "secret": "never"},
        {"id": "b", "sites": [], "disabled": False, "name": None, "attempts": 0},
    ]
    print_table(rows, ("id", "name", "sites", "roles", "disabled", "attempts"))
    head, first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["id", "name", "sites", "roles", "disabled", "attempts"]
    assert first == ["a", "one,", "two", "one:", "site_admin", "yes"]
    assert second == ["b", "no", "0"]


def test_an_empty_list_shows_what_it_would_have(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], ("id", "name"))
    assert capsys.readouterr().out.split() == ["id", "name"]

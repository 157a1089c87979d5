"""Caddy's configuration: that Caddy takes it, and that it agrees with nginx's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
FILE = DEPLOY / "caddy/Caddyfile"


@pytest.mark.program("caddy", "caddy")
def test_caddy_takes_it(tmp_path: Path) -> None:
    command = ["caddy", "adapt", "--config", str(FILE), "--validate"]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr


def test_both_proxies_lead_to_the_same_and_keep_a_client_at_one_node() -> None:
    caddy, nginx = FILE.read_text(), (DEPLOY / "nginx/doorstream.conf").read_text()
    for text in (caddy, nginx):
        assert "127.0.0.1:8080" in text
        assert "ip_hash" in text
        assert "--trusted-proxies 127.0.0.1" in text
    assert "flush_interval -1" in caddy

"""The image and the compose file, as far as they can be checked without an engine that runs them."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml_subset

from doorstream.cli.main import app
from doorstream.cli.serve import networks
from doorstream.log.embedded import find_binary
from doorstream.testing.server import running_demo

TOP = Path(__file__).parents[3]
DEPLOY = TOP / "deploy"
COMPOSE = DEPLOY / "compose"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
DOCUMENT = yaml_subset.load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
NODES = [name for name in SERVICES if name.startswith("doorstream-")]
NATS = [name for name in SERVICES if name.startswith("nats-")]


def options() -> set[str]:
    """The options of ``doorstream serve``."""
    arguments = app["serve"].assemble_argument_collection(parse_docstring=True)
    return {name for argument in arguments for name in argument.names}


def instruction(name: str) -> str:
    """The last one of that name in the Dockerfile."""
    found: str = re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)[-1]
    return found


def check_command(command: Iterable[str]) -> dict[str, str]:
    """Every option exists; returns those that have a value."""
    words = list(command)
    assert words[0] == "serve"
    named = [word for word in words if word.startswith("--")]
    assert set(named) <= options()
    return {word: words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("--") and at + 1 < len(words)}


def test_the_image_installs_only_what_is_locked_and_runs_as_nobody_special() -> None:
    installs = re.findall(r"pip install[^&]*", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in each and "--only-binary :all:" in each for each in installs)
    assert instruction("USER") == "doorstream"
    assert DOCKERFILE.index("COPY --from=build") < DOCKERFILE.index("\nUSER doorstream")
    allowed = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for source, _ in re.findall(r"^COPY (?!--from)(\S+) (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert copied == allowed
    assert all((TOP / name).exists() for name in copied)


def test_the_ports_and_places_of_the_image_agree() -> None:
    given = check_command(json.loads(instruction("CMD")))
    assert given == {"--host": "0.0.0.0", "--port": "8080", "--data-dir": "/data"}  # noqa: S104 - within a container
    assert instruction("EXPOSE") == given["--port"]
    assert instruction("VOLUME") == given["--data-dir"]
    assert f"127.0.0.1:{given['--port']}/readyz" in instruction("HEALTHCHECK")
    assert json.loads(instruction("ENTRYPOINT")) == ["python", "-m", "doorstream"]


async def status_of(program: str) -> int:
    """How a Python program ends."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.DEVNULL)
    return await asyncio.wait_for(process.wait(), 20)


async def test_the_health_check_tells_ready_from_not_ready() -> None:
    """As it stands in the Dockerfile, but for the port."""
    command = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    async with running_demo() as demo:
        program = command[2].replace("http://127.0.0.1:8080", demo.url)
        assert program != command[2]
        assert await status_of(program) == 0
    assert await status_of(program) == 1


def test_it_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "doorstream", "--version"]
    ended = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", ended.stdout)


def test_three_nats_servers_two_nodes_and_a_proxy() -> None:
    assert (len(NATS), len(NODES), set(SERVICES) - {*NATS, *NODES}) == (3, 2, {"proxy"})
    for name in NODES:
        service = SERVICES[name]
        given = check_command(service["command"])
        assert given["--nats-replicas"] == "3"
        assert (TOP / "deploy/compose" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert f"{name}:{given['--data-dir']}" in service["volumes"]
        assert set(service["depends_on"]) == set(NATS)
        assert "ports" not in service
    first, *others = (SERVICES[name]["command"] for name in NODES)
    assert "--no-background" not in first
    assert all("--no-background" in command for command in others)


@pytest.mark.parametrize("name", NODES)
def test_the_environment_of_a_node_is_options(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert {key.removeprefix("DOORSTREAM_").lower().replace("_", "-") for key in environment} <= {
        option.removeprefix("--") for option in options()
    }
    urls = environment["DOORSTREAM_NATS_URL"].split(",")
    ports = [re.fullmatch(r"nats://doorstream:\$\{[^}]+\}@(nats-\d):(\d+)", url) for url in urls]
    assert [match and match[1] for match in ports] == NATS
    assert {match and match[2] for match in ports} == {"4222"}
    [front] = DOCUMENT["networks"]["front"]["ipam"]["config"]
    [trusted] = networks((environment["DOORSTREAM_TRUSTED_PROXIES"],))
    assert ipaddress.ip_network(trusted) == ipaddress.ip_network(front["subnet"])


def test_networks_volumes_and_files_exist() -> None:
    """Only the proxy can be reached from outside, and only the nodes reach NATS."""
    for service in SERVICES.values():
        assert set(service["networks"]) <= set(DOCUMENT["networks"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source == "./tls":
                continue  # the operator's own
            assert (COMPOSE / source).is_file() if source.startswith(".") else source in DOCUMENT["volumes"]
    assert DOCUMENT["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert "inside" not in SERVICES["proxy"]["networks"]
    wanted = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.yaml").read_text()))
    assert wanted == set(re.findall(r"^(\w+)=", (COMPOSE / "example.env").read_text(), re.MULTILINE))


def test_the_proxy_knows_both_nodes() -> None:
    text = (COMPOSE / "nginx.conf").read_text()
    assert re.findall(r"^\s+server (\S+):(\d+);", text, re.MULTILINE) == [(name, "8080") for name in NODES]
    shared = (DEPLOY / "nginx/doorstream.conf").read_text()
    for part in (r"map .*?\n}", r"log_format .*?;\n", r"ssl_protocols .*?;", r"keepalive_timeout .*?;"):
        [ours], [theirs] = (re.findall(part, each, re.DOTALL) for each in (text, shared))
        assert ours == theirs


@pytest.mark.parametrize("name", NATS)
def test_nats_takes_its_configuration(name: str) -> None:
    """By the real nats-server, with the environment that the compose file gives it."""
    given = SERVICES[name]["environment"]
    environment = {key: value.replace("${NATS_PASSWORD}", "n0123") for key, value in given.items()}
    assert environment["NODE"] == name
    file = COMPOSE / "nats.conf"
    command = [find_binary(), "-t", "-c", str(file)]
    ended = subprocess.run(command, env=environment, check=False, timeout=20, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    text = file.read_text()
    assert "sync_interval: always" in text
    assert 'listen: "0.0.0.0:4222"' in text
    assert "127.0.0.1:8222" in text
    assert "http://127.0.0.1:8222/healthz" in SERVICES[name]["healthcheck"]["test"]
    assert re.findall(r"nats-route://(nats-\d):6222", text) == NATS

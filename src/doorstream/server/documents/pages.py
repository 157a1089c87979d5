"""The pages of the documents: plain HTML, everything on them from this server, and nothing that could load more."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from doorstream.server.documents.notation import Schema

_STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem 1rem 4rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { border-top: 1px solid; margin-top: 3rem; padding-top: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid; padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; vertical-align: top; }
summary { cursor: pointer; padding: 0.25rem 0; }
nav ul { columns: 2; padding-left: 1.2rem; }
"""
_SCRIPT: Final = """\
SwaggerUIBundle({
  url: %s,
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_SENDS: Final = {"send": "doorstream sends", "receive": "doorstream receives"}


def _hash(text: str) -> str:
    """How a policy names one text that may stand in a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


STREAMS_POLICY: Final = f"default-src 'none'; style-src {_hash(_STYLE)}; base-uri 'none'; frame-ancestors 'none'"
"""The page of the streams runs and loads nothing."""


def rest_page(document: str, static: str) -> str:
    """The page of the OpenAPI document, whose address is given; ``static`` is where its scripts are."""
    script = _SCRIPT % json.dumps(document)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>doorstream: the API</title>
<link rel="stylesheet" href="{static}/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<p><a href="/">Dashboard</a> · <a href="/docs/streams">The streams</a> · <a href="{document}">As JSON</a></p>
<div id="swagger-ui"></div>
<script src="{static}/swagger-ui-bundle.js"></script>
<script>{script}</script>
</body>
</html>
"""


def rest_policy(page: str) -> str:
    """What that page may do: run its scripts, and talk with this server. Its widgets write styles of their own."""
    scripts = " ".join(_hash(script) for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL))
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def streams_page(document: Mapping[str, Any]) -> str:
    """The page of an AsyncAPI document of ours."""
    info, channels = document["info"], document["channels"]
    contents = "".join(f'<li><a href="#{key}">{_text(each["title"])}</a></li>' for key, each in channels.items())
    sections = "".join(_channel(document, key) for key in channels)
    schemas = "".join(
        f'<details id="schema-{name}"><summary><code>{name}</code></summary>{_schema(schema)}</details>'
        for name, schema in document["components"]["schemas"].items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>doorstream: the streams</title>
<style>{_STYLE}</style>
</head>
<body>
<p><a href="/">Dashboard</a> · <a href="/docs">The API</a> · <a href="/asyncapi.json">As JSON</a></p>
<h1>doorstream {_text(info["version"])}: the streams</h1>
<p>{_text(info["description"])}</p>
<nav><ul>{contents}<li><a href="#schemas">Schemas</a></li></ul></nav>
{sections}
<h2 id="schemas">Schemas</h2>
{schemas}
</body>
</html>
"""


def _channel(document: Mapping[str, Any], key: str) -> str:
    channel = document["channels"][key]
    operations = list(_operations(document, key))
    address = channel["address"]
    shown = f"<p><code>{_text(address)}</code></p>" if address is not None else ""
    flows = "".join(_operation(each) for each in operations)
    messages = "".join(_message(name, document["components"]["messages"][name]) for name in channel["messages"])
    return f"""
<h2 id="{key}">{_text(channel["title"])}</h2>
{shown}
<p>{_text(channel["description"])}</p>
{_parameters(channel, *operations)}
<h3>Who says what</h3>
<ul>{flows}</ul>
<h3>Messages</h3>
{messages}"""


def _operations(document: Mapping[str, Any], channel: str) -> Iterator[Mapping[str, Any]]:
    for operation in document["operations"].values():
        if operation["channel"]["$ref"] == f"#/channels/{channel}":
            yield operation


def _operation(operation: Mapping[str, Any]) -> str:
    names = ", ".join(_link(each["$ref"]) for each in operation["messages"])
    replies = ", ".join(_link(each["$ref"]) for each in operation.get("reply", {}).get("messages", ()))
    answered = f"; answered with {replies}" if replies else ""
    return f"<li>{_SENDS[operation['action']]}: {_text(operation['summary'])} ({names}{answered})</li>"


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f'<a href="#message-{name}">{name}</a>'


def _message(key: str, message: Mapping[str, Any]) -> str:
    headers = f"<p>Headers</p>{_schema(message['headers'])}" if "headers" in message else ""
    title = f"<code>{_text(message['name'])}</code> {_text(message['summary'])}"
    return f'<details id="message-{key}"><summary>{title}</summary>{headers}{_schema(message["payload"])}</details>'


def _parameters(*described: Mapping[str, Any]) -> str:
    """What stands in the query: of a WebSocket's channel, or of an HTTP operation."""
    bindings = [binding for each in described for binding in each.get("bindings", {}).values()]
    query = next((binding["query"] for binding in bindings if "query" in binding), None)
    if query is None:
        return ""
    required = query.get("required", ())
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{'required' if name in required else ''}</td>"
        f"<td>{_text(schema['description'])}</td></tr>"
        for name, schema in query["properties"].items()
    )
    return f"<table><tr><th>In the query</th><th></th><th></th></tr>{rows}</table>"


def _schema(schema: Schema) -> str:
    """A schema as JSON, with links to those that it refers to."""
    text = html.escape(json.dumps(schema, indent=2, ensure_ascii=False))
    linked = re.sub(r"#/components/schemas/(\w+)", r'<a href="#schema-\1">#/components/schemas/\1</a>', text)
    return f"<pre>{linked}</pre>"


def _text(value: object) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(str(value)))

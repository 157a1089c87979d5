"""The page on which people sign in: one form, nothing from elsewhere, no script."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence

from starlette.responses import Response

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 90vh; margin: 0; }
main { width: min(20rem, 90vw); }
h1 { font-size: 1.25rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
input { margin: 0 0 1rem; padding: .5rem; border: 1px solid #8888; border-radius: .25rem; }
button { padding: .5rem; border: 0; border-radius: .25rem; background: #1d4ed8; color: #fff; cursor: pointer; }
[role=alert] { color: #b91c1c; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_LAYOUT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in - doorstream</title><style>{style}</style></head>
<body><main>{content}</main></body>
</html>
"""
_FORM = """<h1>Sign in to doorstream</h1>
{problem}<form method="post" action="/auth/login">
<input type="hidden" name="continue" value="{target}">
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
</form>"""
_WRONG = '<p role="alert">The user name or password is wrong.</p>\n'


def login_page(target: str, form_targets: Sequence[str], *, has_failed: bool = False) -> Response:
    """The form, which leads on to ``target``; ``form_targets`` are origins beside our own to which that may lead."""
    content = _FORM.format(problem=_WRONG if has_failed else "", target=html.escape(target))
    return _page(content, 401 if has_failed else 200, form_targets)


def error_page(status: int, message: str) -> Response:
    """Why somebody cannot be let on, said to people."""
    return _page(f'<h1>Not possible</h1><p role="alert">{html.escape(message)}</p>', status, ())


def _page(content: str, status: int, form_targets: Sequence[str]) -> Response:
    allowed = " ".join(("'self'", *form_targets))
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {allowed}"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # with none the form would not say from where it is sent
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_LAYOUT.format(style=_STYLE, content=content), status, headers, "text/html; charset=utf-8")

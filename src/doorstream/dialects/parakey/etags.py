"""Entity tags: made, and compared as RFC 9110 13.1.2 says (PAR-5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

CACHING = {"Cache-Control": "private, no-cache", "Vary": "access-token, Authorization"}
"""Headers of every answer that has an entity tag, also of a 304: keep it, but ask each time."""

_TAG = re.compile(rb'"[\x21\x23-\x7e\x80-\xff]*"')  # with or without W/ before it
_SIZE = 12


def entity_tag(*parts: object) -> str:
    """A strong tag for what follows from these."""
    digest = blake2b(digest_size=_SIZE)
    for part in parts:
        text = str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b" % (len(text), text))  # so that no two lists of parts look the same
    return f'"{digest.hexdigest()}"'


def matches(tag: bytes, conditions: Iterable[bytes]) -> bool:
    """Tell whether ``If-None-Match`` (its lines) names the tag: weakly compared, in a list, or as ``*``.

    What is no list of tags names nothing.
    """
    for condition in conditions:
        if condition == tag or condition.strip() == b"*" or tag in _TAG.findall(condition):
            return True
    return False

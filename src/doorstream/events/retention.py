"""How long events are kept: by the class of their topic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

TOPIC_CLASSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "access": ("device.request.",),
        "alarm": ("device.alarm.", "device.battery.", "controller.alarm.", "rule.antipassback."),
        "door": ("device.input.", "device.autoopen.", "device.forceopen.", "device.forceclose."),
        "own": ("x.",),
    }
)
"""Who passed or wanted to, what is wrong, what doors did, and what drivers say: each class by how its topics begin."""

OTHER_CLASS: Final = "system"
"""The class of every other topic: cloud nodes, synchronisation, and changes of what there is."""


def topic_class(topic: str) -> str:
    """The class that a topic belongs to."""
    for name, beginnings in TOPIC_CLASSES.items():
        if topic.startswith(beginnings):
            return name
    return OTHER_CLASS


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds for which events are kept: ``default``, and what differs by class of topic; 0 is for ever.

    Raises ValueError for a class that does not exist, and for a class that is kept for less than a second.
    """

    default: float
    classes: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.classes) - {*TOPIC_CLASSES, OTHER_CLASS})
        if unknown:
            raise ValueError(f"no class of topics: {unknown[0]}; there are {', '.join([*TOPIC_CLASSES, OTHER_CLASS])}")
        if any(0 < seconds < 1 or seconds < 0 for seconds in self.classes.values()):
            raise ValueError("events are kept for a second at least, or 0 for ever")

    @property
    def longest(self) -> float:
        """After so many seconds nothing is left; 0 if something is kept for ever."""
        kept = [self._kept(name) for name in (*TOPIC_CLASSES, OTHER_CLASS)]
        return 0.0 if math.inf in kept else max(kept)

    def of(self, topic: str) -> float:
        """Seconds for which events of that topic are kept; 0 for ever."""
        return self.classes.get(topic_class(topic), self.default)

    @property
    def shorter(self) -> dict[str, float]:
        """The classes whose events leave before those that are kept longest, and their seconds."""
        kept = {name: self._kept(name) for name in (*TOPIC_CLASSES, OTHER_CLASS)}
        longest = max(kept.values())
        return {name: seconds for name, seconds in kept.items() if seconds < longest}

    def _kept(self, name: str) -> float:
        return self.classes.get(name, self.default) or math.inf

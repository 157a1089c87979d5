"""The vocabulary: events, positions, the topic catalogue, and the entities of a building. Pure values, no I/O."""

from doorstream.events.errors import EventError, InvalidEvent, InvalidPosition
from doorstream.events.event import Event
from doorstream.events.position import Position
from doorstream.events.retention import Retention, topic_class
from doorstream.events.topics import CATALOGUE, STREAMED, Topic, topic_named

__all__ = [
    "CATALOGUE",
    "STREAMED",
    "Event",
    "EventError",
    "InvalidEvent",
    "InvalidPosition",
    "Position",
    "Retention",
    "Topic",
    "topic_class",
    "topic_named",
]

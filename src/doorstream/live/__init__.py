"""The live path: the hub with its interest groups, the resume primitive, and the ring of recent events."""

from doorstream.live.alarms import Alarm, Alarms
from doorstream.live.entry import Encoder, Entry, Framing, Interest, Outlet, unframed
from doorstream.live.hub import Group, Hub
from doorstream.live.presence import Describable, Description, Presence, Present, Seen
from doorstream.live.subscription import Consumer, State, Subscription

__all__ = [
    "Alarm",
    "Alarms",
    "Consumer",
    "Describable",
    "Description",
    "Encoder",
    "Entry",
    "Framing",
    "Group",
    "Hub",
    "Interest",
    "Outlet",
    "Presence",
    "Present",
    "Seen",
    "State",
    "Subscription",
    "unframed",
]

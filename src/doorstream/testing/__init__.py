"""What tests of doorstream, and of what is built on it, can use."""

from doorstream.testing.events import OTHER_SITE, SITE, KnownNames, make_event
from doorstream.testing.nats import NatsServer, empty_log, nats_server
from doorstream.testing.waiting import until

__all__ = ["OTHER_SITE", "SITE", "KnownNames", "NatsServer", "empty_log", "make_event", "nats_server", "until"]

"""doorstream: door events in once, out live, in order and without loss, over four vendors' protocols."""

__version__ = "0.1.0"

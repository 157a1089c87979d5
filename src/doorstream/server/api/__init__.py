"""Our own HTTP API: one module for each kind of thing, and what all routes share."""

"""Sans-I/O wire protocols: bytes in, messages out. They know nothing of doors, sockets or clocks."""

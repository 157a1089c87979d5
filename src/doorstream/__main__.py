"""``python -m doorstream``, for where there is no ``doorstream`` script, as in the container image."""

from doorstream.cli import main

main()

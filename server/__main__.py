"""``python -m server``: the command line without an installed script."""

from server.cli import main

main()

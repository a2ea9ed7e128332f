"""What streams are told, one packet at a time."""

import numpy as np

from server.deadlines import Streams


def hear(
    streams: Streams, row: int, kind: int, arrived_ns: int, newest_ns: int, *, rests: bool = False
) -> None:
    """Let a stream be heard once."""
    streams.heard(np.array([row]), kind, np.array([arrived_ns]), np.array([newest_ns]), rests)

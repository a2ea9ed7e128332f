"""A clock that tests own."""


class ManualClock:
    """Stands still until it is told to move; has the methods of ``server.clock.Clock``."""

    def __init__(self, utc_ns: int = 1_700_000_000_000_000_000, monotonic_ns: int = 0) -> None:
        self._utc_ns = utc_ns
        self._monotonic_ns = monotonic_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def utc_ns(self) -> int:
        return self._utc_ns

    def advance(self, ns: int) -> None:
        """Move both times by ``ns``, which is not negative."""
        assert ns >= 0
        self._monotonic_ns += ns
        self._utc_ns += ns

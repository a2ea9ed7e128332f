"""What can go wrong at the edges, one class per thing that a caller would do differently.

::

    ServerError
     +-- DecodeError     a payload is not what its codec promises: count it by reason, drop it
     +-- ConfigError     the configuration cannot be used: one line on stderr, exit code 2
     +-- FileError       a recording cannot be read: one line on stderr, exit code 1
     +-- WorkerError     a worker fails again and again: what it said last, exit code 1
     +-- BrokerError     there is no broker to talk to: one line on stderr, exit code 1
          +-- PortTakenError  another process holds its port: choose another

Anything else that is raised is a bug, and ends the process.
"""

from pathlib import Path


def printable(text: str) -> str:
    """Return the text with what would break a line, or steer a terminal, as Python escapes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class ServerError(Exception):
    """The base of all errors that this package raises on purpose."""


class DecodeError(ServerError):
    """A payload that is not what its codec promises.

    Parameters
    ----------
    reason : str
        From the codec's fixed set, so that counters by reason stay few.
    offset : int
        Where the fault is, bytes from the start of the payload; 0 where that means nothing.
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} at byte {self.offset}"


class ConfigError(ServerError):
    """A configuration that cannot be used; ``str()`` is one line.

    Parameters
    ----------
    key : str
        The key as the user wrote it: ``broker.port``, ``athletes[1].mass_kg`` or ``KINEFUSE_BROKER_PORT``;
        empty when the file as a whole is meant.
    problem : str
        What is wrong with it, with the range that is allowed.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return printable(f"{self.key}: {self.problem}" if self.key else self.problem)


class FileError(ServerError):
    """A recording that cannot be read; ``str()`` is one line that names the file and the cause."""

    def __init__(self, path: Path | str, cause: str) -> None:
        super().__init__(str(path), cause)
        self.path = Path(path)
        self.cause = cause

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.cause}")


class WorkerError(ServerError):
    """A worker that a bug ends again and again; ``str()`` has its last words."""


class BrokerError(ServerError):
    """No broker could be found, started or reached; ``str()`` is one line that says what to do."""


class PortTakenError(BrokerError):
    """Another process holds the port; ``holder`` tells which, if known (``"mosquitto, pid 812"``)."""

    def __init__(self, port: int, holder: str | None, advice: str) -> None:
        super().__init__(port, holder, advice)
        self.port = port
        self.holder = holder
        self.advice = advice

    def __str__(self) -> str:
        by = f"by {self.holder}" if self.holder else "by another process"
        return f"port {self.port} is taken {by}; {self.advice}"

"""Whether a port of this machine is free, and who holds it if not."""

import errno
import socket
from pathlib import Path

from server.errors import BrokerError, PortTakenError

LISTENING = "0A"  # the state in /proc/net/tcp, see proc(5)


def check(host: str, port: int, *, advice: str) -> None:
    """Return if ``port`` can be listened on.

    Raises
    ------
    PortTakenError
        Another process holds it; says which, where /proc tells.
    BrokerError
        It cannot be used for another reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(port, holder(port), advice) from None
            raise BrokerError(f"port {port} of {host} cannot be used ({error.strerror}); {advice}") from None


def holder(port: int) -> str | None:
    """Return the process that listens on a port, as in ``mosquitto, pid 812``; None where that is unknown."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net", table), port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(str(fd.readlink()) in wanted for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:  # it ended, or is somebody else's
            continue
    return None


def _listening(table: Path, port: int) -> list[str]:
    """The inodes of the sockets that listen on a port."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port]

"""mosquitto as a child: where it is, and its configuration, which it reads from its standard input."""

import os
import shutil

from server.config import Broker

# Debian keeps it where a user's PATH does not look.
PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
PACKET_BYTES_MAX = 2 * 2**20
INFLIGHT_MESSAGES_MAX = 65_535  # as many as there are packet ids; 0, no limit, would not bound what it keeps
QUEUED_MESSAGES_MAX = 100_000
QUEUED_BYTES_MAX = 64 * 2**20
CLIENT_EXPIRY = "1h"
ROOT_WARNING = "should not be run as root"  # it is ours, on loopback; see `configuration`


def find() -> str | None:
    """Return the path of the program, or None."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))


def configuration(broker: Broker) -> str:
    """Return what it is told: loopback only, everybody may come in, nothing is kept on disk.

    Without ``socket_domain`` a websocket listener binds all interfaces, whatever address it is given. As root
    mosquitto becomes another user, which would also cut the tether (see ``tether.py``): it is told not to.
    """
    lines = [
        f"listener {broker.port} {broker.host}",
        "socket_domain ipv6" if ":" in broker.host else "socket_domain ipv4",
    ]
    if broker.websocket_port:
        lines += [
            f"listener {broker.websocket_port} {broker.host}",
            "protocol websockets",
            "socket_domain ipv6" if ":" in broker.host else "socket_domain ipv4",
        ]
    if os.geteuid() == 0:
        lines.append("user root")
    lines += [
        "allow_anonymous true",
        "persistence false",
        "set_tcp_nodelay true",
        f"max_packet_size {PACKET_BYTES_MAX}",
        f"max_inflight_messages {INFLIGHT_MESSAGES_MAX}",
        f"max_queued_messages {QUEUED_MESSAGES_MAX}",
        f"max_queued_bytes {QUEUED_BYTES_MAX}",
        f"persistent_client_expiration {CLIENT_EXPIRY}",
        "log_dest stderr",
        "log_type error",
        "log_timestamp false",
    ]
    return "\n".join(lines) + "\n"


def command(program: str) -> list[str]:
    """Return the command line; the configuration goes to its standard input."""
    return [program, "-c", "/dev/stdin"]

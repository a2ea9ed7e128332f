"""The JSON Schema of protocol v1, topic by topic.

``python -m server.codecs.schema`` writes docs/schema/protocol-v1.json anew; a test holds the file to it.
"""

from pathlib import Path
from types import GenericAlias
from typing import Any, Final

import msgspec

from server.codecs import samples
from server.deadlines import DeadlineReport
from server.messages import (
    AthleteHealth,
    Birth,
    Command,
    Death,
    DeviceHealth,
    ImuJson,
    Live,
    Ping,
    Pong,
    Reply,
    ServerStatus,
    Workout,
)

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "schema" / "protocol-v1.json"

TOPICS: Final[dict[str, Any]] = {
    **{
        f"in/{{device}}/{kind}": struct | GenericAlias(list, (struct,))
        for kind, struct in samples.LISTED.items()
    },
    "in/{device}/imu": ImuJson,
    "in/{device}/status": Birth | Death,
    "in/{device}/pong": Pong,
    "command/{athlete}": Command,
    "athletes/{athlete}/live": Live,
    "athletes/{athlete}/workout": Workout,
    "athletes/{athlete}/reply/{id}": Reply,
    "athletes/{athlete}/health": AthleteHealth,
    "devices/{device}/health": DeviceHealth,
    "devices/{device}/ping": Ping,
    "server/status": ServerStatus,
    "server/deadlines": DeadlineReport,
}


def protocol() -> dict[str, Any]:
    """Return the schema: ``topics`` (below the root) refer to ``$defs``."""
    schemas, components = msgspec.json.schema_components(TOPICS.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Kinefuse protocol v1",
        "topics": dict(zip(TOPICS, schemas, strict=True)),
        "$defs": dict(sorted(components.items())),
    }


def text() -> bytes:
    """Return the schema as the file holds it."""
    return msgspec.json.format(msgspec.json.encode(protocol()), indent=2) + b"\n"


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_bytes(text())

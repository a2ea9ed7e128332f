"""The JSON Schema of protocol v1, topic by topic.

``python -m server.codecs.schema`` writes docs/schema/protocol-v1.json anew; a test holds the file to it.
"""

from pathlib import Path
from types import GenericAlias
from typing import Any, Final

import msgspec

from server.messages import (
    Baro,
    Battery,
    Birth,
    Cadence,
    Command,
    Death,
    Foot,
    Gnss,
    HeartRate,
    ImuJson,
    Live,
    Metric,
    NoMetric,
    Pong,
    Power,
    Reply,
    Wheel,
    Workout,
)

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "schema" / "protocol-v1.json"

_SAMPLES: Final[dict[str, Any]] = {
    "hr": HeartRate,
    "gnss": Gnss,
    "baro": Baro,
    "power": Power,
    "cadence": Cadence,
    "wheel": Wheel,
    "foot": Foot,
    "battery": Battery,
}

# Live as msgspec can describe it: two structs without a tag are no type to it; they are put in below.
_LIVE: Final = msgspec.defstruct(
    "Live",
    [
        (field.name, dict[str, Any] if field.name == "metrics" else field.type)
        if field.default is msgspec.NODEFAULT
        else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(Live)
    ],
    namespace={"__doc__": Live.__doc__},
)

TOPICS: Final[dict[str, Any]] = {
    **{f"in/{{device}}/{kind}": struct | GenericAlias(list, (struct,)) for kind, struct in _SAMPLES.items()},
    "in/{device}/imu": ImuJson,
    "in/{device}/status": Birth | Death,
    "in/{device}/pong": Pong,
    "command/{athlete}": Command,
    "athletes/{athlete}/live": _LIVE,
    "athletes/{athlete}/workout": Workout,
    "athletes/{athlete}/reply/{id}": Reply,
}


def protocol() -> dict[str, Any]:
    """Return the schema: ``topics`` (below the root) refer to ``$defs``."""
    schemas, components = msgspec.json.schema_components(
        [*TOPICS.values(), Metric, NoMetric], ref_template="#/$defs/{name}"
    )
    metrics = components["Live"]["properties"]["metrics"]
    metrics["additionalProperties"] = {"anyOf": list(schemas[-2:])}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Kinefuse protocol v1",
        "topics": dict(zip(TOPICS, schemas, strict=False)),
        "$defs": dict(sorted(components.items())),
    }


def text() -> bytes:
    """Return the schema as the file holds it."""
    return msgspec.json.format(msgspec.json.encode(protocol()), indent=2) + b"\n"


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_bytes(text())

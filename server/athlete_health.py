"""How the fusion of each athlete is: which device speaks for what, and how well the models fit."""

from collections.abc import Container
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusion.athletes import Athletes
from fusion.models import choice, consistency
from fusion.table import Fields, Picked
from server.envelopes import Outgoing
from server.messages import AthleteHealth, ModelFit, ModelHealth
from server.publications import encode
from server.registry import Registry

PARTS: Final = 5  # each time another part of the athletes is looked at, so that no tick meets all of them:
LOOK_NS: Final = 200_000_000  # each once a second
PERIOD_NS: Final = 60_000_000_000  # a source that changes is told at the next look,
FIT_NS: Final = 10_000_000_000  # a fit that changes after so long
TOLD_MAX: Final = 100  # in one look: the others have their turn at the next
TURNS: Final = PERIOD_NS // LOOK_NS  # at which a period begins, for some athletes at each, by their ids
GONE_NS: Final = 30_000_000_000  # a device that was not heard for so long, while others were, speaks no more

# What devices speak for, and the fields of an athlete's row that hold which, and when it was heard.
SPEAKS_FOR: Final = {
    "steps": ("body_device", "body_heard_ns"),
    "position": ("gnss_device", "gnss_heard_ns"),
    "pressure": ("baro_device", "baro_heard_ns"),
    "speed": ("speed_device", "speed_heard_ns"),
    "power": ("power_device", "power_heard_ns"),
    "crank": ("crank_device", "crank_heard_ns"),
    "cadence": ("gait_device", "gait_heard_ns"),
    "heart_rate": ("hr_device", "hr_t_ns"),
}
FITS: Final[tuple[ModelFit, ...]] = ("good", "overconfident", "cautious")
_UNKNOWN = -1

_TOLD = np.dtype(
    [
        ("t_ns", np.int64),
        ("newest_ns", np.int64),
        ("devices", np.int32, (len(SPEAKS_FOR),)),
        ("fits", np.int8, (len(consistency.MODELS),)),
    ]
)


class FusionHealth:
    """Tells of each athlete when something has changed, and once a minute while measurements come."""

    def __init__(self, root: str, registry: Registry, table: Athletes, rewound: Container[int]) -> None:
        self._root, self._registry, self._table, self._rewound = root, registry, table, rewound
        self._look = 0
        self._told = np.zeros(0, _TOLD)

    def due(self, utc_ns: int, every: int = 1) -> list[Outgoing]:
        """Return what is to be published at ``utc_ns``; every ``every``-th period's message only."""
        look = utc_ns // LOOK_NS
        looks = PARTS if look < self._look else min(PARTS, look - self._look)
        if not looks:
            return []
        self._look = look
        count = len(self._registry.athlete_rows)
        self._reserve(count)
        rows, turns = self._open(look, looks)
        if not len(rows):
            return []
        state = Picked(self._table.state, rows)
        (newest_ns, devices), fits = _speakers(state), _fits(state)
        told = self._told[rows]
        moved = (devices != told["devices"]).any(axis=1)
        fitted = (fits != told["fits"]).any(axis=1)
        heard = newest_ns > told["newest_ns"]
        self._table.stepped[rows[~(moved | fitted | heard)]] = False  # what time alone makes of it is nothing
        turn_ns = turns * LOOK_NS
        periods = (utc_ns + turn_ns) // PERIOD_NS - (told["t_ns"] + turn_ns) // PERIOD_NS
        news = moved | (fitted & (utc_ns - told["t_ns"] >= FIT_NS)) | (heard & (periods >= every))
        chosen = np.flatnonzero(news)[:TOLD_MAX]
        rows, newest_ns, devices, fits = rows[chosen], newest_ns[chosen], devices[chosen], fits[chosen]
        self._told["t_ns"][rows], self._told["newest_ns"][rows] = utc_ns, newest_ns
        self._told["devices"][rows], self._told["fits"][rows] = devices, fits
        return [self._message(row, utc_ns, devices[i], fits[i]) for i, row in enumerate(rows.tolist())]

    def _open(self, look: int, looks: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return whose turn it is of those who may have news, and the turns at which their periods begin.

        Who has not stepped since all was told has none. What is rewound is of some time ago.
        """
        rows = np.flatnonzero(self._table.stepped)
        turns = self._registry.hashes[rows] % TURNS
        due = np.flatnonzero((look - turns) % PARTS < looks)
        due = due[np.array([row not in self._rewound for row in rows[due].tolist()], np.bool_)]
        return rows[due], turns[due]

    def forget(self, row: int) -> None:
        """Forget what was told of an athlete."""
        if row < len(self._told):
            self._told[row] = np.zeros((), _TOLD)
            self._told["devices"][row], self._told["fits"][row] = choice.NOBODY, _UNKNOWN

    def _message(self, row: int, utc_ns: int, devices: NDArray[np.int32], fits: NDArray[np.int8]) -> Outgoing:
        athlete, state = self._registry.athlete_rows[row], self._table.state[row]
        message = AthleteHealth(
            t_ms=utc_ns // 1_000_000,
            athlete=athlete.id,
            sources={
                what: self._registry.by_number[number].id
                for what, number in zip(SPEAKS_FOR, devices.tolist(), strict=True)
                if number in self._registry.by_number
            },
            models={
                name: ModelHealth(nis=round(float(state[model.field]), 2), fit=FITS[fit])
                for (name, model), fit in zip(consistency.MODELS.items(), fits.tolist(), strict=True)
                if fit != _UNKNOWN
            },
        )
        return Outgoing(f"{self._root}/athletes/{athlete.id}/health", encode(message))

    def _reserve(self, count: int) -> None:
        """Have a row for each athlete."""
        if count > len(self._told):
            told = np.zeros(max(count, 2 * len(self._told)), _TOLD)
            told["devices"], told["fits"] = choice.NOBODY, _UNKNOWN
            told[: len(self._told)] = self._told
            self._told = told


def _speakers(state: Fields) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return when each row was told anything, (n,), and who speaks, (n, k), in the order of SPEAKS_FOR."""
    heard_ns = np.stack([state[heard] for _, heard in SPEAKS_FOR.values()], axis=1)
    devices = np.stack([state[device] for device, _ in SPEAKS_FOR.values()], axis=1)
    newest_ns = heard_ns.max(axis=1)
    gone = newest_ns[:, None] - heard_ns > GONE_NS
    return newest_ns, np.where(gone, np.int32(choice.NOBODY), devices)


def _fits(state: Fields) -> NDArray[np.int8]:
    """Return how well each model of each row fits, (n, k): index of FITS, or -1 where it is not known."""
    columns = []
    for name, model in consistency.MODELS.items():
        known = consistency.known(state, name)
        fit = np.full(len(known), _UNKNOWN, np.int8)
        if known.any():
            nis, (low, high) = state[model.field], consistency.bounds(state, name)
            fit = np.where(known, np.where(nis > high, 1, np.where(nis < low, 2, 0)), fit)
        columns.append(fit)
    return np.stack(columns, axis=1).astype(np.int8)

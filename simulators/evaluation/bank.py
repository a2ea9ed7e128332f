"""``kinefuse evaluate bank``: the Kalman bank and its models against filterpy, on random streams."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from fusion.kalman import Floats, Gate, update
from fusion.models import heart_modes
from simulators.benchmark.measure import ratio, rounds_us
from simulators.evaluation.bank_cases import (
    CASES,
    Case,
    drawn,
    filterpy_s,
    oracle_of,
    run,
    run_oracle,
    start,
    stream,
)
from simulators.evaluation.section import Column, Options, Section, Table, Target

SEEDS: Final = range(50)
ROWS: Final = 4
LENGTH: Final = 100
CLOSE: Final = 1e-9
SIZES: Final = (1, 100, 1_000)

CONDITIONS: Final = (
    "Each model of the bank takes random streams: irregular steps, some of none, known inputs, and scalar "
    "measurements of random states, of four rows in five. filterpy takes each row alone, with matrices that "
    "are made independently (van Loan's exponential, Q_continuous_white_noise). The heart's modes are "
    "filterpy's IMMEstimator: mixed, predicted, and each mode updated once, at random steps from 0.01 s to "
    "60 s; the weights of modes are not compared, since ours are Student's. A difference counts over the "
    "larger of 1 and the size of what filterpy says, of states and covariances. Rest and effort are no "
    "Kalman filters; the clock's filter is in C, and tests hold it to a twin in Python, not to filterpy.",
    "What both cost is CPU time of a prediction and a scalar update, taking turns in one run: the best of "
    "seven rounds, and the median of each round's ratio. It depends on the machine, and no report holds it. "
    "All are run in numpy here; live, the heart's modes run in C.",
)


class Against(NamedTuple):
    """How a model did: the largest difference, and us a row by the number of rows."""

    name: str
    states: int
    updates: int
    difference: float
    filterpy_us: float
    bank_us: tuple[float, ...]
    ratios: tuple[float, ...]  # filterpy's time over the bank's


def evaluate(_options: Options) -> Section:
    """Evaluate all of it; it needs no recordings."""
    found = [_linear(name, case) for name, case in CASES.items()]
    found.append(_modes())
    targets = tuple(
        Target(
            f"{one.name}: largest difference from filterpy",
            1.0,
            one.difference / CLOSE,
            "× 1e-9",
            one.updates,
        )
        for one in found
    )
    return Section(
        "bank",
        "Kalman bank",
        CONDITIONS,
        (_table(found),),
        targets,
        {
            one.name: {
                "difference": one.difference,
                "filterpy_us": one.filterpy_us,
                "bank_us_a_row": dict(zip(map(str, SIZES), one.bank_us, strict=True)),
            }
            for one in found
        },
    )


def difference(ours: Floats, theirs: Floats) -> float:
    """Return the largest difference over the larger of 1 and what filterpy says."""
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1.0)))


def _linear(name: str, case: Case) -> Against:
    worst, updates = 0.0, 0
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 7])
        x, P = start(case, rng, ROWS)
        told = stream(case, rng, ROWS, LENGTH)
        bank_x, bank_P = run(case, x, P, told)
        updates += sum(int(one.use.sum()) for one in told)
        for row in range(ROWS):
            oracle = oracle_of(case, x[:, row], P[:, :, row])
            run_oracle(case, oracle, told, row)
            worst = max(worst, difference(bank_x[:, row], oracle.x), difference(bank_P[:, :, row], oracle.P))
    calls: dict[str, Callable[[], object]] = {"filterpy": _filterpy_call(case)}
    calls |= {str(n): _bank_call(case, n) for n in SIZES}
    return _against(name, case.states, updates, worst, calls)


def _filterpy_call(case: Case) -> Callable[[], object]:
    """Return one prediction and update, its matrices made before: what a user's own loop would run."""
    rng = np.random.default_rng(0)
    x, P = start(case, rng, 1)
    m = case.matrices(case.way(rng, 1)[:, 0])
    B, H = np.eye(case.states), np.eye(1, case.states)
    oracle = oracle_of(case, x[:, 0], P[:, :, 0])
    z = np.array([0.5])

    def call() -> object:
        oracle.x, oracle.P = x[:, 0], P[:, :, 0]
        oracle.predict(u=m.u, B=B, F=m.F, Q=m.Q)
        return oracle.update(z, R=4.0, H=H)

    return call


def _bank_call(case: Case, n: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x, P = start(case, rng, n)
    way, R, use = case.way(rng, n), np.full(n, 4.0), np.ones(n, dtype=bool)

    def call() -> object:
        x1, P1 = case.predict(x.copy(), P.copy(), way)
        return update(x1, P1, 0.5 - x1[0], ((0, None),), R, use, Gate())

    return call


def _modes() -> Against:
    worst, updates = 0.0, 0
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 8])
        for _ in range(LENGTH // 10):
            modes, shares = drawn(rng, 1)
            dt_s = float(np.exp(rng.uniform(np.log(0.01), np.log(60.0))))
            z, R = rng.uniform(50.0, 180.0, 1), rng.uniform(0.5, 9.0, 1)
            imm = filterpy_s(modes[:, :, 0], shares[:, 0], dt_s)
            imm.predict()
            new, new_shares = _advanced(modes, shares, np.array([dt_s]))
            learnt, _ = heart_modes.update(new, new_shares, z, R, np.zeros(1))
            worst = max(worst, difference(new_shares[:, 0], imm.cbar))
            for j, one in enumerate(imm.filters):
                if j != heart_modes.LOST:
                    one.update(z, R=R.reshape(1, 1))
                theirs = np.array([*one.x, one.P[0, 0], one.P[0, 1], one.P[1, 1]])
                worst = max(worst, difference(learnt[:, j, 0], theirs))
                updates += 1
    modes, shares = drawn(np.random.default_rng(0), 1)
    imm, z = filterpy_s(modes[:, :, 0], shares[:, 0], 1.0), np.array([[120.0]])

    def peer() -> object:
        imm.predict()
        return imm.update(z)

    calls: dict[str, Callable[[], object]] = {"filterpy": peer}
    calls |= {str(n): _modes_call(n) for n in SIZES}
    return _against("heart rate", 2 * len(heart_modes.MODES), updates, worst, calls)


def _advanced(modes: Floats, shares: Floats, dt_s: Floats) -> tuple[Floats, Floats]:
    none = np.zeros_like(dt_s)
    return heart_modes.predict(modes, shares, heart_modes.combined(modes, shares), dt_s, (none, none))


def _modes_call(n: int) -> Callable[[], object]:
    modes, shares = drawn(np.random.default_rng(0), n)
    dt_s, z, R, none = np.ones(n), np.full(n, 120.0), np.ones(n), np.zeros(n)

    def call() -> object:
        return heart_modes.update(*_advanced(modes, shares, dt_s), z, R, none)

    return call


def _against(
    name: str, states: int, updates: int, worst: float, calls: dict[str, Callable[[], object]]
) -> Against:
    spent = rounds_us(calls)
    bank = tuple(min(spent[str(n)]) / n for n in SIZES)
    ratios = tuple(n / ratio(spent[str(n)], spent["filterpy"]) for n in SIZES)
    return Against(name, states, updates, worst, min(spent["filterpy"]), bank, ratios)


def _table(found: list[Against]) -> Table:
    columns: list[Any] = [
        Column("model", "left"),
        Column("states"),
        Column("updates"),
        Column("largest difference"),
    ]
    columns.append(Column("filterpy, us", volatile=True))
    for n in SIZES:
        columns += [Column(f"{n} rows: us a row", volatile=True), Column("filterpy over it", volatile=True)]
    rows = []
    for one in found:
        cells = [one.name, str(one.states), str(one.updates), f"< {_rounded_up(one.difference):.0e}"]
        cells.append(f"{one.filterpy_us:.1f}")
        for us, share in zip(one.bank_us, one.ratios, strict=True):
            cells += [f"{us:.2f}", f"{share:.1f}"]
        rows.append(tuple(cells))
    note = "The differences are those of rounding, and another machine's may be a little larger."
    return Table("Every model against filterpy", tuple(columns), tuple(rows), note)


def _rounded_up(value: float) -> float:
    """Return the next power of ten above a difference."""
    return float(10.0 ** np.ceil(np.log10(max(value, 1e-16))))

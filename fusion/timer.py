"""The workout's own clock: when it began, when it is paused, and which moments count.

Times are aligned, ns. A moment counts when the workout is open and the moment lies after its start, after
the last resume, and not after the pause that is on.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.table import Fields, Table

Rows = NDArray[np.intp]
Times = NDArray[np.int64]

NEVER_NS = np.iinfo(np.int64).max

FIELDS: list[tuple[Any, ...]] = [
    ("open", np.int8),
    ("sport", np.int32),
    ("start_ns", np.int64),
    ("pause_ns", np.int64),  # NEVER_NS while the timer runs
    ("resume_ns", np.int64),  # the start, before any pause
    ("idle_ns", np.int64),  # spent in pauses that are over
]


def begin(state: Table, row: int, t_ns: int, sport: int) -> None:
    """Open a workout."""
    one = state[row]
    one["open"], one["sport"], one["start_ns"] = 1, sport, t_ns
    one["pause_ns"], one["resume_ns"], one["idle_ns"] = NEVER_NS, t_ns, 0


def pause(state: Table, row: int, t_ns: int) -> bool:
    """Stop the timer; return False where it does not run."""
    one = state[row]
    if not one["open"] or one["pause_ns"] != NEVER_NS:
        return False
    one["pause_ns"] = max(t_ns, int(one["resume_ns"]))
    return True


def resume(state: Table, row: int, t_ns: int) -> bool:
    """Let the timer run again; return False where it does."""
    one = state[row]
    if not one["open"] or one["pause_ns"] == NEVER_NS:
        return False
    one["resume_ns"] = max(t_ns, int(one["pause_ns"]))
    one["idle_ns"] += one["resume_ns"] - one["pause_ns"]
    one["pause_ns"] = NEVER_NS
    return True


def counts(state: Fields, t_ns: Times) -> NDArray[np.bool_]:
    """Return whether each moment counts, (n,)."""
    one: NDArray[np.bool_] = (state["open"] != 0) & (t_ns >= state["resume_ns"]) & (t_ns <= state["pause_ns"])
    return one


def counted_s(state: Fields, since_ns: Times, t_ns: Times) -> NDArray[np.float64]:
    """Return how much of (since, t] counts, s, (n,): nothing before the start or the last resume does."""
    since = np.maximum(since_ns, state["resume_ns"])
    until = np.minimum(t_ns, state["pause_ns"])
    span = np.maximum(until - since, 0) * 1e-9
    return np.where(state["open"] != 0, span, 0.0)


def unheard_s(state: Fields, t_ns: Times, due_ns: Times) -> NDArray[np.float64]:
    """Return how long the timer has run from a total's newest measurement to when it is told, s, (n,)."""
    since = np.maximum(t_ns, state["resume_ns"])
    span: NDArray[np.float64] = np.maximum(np.minimum(due_ns, state["pause_ns"]) - since, 0) * 1e-9
    return span


def elapsed_s(state: Fields, t_ns: Times) -> NDArray[np.float64]:
    """Return the time since the start, pauses included, s, (n,)."""
    span: NDArray[np.float64] = np.maximum(t_ns - state["start_ns"], 0) * 1e-9
    return span


def running_s(state: Fields, t_ns: Times) -> NDArray[np.float64]:
    """Return the time since the start without pauses, s, (n,)."""
    until = np.minimum(t_ns, state["pause_ns"])
    span: NDArray[np.float64] = np.maximum(until - state["start_ns"] - state["idle_ns"], 0) * 1e-9
    return span

"""The largest fleet that a server holds, in a bounded number of runs."""

from collections.abc import Awaitable, Callable

RUNS_MAX = 12
WITHIN = 0.1  # the answer is found when the next failure is at most this much larger
ROUND_TO = 50
GROWTH = 1.6


async def find(
    holds: Callable[[int], Awaitable[bool]], begin: int, *, most: int, runs_max: int = RUNS_MAX
) -> int:
    """Return the largest number found to hold; 0 where none was.

    It grows until a number fails, then halves the way between what held and what failed. A failure is
    believed only when it repeats: something else on the machine makes one now and then.

    Parameters
    ----------
    holds : callable
        Runs so many devices.
    begin : int
        Where to begin.
    most : int
        Not more than this many.
    runs_max : int
        Runs, those that repeat a failure included.
    """
    good, bad, number, runs = 0, most + 1, min(begin, most), 0
    while runs < runs_max and good < number < bad:
        held = await holds(number)
        runs += 1
        if not held and runs < runs_max:
            held = await holds(number)
            runs += 1
        if held:
            good = number
        else:
            bad = number
        if bad <= good * (1.0 + WITHIN) or good == most:
            break
        number = _next(good, bad, most)
    return good


def _next(good: int, bad: int, most: int) -> int:
    wanted = min(good * GROWTH, most) if bad > most else (good + bad) / 2
    rounded = round(wanted / ROUND_TO) * ROUND_TO
    return rounded if good < rounded < bad else round(wanted)

"""The processes that the slow work is shared among; results come back in the order of the tasks."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def share(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], *, workers: int, name: Callable[[Task], str]
) -> list[Outcome]:
    """Return ``work`` of each task, in their order, and tell on stderr how far it is.

    Parameters
    ----------
    work : callable
        A function of a module: it is sent to the processes by its name.
    tasks : sequence
        Handed out in this order.
    workers : int
        How many processes at most, at least 1; no more than there are processors or tasks.
    name : callable
        Says in few words which task it is.
    """
    # A fresh interpreter for each process: what the parent has imported or opened has no say in the results.
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(workers, os.cpu_count() or 1, len(tasks)))
    done = 0
    with ProcessPoolExecutor(workers, context, initializer=_quiet_on_interrupt) as pool:
        waiting: dict[Future[Outcome], Task] = {pool.submit(work, task): task for task in tasks}
        futures = list(waiting)
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    done += 1
                    _tell(done, len(tasks), name(waiting.pop(future)))
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _tell_end()
    return [future.result() for future in futures]


def _quiet_on_interrupt() -> None:
    """Let Ctrl-C end a worker without a word: the parent has the say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tell(done: int, count: int, name: str) -> None:
    """Show progress: one line that is written over on a terminal, else a line each."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{done}/{count} {name[:90]}", end="", file=sys.stderr, flush=True)
    else:
        print(f"{done}/{count} {name}", file=sys.stderr, flush=True)


def _tell_end() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

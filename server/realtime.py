"""Scheduling before all that is not: SCHED_FIFO for this process, and for those that it starts after it."""

import os
import sys

PRIORITY = 1  # the least: whatever else is real-time on this machine goes first


def ask() -> str:
    """Ask the system for it; return what to say where it refuses, else nothing."""
    if sys.platform != "linux":
        return "realtime: this system has no SCHED_FIFO; going on without"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        python = os.path.realpath(sys.executable)
        return (
            f"realtime: not permitted ({error.strerror}); going on without. Permit it by `ulimit -r "
            f"{PRIORITY}` (LimitRTPRIO={PRIORITY} of systemd), or by `setcap cap_sys_nice+ep {python}`"
        )
    return ""

"""Run a command that dies with the process that started it, however that dies.

``python -I -S tether.py PARENT_PID COMMAND...`` asks the kernel for SIGTERM at its parent's death (Linux;
elsewhere it only runs the command) and becomes it. A small program instead of a ``preexec_fn``, which runs
Python between fork and exec, and is not safe beside threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the command; exit with 127 where there is none."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell is the point)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()

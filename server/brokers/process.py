"""Child processes that never outlive us: started in a session of their own, tied to us, ended in time."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TAIL_LINES = 20
LINE_BYTES_MAX = 64 * 1024
TETHER = Path(__file__).with_name("tether.py")


class Child:
    """One child process.

    A session of its own keeps Ctrl-C of the terminal from it: we end it, in order. The tether (see
    ``tether.py``) ends it when we are killed. Its output is read line by line; the last lines are kept.

    Parameters
    ----------
    name : str
        What it is called in messages.
    command : sequence of str
        Program and arguments.
    stdin : bytes
        What it reads from its standard input, which is then closed. A configuration given this way leaves no
        file behind.
    environ : mapping, optional
        Its environment; by default ours.
    on_line : callable, optional
        Called with each line of its output.
    pass_fds : sequence of int, optional
        Descriptors that it has, too.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        environ: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = lambda _: None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._command = list(command)
        self._stdin = stdin
        self._environ = environ
        self._on_line = on_line
        self._pass_fds = pass_fds
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, once it is started."""
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs or before it is started."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start it. If this is cancelled half way, `stop` still ends what was started."""
        starting = asyncio.create_task(self._spawn())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await starting
            raise

    async def wait(self) -> int:
        """Wait for its end and all of its output; return its exit code."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        # A grandchild may still hold the pipe: what has not come by now is not waited for.
        await asyncio.wait({self._reading}, timeout=0.2)
        return code

    async def stop(self, grace_s: float) -> None:
        """End it: SIGTERM, after ``grace_s`` seconds SIGKILL to all of its session."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace_s)
            except TimeoutError:
                self.kill()
                await process.wait()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=0.1)
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    def kill(self) -> None:
        """Send SIGKILL to all of its session, at once."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return how it ended and the last lines of its output."""
        code = self.returncode
        if code is None:
            how = "is still running"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return "\n".join(
            [f"{self.name} {how}" + (":" if self.tail else ""), *(f"  {line}" for line in self.tail)]
        )

    async def _spawn(self) -> None:
        tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        self._process = process = await asyncio.create_subprocess_exec(
            *tether,
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=self._environ,
            pass_fds=self._pass_fds,
            limit=LINE_BYTES_MAX,
        )
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(self._stdin)
            process.stdin.close()
        self._reading = asyncio.create_task(self._read(process), name=f"output of {self.name}")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                data = await process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                data = end.partial
            except asyncio.LimitOverrunError as overrun:
                data = await process.stdout.readexactly(overrun.consumed)
            if not data:
                return
            line = data.decode(errors="replace").rstrip()
            self.tail.append(line)
            self._on_line(line)

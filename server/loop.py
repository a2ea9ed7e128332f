"""The event loop of those who talk much: uvloop's, made safe for connections that break."""

import asyncio
import errno
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import HasFileno

Ts = TypeVarTuple("Ts")

if sys.platform == "win32":

    def run(main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end."""
        asyncio.run(main)

else:
    import uvloop

    class Loop(uvloop.Loop):
        """uvloop's loop, for a writer or reader that is asked for as its connection breaks.

        The MQTT library asks for a writer by descriptor, at the loop's next turn, and our reader for itself
        after a pause. Two things may have happened by then, of which uvloop makes an error, and the library a
        connection that is dead for seconds:

        - The socket was closed. Nothing is left to write.
        - The peer reset the connection while there was more to read than one read took. uvloop closes its
          poll then, but keeps it in its table. Removed from there, the descriptor can be waited for anew; the
          write or read that follows fails, and so tells the library of the loss.
        """

        def add_reader(self, fd: "int | HasFileno", callback: Callable[[*Ts], Any], *args: *Ts) -> None:
            """Call back when the descriptor has bytes, if it is open."""
            try:
                super().add_reader(fd, callback, *args)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
            except RuntimeError:
                if self.is_closed():
                    raise
                self.remove_writer(fd)  # else the poll stays; what reads next ends the connection
                self.remove_reader(fd)
                super().add_reader(fd, callback, *args)

        def add_writer(self, fd: "int | HasFileno", callback: Callable[[*Ts], Any], *args: *Ts) -> None:
            """Call back when the descriptor takes bytes, if it is open."""
            try:
                super().add_writer(fd, callback, *args)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
            except RuntimeError:
                if self.is_closed():
                    raise
                self.remove_writer(fd)
                super().add_writer(fd, callback, *args)

    def run(main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end."""
        uvloop.run(main, loop_factory=Loop)

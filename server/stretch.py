"""Chunks that followed each other, as one, and which of their messages need no look (csrc/arrivals.c)."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records
from fusion.structs import joined
from server.codecs import flat
from server.envelopes import Chunk, Incoming, message_of
from server.frames import FRAME

_CHUNK = record("kf_chunk")
_NOBODY = np.zeros(0, np.intp)


class Stretch:
    """The messages of chunks; each keeps the times of its own.

    Attributes
    ----------
    data : bytearray
        Into which frames refer. A batch may append to it; ``size`` bytes of it are the stretch's own.
    frames : (n,) FRAME
    arrived_ns, received_ns : (n,) int64
        UTC and monotonic, of each.
    messages : (n,) FLAT
        What low-rate messages say, as far as they are plain.
    known : (n,) bool
        Which need no look, as of the last `look`.
    c : kf_stretch
        All of it as C takes it.
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        """Take chunks, at least one."""
        told = [(len(each.frames), len(each.data), each.arrived_ns, each.received_ns) for each in chunks]
        self.data = bytearray().join([each.data for each in chunks])
        self.size = len(self.data)
        self.frames = joined((each.frames for each in chunks), FRAME)
        count = len(self.frames)
        self.arrived_ns, self.received_ns = np.empty(count, np.int64), np.empty(count, np.int64)
        self.known = np.empty(count, np.bool_)
        self.c = c = ffi.new("kf_stretch *")
        c.frames, c.count = ffi.from_buffer("kf_publish[]", self.frames), count
        c.arrived_ns = ffi.from_buffer("int64_t[]", self.arrived_ns)
        c.received_ns = ffi.from_buffer("int64_t[]", self.received_ns)
        c.known = ffi.from_buffer("uint8_t[]", self.known)
        lib.kf_stretch_join(c, ffi.new("kf_chunk[]", told), len(told))
        self.messages = flat.read(self.data, self.frames)
        c.messages = ffi.from_buffer("kf_flat[]", self.messages)

    def __len__(self) -> int:
        return len(self.frames)

    def look(self, links: Records) -> NDArray[np.intp]:
        """Tell which messages need no look as things stand; return the places of those that do.

        Parameters
        ----------
        links : (devices,) LINK
        """
        unknown = lib.kf_stretch_look(
            self.c,
            ffi.from_buffer("uint8_t[]", self.data),
            ffi.from_buffer("kf_link[]", links),
            len(links),
        )
        return np.flatnonzero(~self.known) if unknown else _NOBODY

    def has(self, device: int, begin: int, end: int) -> bool:
        """Return whether a device, by row, has a known low-rate message among those from begin to end."""
        frames = self.frames[begin:end]
        theirs = self.known[begin:end] & (frames["device"] == device)
        return bool((theirs & (frames["kind"] != flat.IMU)).any())

    def message(self, place: int) -> Incoming:
        """Return one of the messages."""
        times = int(self.arrived_ns[place]), int(self.received_ns[place])
        return message_of(self.data, self.frames[place].item(), *times)

    def messages_at(self, places: NDArray[np.intp]) -> Iterator[Incoming]:
        """Yield the messages at these places: of many at a time, which is quicker."""
        times = self.arrived_ns[places].tolist(), self.received_ns[places].tolist()
        for frame, arrived_ns, received_ns in zip(self.frames.take(places).tolist(), *times, strict=True):
            yield message_of(self.data, frame, arrived_ns, received_ns)

"""Frames of a stretch that need no look: those of devices that are known by their row, in columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion._core import lib
from fusion.measurements import Records
from server.codecs import flat, imu
from server.envelopes import Stretch
from server.frames import RETAIN
from server.schedule import NONE


@dataclass(frozen=True, slots=True)
class Glance:
    """A stretch, and what its low-rate messages say as far as they are plain."""

    stretch: Stretch
    strange: NDArray[np.bool_]  # (frames,) of IMU packets that are not binary
    places: NDArray[np.intp]  # (n,) of the frames of low-rate messages, rising
    messages: Records  # (n,) FLAT

    @classmethod
    def of(cls, stretch: Stretch) -> "Glance":
        """Return the glance at a stretch."""
        frames = stretch.frames
        first = np.minimum(frames["payload"], max(len(stretch.data) - 1, 0))
        binary = np.frombuffer(stretch.data, np.uint8)[first] == imu.MAGIC
        strange = (frames["kind"] == flat.IMU) & ~(binary & (frames["payload_length"] > 0))
        places = np.flatnonzero(frames["kind"] > flat.IMU)
        return cls(stretch, strange, places, flat.read(stretch.data, frames.take(places)))

    def known(self, links: Records) -> NDArray[np.bool_]:
        """Return which frames need no look as things stand, (frames,).

        Parameters
        ----------
        links : (devices,) LINK
        """
        frames = self.stretch.frames
        known: NDArray[np.bool_] = (
            (frames["device"] != NONE) & (frames["flags"] & RETAIN == 0) & ~self.strange
        )
        flags = links["flags"][frames["device"][known]]
        special = flags & lib.KF_LINK_SPECIAL != 0
        no_frame = (frames["kind"][known] == flat.IMU) & (flags & lib.KF_LINK_FRAMES == 0)
        known[known] = ~(special | no_frame)
        if len(self.places):
            devices = frames["device"][self.places]
            plain = (self.messages["plain"] != 0) & known[self.places]
            plain[plain] = links["seen"][devices[plain]] != NONE
            known[self.places] = plain
        return known

    def has(self, device: int, begin: int, end: int) -> bool:
        """Return whether a device, by row, has a low-rate message among the frames from begin to end."""
        first, last = np.searchsorted(self.places, (begin, end))
        return bool((self.stretch.frames["device"][self.places[first:last]] == device).any())

"""Data that come late through a real broker: the correction is heard, numbered."""

from pathlib import Path

import pytest

from server.codecs import samples
from server.envelopes import Incoming
from server.messages import Birth, Clock, Gnss
from server.mqtt import Link
from tests.support.brokers import KINDS, hear, running_broker
from tests.support.servers import serving, workout

S = 1_000_000_000
T0 = 1_790_000_000 * S
SECONDS = 30
LATE = range(8, 15)


def fix(second: int) -> bytes:
    """A runner on a bend: where fixes are missing the way is cut."""
    east_m, north_m = 3.0 * second, 0.1 * second * second
    lat, lon = 47.0 + north_m / 111_180, 8.0 + east_m / 76_000
    return samples.encode(Gnss(t=T0 + second * S, lat=lat, lon=lon, h_acc_m=3.0))


@pytest.mark.parametrize("kind", KINDS[:1])
async def test_late_fixes_are_put_into_their_place_and_the_revision_is_heard(
    kind: str, tmp_path: Path
) -> None:
    def is_event(arrival: Incoming, event: str) -> bool:
        return arrival.topic.endswith("/workout") and workout(arrival).event == event

    async with (
        running_broker(kind) as broker,
        serving(broker.address, "", tmp_path),
        Link(broker.address, subscriptions=[f"{broker.address.root}/athletes/+/+"]) as link,
    ):
        await link.ready()
        topic = f"{broker.address.root}/in/watch"
        link.publish(f"{topic}/status", samples.encode(Birth(sport="run", clock=Clock(recorded=True))), qos=1)
        in_order = [second for second in range(SECONDS - 5) if second not in LATE]
        for second in [*in_order, *LATE, *range(SECONDS - 5, SECONDS)]:
            link.publish(f"{topic}/gnss", fix(second), qos=1)
        heard = await hear(link, lambda arrival: is_event(arrival, "revised"))
    told = workout(heard[-1])
    assert told.workout.revision == 1
    assert told.totals is not None
    assert told.totals.distance_m > 60
    live = [each for each in heard if each.topic.endswith("/live")]
    assert live, "what was told before stays told"

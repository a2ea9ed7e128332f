"""What a link sends waits for nothing that it need not wait for, and not for ever for a broker."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from server import connection, frames, mqtt, replay, sendable
from server.config import Broker
from server.envelopes import Outgoing
from server.errors import BrokerError
from simulators import fleet, scenarios
from tests.support.brokers import PATIENCE_S, free_port


class Unconfirming:
    """A broker's connection that takes all and confirms nothing until it is told to."""

    def __init__(self) -> None:
        self.confirmed = asyncio.Event()
        self.taken: list[str] = []

    async def publish(self, publication: mqtt.Publication) -> None:
        self.taken.append(publication.topic)
        if publication.qos:
            await self.confirmed.wait()

    async def send(self, publications: list[mqtt.Sendable]) -> None:
        for each in publications:
            parts = each.publications() if isinstance(each, sendable.Bundle) else [each]
            self.taken += [part.topic for part in parts]

    async def lost(self) -> None:
        await asyncio.Event().wait()


async def test_publications_that_wait_for_confirmation_hold_up_nothing_else() -> None:
    told = asyncio.Event()
    link = mqtt.Link(Broker(port=1), on_sent=lambda publication: told.set() if not publication.qos else None)
    client = Unconfirming()
    serving = asyncio.create_task(link._serve(client))  # type: ignore[arg-type]
    for number in range(3 * connection.WINDOW):
        link.publish(f"workout/{number}", b"", qos=1)
    link.publish("live", b"")
    await asyncio.wait_for(told.wait(), PATIENCE_S)
    assert client.taken.count("live") == 1
    assert len(client.taken) <= connection.WINDOW + 1
    client.confirmed.set()
    link._outbox.close()
    await asyncio.wait_for(serving, PATIENCE_S)
    assert [topic for topic in client.taken if topic != "live"] == [f"workout/{i}" for i in range(60)]
    assert link.sent == 61


async def test_what_was_not_confirmed_is_sent_again_first_and_in_order() -> None:
    link = mqtt.Link(Broker(port=1))
    for number in range(30):
        link.publish(str(number), b"", qos=1)
    lost = Unconfirming()
    serving = asyncio.create_task(link._serve(lost))  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_S):
        while len(lost.taken) < connection.WINDOW:  # noqa: ASYNC110  (a fake: there is nothing to wait on)
            await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait({serving})
    client = Unconfirming()
    client.confirmed.set()
    link._outbox.close()
    await asyncio.wait_for(link._serve(client), PATIENCE_S)  # type: ignore[arg-type]
    assert client.taken == [str(number) for number in range(30)]


async def test_where_no_broker_answers_in_time_one_line_says_where_and_how_to_start_one() -> None:
    port = free_port()
    async with mqtt.Link(Broker(port=port)) as link:
        with pytest.raises(BrokerError, match=f"no broker answers at 127.0.0.1:{port}") as refused:
            await link.ready(0.1)
    assert f"kinefuse up --port {port}" in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_simulation_and_a_replay_give_up_where_no_broker_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet, "START_S_MAX", 0.1)
    monkeypatch.setattr(replay, "START_S_MAX", 0.1)
    broker = Broker(port=free_port())
    start_ns = 1_790_000_000 * 10**9
    athletes = scenarios.build("demo", None, seed=1, start_ns=start_ns)
    with pytest.raises(BrokerError, match="no broker answers"):
        await asyncio.wait_for(fleet.Fleet(athletes, broker, start_ns=start_ns).run(60.0), PATIENCE_S)
    recording: Any = SimpleNamespace(device="d", athlete="d")
    with pytest.raises(BrokerError, match="no broker answers"):
        await asyncio.wait_for(replay._play(recording, broker, 1.0, as_json=False), PATIENCE_S)


async def test_after_a_reconnect_what_is_retained_goes_again_at_once_and_before_what_is_newer() -> None:
    link = mqtt.Link(Broker(port=1))
    for number in range(30):
        link.publish(f"workout/{number}", b"{}", qos=1, retain=True)
    link._outbox.close()
    first = Unconfirming()
    first.confirmed.set()
    await asyncio.wait_for(link._serve(first), PATIENCE_S)  # type: ignore[arg-type]
    link._outbox._box = type(link._outbox._box)()  # open again
    link.losses = 1
    link.publish("workout/3", b"new", qos=1, retain=True)
    link.publish("live", b"")
    second = Unconfirming()
    serving = asyncio.create_task(link._serve(second))  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_S):
        while "live" not in second.taken:  # noqa: ASYNC110  (a fake: there is nothing to wait on)
            await asyncio.sleep(0)
    assert len(second.taken) <= connection.WINDOW + 1, "live waits for no confirmation"
    second.confirmed.set()
    link._outbox.close()
    await asyncio.wait_for(serving, PATIENCE_S)
    kept = [topic for topic in second.taken if topic != "live"]
    assert kept == [*(f"workout/{number}" for number in range(30)), "workout/3"]


def test_a_bundle_of_any_number_of_messages_can_be_taken_apart() -> None:
    topics = [f"athletes/a{number}/live" for number in range(5000)]
    joined = frames.publish([(topic, b"{}", False) for topic in topics])
    bundle = sendable.Bundle(joined, (0,) * len(topics), 0)
    assert [each.topic for each in bundle.publications()] == topics


def test_what_is_live_is_joined_in_its_order_and_what_is_assured_or_retained_is_not() -> None:
    sizes = [10, sendable.BUNDLE_BYTES, 10, 10, 10]
    messages = [Outgoing(f"live/{n}", bytes(size), caused_ns=n) for n, size in enumerate(sizes)]
    messages.insert(3, Outgoing("workout", b"{}", qos=1, retain=True))
    messages.insert(5, Outgoing("status", b"{}", retain=True))
    found = list(sendable.bundled(messages, put_ns=7))
    assert [type(each) for each in found] == [
        *(sendable.Bundle, sendable.Bundle, sendable.Publication),
        *(sendable.Bundle, sendable.Publication, sendable.Bundle),
    ]
    apart = [
        one
        for each in found
        for one in (each.publications() if isinstance(each, sendable.Bundle) else [each])
    ]
    assert [Outgoing(*each[:4], each.caused_ns) for each in apart] == messages
    assert {each.put_ns for each in apart} == {7}

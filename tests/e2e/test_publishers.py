"""Further connections that publish: each topic keeps its order, and nothing is lost where one breaks."""

import asyncio

import msgspec
import pytest

from server.envelopes import Outgoing
from server.mqtt import Link
from server.publishers import ATHLETES_EACH, CONNECTIONS_MAX, Publishers
from tests.support.brokers import PATIENCE_S, running_broker

TOPICS = [f"kinefuse/v1/athletes/a{number}/live" for number in range(40)]
MESSAGES = 50


@pytest.mark.mosquitto
async def test_what_has_one_topic_keeps_its_order_over_several_connections() -> None:
    async with running_broker("mosquitto") as broker:
        address = broker.address
        async with (
            Link(address, subscriptions=["kinefuse/v1/athletes/+/live"]) as listener,
            Link(address) as first,
            Publishers(first, lambda number: Link(address, identifier=f"further-{number}")) as publishers,
        ):
            await asyncio.gather(listener.ready(), first.ready())
            await publishers.suffice(ATHLETES_EACH * 3)
            await asyncio.gather(*(each.ready() for each in publishers._further))
            for number in range(MESSAGES):
                publishers.publish_all(Outgoing(topic, msgspec.json.encode(number)) for topic in TOPICS)
            heard: dict[str, list[int]] = {topic: [] for topic in TOPICS}
            async with asyncio.timeout(PATIENCE_S):
                async for arrival in listener.arrivals():
                    heard[arrival.topic].append(msgspec.json.decode(arrival.payload, type=int))
                    if sum(map(len, heard.values())) == MESSAGES * len(TOPICS):
                        break
            assert all(numbers == list(range(MESSAGES)) for numbers in heard.values())
            assert all(each.sent for each in publishers._further)
            assert publishers.sent == MESSAGES * len(TOPICS)
            assert publishers.unsent == 0


@pytest.mark.mosquitto
async def test_there_are_never_more_than_a_few_and_none_for_a_class() -> None:
    async with running_broker("mosquitto") as broker:
        address = broker.address
        async with (
            Link(address) as first,
            Publishers(first, lambda number: Link(address, identifier=f"further-{number}")) as publishers,
        ):
            await publishers.suffice(ATHLETES_EACH - 1)
            assert len(publishers._further) == 0
            await publishers.suffice(100 * ATHLETES_EACH)
            assert len(publishers._further) == CONNECTIONS_MAX


async def test_while_no_further_connection_stands_the_first_one_publishes() -> None:
    async with running_broker("amqtt") as broker:
        address = broker.address
        nowhere = msgspec.structs.replace(address, port=1)
        async with (
            Link(address, subscriptions=TOPICS) as first,
            Publishers(first, lambda _: Link(nowhere)) as publishers,
        ):
            await first.ready()
            await publishers.suffice(ATHLETES_EACH)
            publishers.publish_all([Outgoing(topic, b"1") for topic in TOPICS])
            arrivals = first.arrivals()
            async with asyncio.timeout(PATIENCE_S):
                heard = {(await anext(arrivals)).topic for _ in TOPICS}
            assert heard == set(TOPICS)

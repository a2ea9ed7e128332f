"""By which connection a publication goes."""

from collections import Counter
from typing import Any

from server.envelopes import Outgoing
from server.publishers import Publishers


class Line:
    """What of a link a publisher needs."""

    def __init__(self) -> None:
        self.connected = True
        self.got: list[str] = []

    def publish_all(self, messages: list[Outgoing]) -> None:
        self.got += [each.topic for each in messages]


def test_only_topics_of_a_broken_connection_go_another_way() -> None:
    first: Any = Line()
    publishers = Publishers(first, lambda _: first)
    further: list[Any] = [Line(), Line(), Line()]
    publishers._further = further
    messages = [Outgoing(f"athletes/a{number}/live", b"") for number in range(300)]
    publishers.publish_all(messages)
    assert min(len(line.got) for line in further) > 50
    assert first.got == []
    before = [Counter(line.got) for line in further]
    further[1].connected = False
    publishers.publish_all(messages)
    assert Counter(first.got) == before[1]
    assert [Counter(line.got) for line in further] == [
        before[0] + before[0],
        before[1],
        before[2] + before[2],
    ]


def test_what_is_retained_or_assured_goes_by_the_first() -> None:
    first: Any = Line()
    publishers = Publishers(first, lambda _: first)
    further: Any = Line()
    publishers._further = [further]
    publishers.publish_all([Outgoing("a", b"", qos=1), Outgoing("b", b"", retain=True), Outgoing("c", b"")])
    assert first.got == ["a", "b"]
    assert further.got == ["c"]

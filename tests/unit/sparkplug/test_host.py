"""The host's side: what the messages of edge nodes come to, and what is asked of them."""

from typing import Any

import pytest

from edge_agent.contract.sparkplug.edge_node import NODE, EdgeNode, Publication, Tag
from edge_agent.contract.sparkplug.host import COMPRESSED, HostView, Reading, Source
from edge_agent.contract.sparkplug.payload import DataType, Metric, Payload, decode, encode, quality
from edge_agent.contract.sparkplug.wire import SparkplugError

D = DataType
OVEN = Source(group="g", node="n", device="oven", metric="Temperature")
COUNT = Source(group="g", node="n", metric="Count")
OTHER = Source(group="g", node="m", metric="Count")


def edge(bd_seq: int = -1) -> EdgeNode:
    made = EdgeNode(
        group="g",
        node="n",
        tags=[Tag(name="Count", datatype=D.INT32), Tag(name="Secret", datatype=D.STRING)],
        devices={"oven": [Tag(name="Temperature", datatype=D.DOUBLE)], "spare": []},
        bd_seq=bd_seq,
    )
    made.will(0)
    made.connected()
    return made


def said(view: HostView, messages: list[Publication]) -> list[Reading]:
    return [reading for one in messages for reading in view.take(one.topic, one.body)]


def values(readings: list[Reading]) -> list[tuple[str, float | None]]:
    return [(one.source.metric, one.value) for one in readings]


@pytest.fixture
def view() -> HostView:
    return HostView([OVEN, COUNT, OTHER])


def test_it_listens_to_those_that_are_wanted(view: HostView) -> None:
    assert view.filters() == ["spBv1.0/g/+/n/#", "spBv1.0/g/+/m/#"]
    assert HostView([]).filters() == []


def test_births_and_data_by_alias(view: HostView) -> None:
    node = edge()
    node.update(NODE, {"Count": -3, "Secret": "x"}, at_ms=5, now_ms=6)
    node.update("oven", {"Temperature": 20.5}, at_ms=5, now_ms=6)
    born = said(view, node.births(10))
    assert born == [
        Reading(source=COUNT, value=-3.0, at_ms=5),
        Reading(source=OVEN, value=20.5, at_ms=5),
    ]
    assert values(said(view, node.update(NODE, {"Count": -4}, at_ms=11, now_ms=12))) == [("Count", -4.0)]
    assert said(view, node.history("oven", {"Temperature": 19.0}, at_ms=3, now_ms=12)) == [
        Reading(source=OVEN, value=19.0, at_ms=3)
    ]
    assert [one for _, one in view.unsure()] == ["m"]


def test_null_is_unknown(view: HostView) -> None:
    assert values(said(view, edge().births(10))) == [("Count", None), ("Temperature", None)]


def test_the_deaths(view: HostView) -> None:
    node = edge()
    said(view, node.births(10))
    assert values(said(view, node.device_lost("oven", 11))) == [("Temperature", None)]
    assert values(said(view, node.device_back("oven", 12))) == [("Temperature", None)]
    stale = said(view, [node.death(13)])
    assert sorted(values(stale)) == [("Count", None), ("Temperature", None)]
    assert {one.at_ms for one in stale} == {None}
    assert not [one for one in view.rebirths(20_000) if "/n" in one.topic]  # there is nobody to ask


def test_the_death_of_an_older_session_says_nothing(view: HostView) -> None:
    old, new = edge(), edge(bd_seq=0)
    said(view, old.births(1))
    said(view, new.births(2))
    assert said(view, [old.death(3)]) == []
    assert values(said(view, new.update(NODE, {"Count": 1}, at_ms=4, now_ms=4))) == [("Count", 1.0)]


def test_after_a_gap_no_alias_is_believed_until_the_next_birth(view: HostView) -> None:
    node = edge()
    said(view, node.births(1))
    node.update(NODE, {"Count": 1}, at_ms=2, now_ms=2)  # lost on the way
    assert said(view, node.update(NODE, {"Count": 2}, at_ms=3, now_ms=3)) == []
    assert ("g", "n") in view.unsure()
    assert said(view, node.update(NODE, {"Count": 3}, at_ms=4, now_ms=4)) == []
    assert values(said(view, node.births(5)))[0] == ("Count", 3.0)
    assert ("g", "n") not in view.unsure()


def test_rebirth_is_asked_for_as_the_specification_wants_it(view: HostView) -> None:
    """tck-id-payloads-ncmd-*, tck-id-operational-behavior-data-commands-ncmd-rebirth-*, for the one command we send."""
    asked = view.rebirths(1_000)
    assert [one.topic for one in asked] == ["spBv1.0/g/NCMD/n", "spBv1.0/g/NCMD/m"]
    for one in asked:
        payload = decode(one.body)
        assert (one.qos, one.retain, payload.seq, payload.timestamp_ms) == (0, False, None, 1_000)
        (metric,) = payload.metrics
        assert (metric.name, metric.datatype, metric.value) == ("Node Control/Rebirth", D.BOOLEAN, True)
    node = edge()
    assert node.take(asked[0].topic, asked[0].body).value == "birth"


def test_rebirth_is_asked_for_at_growing_intervals(view: HostView) -> None:
    said(view, edge().births(1))
    times = [at for at in range(0, 700_000, 1_000) if view.rebirths(at)]
    assert times[:5] == [0, 5_000, 15_000, 35_000, 75_000]
    assert times[-1] - times[-2] == 300_000


def message(verb: str, *metrics: Metric, seq: int | None = 0, device: str = "", **more: Any) -> tuple[str, bytes]:
    topic = f"spBv1.0/g/{verb}/n" + (f"/{device}" if device else "")
    return topic, encode(Payload(timestamp_ms=7, metrics=metrics, seq=seq, **more))


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (Metric(name="Count", datatype=D.BOOLEAN, value=True), 1.0),
        (Metric(name="Count", datatype=D.STRING, value="12"), None),
        (Metric(name="Count", datatype=D.INT32, value=1, properties=quality(0)), None),
        (Metric(name="Count", datatype=D.INT32, value=1, properties=quality(192)), 1.0),
        (Metric(name="Count", datatype=D.FLOAT, value=0.5), 0.5),
    ],
)
def test_what_counts_as_a_number(view: HostView, metric: Metric, value: float | None) -> None:
    assert view.take(*message("NBIRTH", metric)) == [Reading(source=COUNT, value=value, at_ms=7)]


def test_a_whole_number_of_a_type_that_nobody_told_is_unknown(view: HostView) -> None:
    body = encode(Payload(metrics=(Metric(name="Count", datatype=D.INT32, value=-1),), seq=1), with_datatypes=False)
    assert values(view.take("spBv1.0/g/NDATA/n", body)) == [("Count", None)]


def test_what_is_not_for_us_is_left_alone(view: HostView) -> None:
    assert view.take(*message("NCMD", Metric(name="Count", datatype=D.INT32, value=1))) == []
    assert view.take("spBv1.0/x/NDATA/n", b"\xff") == []
    assert view.take(*message("DBIRTH", Metric(name="Count", datatype=D.INT32, value=1), device="stranger")) == []


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("a/b", b"", "topic"),
        ("spBv1.0/g/NDATA/n", b"\xff", "truncated"),
        (*message("NDATA", uuid=COMPRESSED), "compressed"),
    ],
)
def test_what_cannot_be_read_is_named(view: HostView, topic: str, body: bytes, reason: str) -> None:
    with pytest.raises(SparkplugError) as raised:
        view.take(topic, body)
    assert raised.value.reason == reason

"""Topics and STATE messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.sparkplug import topic
from edge_agent.contract.sparkplug.wire import SparkplugError

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+/#\0"), min_size=1, max_size=8)


@given(IDS, IDS, IDS)
def test_an_address_is_read_as_it_was_written(group: str, node: str, device: str) -> None:
    for made in (topic.address(group, "NDATA", node), topic.address(group, "DDATA", node, device)):
        assert topic.parse(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spBv1.0",
        "spAv1.0/g/NDATA/e",
        "spBv1.0/g/NDATA",
        "spBv1.0/g/NDATA/e/d",
        "spBv1.0/g/DDATA/e",
        "spBv1.0/g/DDATA/e/",
        "spBv1.0/g/XDATA/e",
        "spBv1.0//NDATA/e",
        "spBv1.0/g/DDATA/e/d/x",
        "spBv1.0/g+/NDATA/e",
        "spBv1.0/g/NDATA/\ud800",
    ],
)
def test_what_is_no_topic_is_named(text: str) -> None:
    with pytest.raises(SparkplugError):
        topic.parse(text)


def test_a_state() -> None:
    assert topic.state("scada") == "spBv1.0/STATE/scada"
    assert topic.read_state(b'{"online": true, "timestamp": 5}') == topic.HostState(online=True, timestamp_ms=5)


@pytest.mark.parametrize(
    "body",
    [b"", b"ONLINE", b"[]", b'{"online": 1, "timestamp": 5}', b'{"online": true}', b'{"online":true,"timestamp":-1}',
     b'{"online":true,"timestamp":true}', b'{"online":true,"timestamp":5}' + b" " * 2_000, b"[" * 1_000],
)  # fmt: skip
def test_what_is_no_state_is_named(body: bytes) -> None:
    with pytest.raises(SparkplugError):
        topic.read_state(body)


@pytest.mark.parametrize("host", ["", "a/b", "a+", "#"])
def test_a_host_id_is_one_level(host: str) -> None:
    with pytest.raises(SparkplugError):
        topic.state(host)

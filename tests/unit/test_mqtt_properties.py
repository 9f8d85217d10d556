"""Our encoding of PUBLISH properties against paho's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.link.properties import PublishProperties

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=200)


@given(
    content_type=TEXT | st.just(""),
    correlation=TEXT | st.just(""),
    response_topic=st.from_regex(r"[a-z/]{1,100}", fullmatch=True) | st.just(""),
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    user_properties=st.lists(st.tuples(TEXT, TEXT), max_size=5),
)
def test_paho_reads_what_we_write(content_type, correlation, response_topic, expiry_s, user_properties) -> None:
    packed = PublishProperties(
        content_type=content_type,
        correlation=correlation,
        response_topic=response_topic,
        expiry_s=expiry_s,
        user_properties=user_properties,
    ).pack()
    read = Properties(PacketTypes.PUBLISH)
    _, length = read.unpack(packed)
    assert length == len(packed)
    assert getattr(read, "ContentType", "") == content_type
    assert getattr(read, "CorrelationData", b"").decode() == correlation
    assert getattr(read, "ResponseTopic", "") == response_topic
    assert getattr(read, "MessageExpiryInterval", None) == expiry_s
    assert getattr(read, "UserProperty", []) == user_properties


def test_a_text_beyond_the_formats_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        PublishProperties(correlation="x" * 65_536)

"""The assertions of the Sparkplug 3.0 specification that apply to an edge node, each a test, on what stood on the wire.

The names are the specification's (``tck-id-...``). docs/sparkplug.md lists all of them, with the reason for those that
do not apply; tests/unit/sparkplug/test_documented.py holds that table against this file.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from edge_agent.contract.sparkplug import topic
from edge_agent.contract.sparkplug.edge_node import EdgeNode, Tag
from edge_agent.contract.sparkplug.payload import TABLES, DataType, Metric, Payload, decode
from edge_agent.contract.sparkplug.wire import SparkplugError, decode_message
from edge_agent.simulation.broker import find_program
from tests.integration.sparkplug.scenario import GROUP, HOST, NODE, PARTS, STATIONS, Message, Session, played

pytestmark = pytest.mark.integration

Check = Callable[[Session], None]
CHECKS: dict[str, Check] = {}
BIRTHS, DATA = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA")
IN_SEQUENCE = (*BIRTHS, *DATA, "DDEATH")


def tck(*ids: str) -> Callable[[Check], Check]:
    """This function checks these assertions."""

    def register(check: Check) -> Check:
        for each in ids:
            assert each not in CHECKS
            CHECKS[each] = check
        return check

    return register


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    find_program("mosquitto")
    return played(tmp_path_factory.mktemp("sparkplug"))


def metric(payload: Payload, name: str) -> Metric:
    (found,) = [one for one in payload.metrics if one.name == name]
    return found


def raw_metrics(message: Message) -> list[dict[str, Any]]:
    """The metrics as they stood on the wire."""
    metrics: list[dict[str, Any]] = decode_message(message.body, "payload", TABLES).get("metrics", [])
    return metrics


def wills(session: Session) -> list[Payload]:
    return [decode(each["will"]["body"]) for each in session.connects]


def aliases(session: Session) -> dict[tuple[int, str, int], Metric]:
    """(connection, device, alias) to the metric of the birth."""
    return {
        (one.connection, one.device, each.alias): each
        for one in session.messages(*BIRTHS)
        for each in one.payload.metrics
        if each.alias is not None
    }


def plain(messages: Iterable[Message]) -> bool:
    found = list(messages)
    return bool(found) and all((one.qos, one.retain) == (0, False) for one in found)


# --- ids and topics ---------------------------------------------------------------------------------------------------


@tck("intro-group-id-string", "intro-group-id-chars", "topic-structure-namespace-valid-group-id")
def _group(session: Session) -> None:
    assert {one.topic.split("/")[1] for one in session.messages()} == {GROUP}
    assert "ü" in GROUP
    for bad in ("", "a+b", "a#", "a/b", "a\0b"):
        with pytest.raises(SparkplugError):
            EdgeNode(group=bad, node="n", tags=[], devices={})


@tck("intro-edge-node-id-string", "intro-edge-node-id-chars", "topic-structure-namespace-valid-edge-node-id")
def _node(session: Session) -> None:
    assert {one.topic.split("/")[3] for one in session.messages()} == {NODE}
    for bad in ("", "a+b", "a#", "a/b", "a\0b"):
        with pytest.raises(SparkplugError):
            EdgeNode(group="g", node=bad, tags=[], devices={})


@tck("intro-device-id-string", "intro-device-id-chars", "topic-structure-namespace-valid-device-id")
def _device(session: Session) -> None:
    assert {one.device for one in session.messages("DBIRTH")} == set(STATIONS)
    for bad in ("", "a+b", "a#", "a/b", "a\0b"):
        with pytest.raises(SparkplugError):
            EdgeNode(group="g", node="n", tags=[], devices={bad: []})


@tck("topic-structure-namespace-unique-device-id", "case-sensitivity-sparkplug-ids")
def _devices_are_different(session: Session) -> None:
    births = [one.device for one in session.messages("DBIRTH", phase="rebirth")]
    assert sorted(births) == sorted(set(births)) == sorted(STATIONS)
    with pytest.raises(SparkplugError):
        EdgeNode(group="g", node="n", tags=[], devices={"Aoi": [], "aoi": []})


@tck("case-sensitivity-metric-names")
def _names_are_different(session: Session) -> None:
    for birth in session.messages(*BIRTHS):
        names = [str(one.name).lower() for one in birth.payload.metrics]
        assert len(names) == len(set(names))
    tags = [Tag(name="Count", datatype=DataType.INT64), Tag(name="count", datatype=DataType.INT64)]
    with pytest.raises(SparkplugError):
        EdgeNode(group="g", node="n", tags=tags, devices={})


@tck("topic-structure", "topic-structure-namespace-a")
def _structure(session: Session) -> None:
    for one in session.messages():
        levels = one.topic.split("/")
        assert levels[0] == "spBv1.0"
        assert len(levels) in (4, 5)


@tck("topic-structure-namespace-device-id-associated-message-types")
def _with_device(session: Session) -> None:
    assert all(one.device for one in session.messages("DBIRTH", "DDEATH", "DDATA"))


@tck("topic-structure-namespace-device-id-non-associated-message-types")
def _without_device(session: Session) -> None:
    assert not any(one.device for one in session.messages("NBIRTH", "NDEATH", "NDATA"))
    for filters in session.subscriptions:
        assert set(filters) == {f"spBv1.0/{GROUP}/NCMD/{NODE}", f"spBv1.0/STATE/{HOST}"}


@tck("topics-nbirth-topic", "message-flow-edge-node-birth-publish-nbirth-topic")
def _nbirth_topic(session: Session) -> None:
    assert {one.topic for one in session.messages("NBIRTH")} == {f"spBv1.0/{GROUP}/NBIRTH/{NODE}"}


@tck("topics-ndata-topic")
def _ndata_topic(session: Session) -> None:
    assert {one.topic for one in session.messages("NDATA")} == {f"spBv1.0/{GROUP}/NDATA/{NODE}"}


@tck("topics-ndeath-topic", "message-flow-edge-node-birth-publish-will-message-topic")
def _ndeath_topic(session: Session) -> None:
    expected = f"spBv1.0/{GROUP}/NDEATH/{NODE}"
    assert {each["will"]["topic"] for each in session.connects} == {expected}
    assert {one.topic for one in session.messages("NDEATH")} == {expected}


@tck("topics-ncmd-topic", "message-flow-edge-node-ncmd-subscribe")
def _ncmd(session: Session) -> None:
    for filters in session.subscriptions:
        assert filters[f"spBv1.0/{GROUP}/NCMD/{NODE}"] == 1


@tck("topics-dbirth-topic", "message-flow-device-birth-publish-dbirth-topic")
def _dbirth_topic(session: Session) -> None:
    expected = {f"spBv1.0/{GROUP}/DBIRTH/{NODE}/{device}" for device in STATIONS}
    assert {one.topic for one in session.messages("DBIRTH")} == expected


@tck("message-flow-device-birth-publish-dbirth-match-edge-node-topic")
def _dbirth_matches(session: Session) -> None:
    births = {one.topic.replace("NBIRTH", "DBIRTH") for one in session.messages("NBIRTH")}
    assert {one.topic.rpartition("/")[0] for one in session.messages("DBIRTH")} == births


@tck("topics-ddata-topic")
def _ddata_topic(session: Session) -> None:
    expected = {f"spBv1.0/{GROUP}/DDATA/{NODE}/{device}" for device in STATIONS}
    assert {one.topic for one in session.messages("DDATA")} == expected


@tck("topics-ddeath-topic")
def _ddeath_topic(session: Session) -> None:
    assert {one.topic for one in session.messages("DDEATH")} == {f"spBv1.0/{GROUP}/DDEATH/{NODE}/aoi-2"}


# --- MQTT -------------------------------------------------------------------------------------------------------------


@tck("principles-persistence-clean-session-50")
def _clean_start(session: Session) -> None:
    for each in session.connects:
        assert each["version"] == 5
        assert each["clean_start"]
        assert each["properties"].get(0x11, 0) == 0


@tck("message-flow-edge-node-birth-publish-connect", "principles-birth-certificates-order")
def _births_come_first(session: Session) -> None:
    for packets in session.connections:
        kinds = [packet.kind for packet in packets if packet.kind]
        assert kinds[:2] == [1, 8]
    for number in range(len(session.connections)):
        assert session.messages(connection=number)[0].verb == "NBIRTH"


@tck(
    "topics-nbirth-mqtt",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
)
def _nbirth_mqtt(session: Session) -> None:
    assert plain(session.messages("NBIRTH"))


@tck("topics-ndata-mqtt", "payloads-ndata-qos", "payloads-ndata-retain")
def _ndata_mqtt(session: Session) -> None:
    assert plain(session.messages("NDATA"))


@tck(
    "topics-dbirth-mqtt",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
)
def _dbirth_mqtt(session: Session) -> None:
    assert plain(session.messages("DBIRTH"))


@tck("topics-ddata-mqtt", "payloads-ddata-qos", "payloads-ddata-retain")
def _ddata_mqtt(session: Session) -> None:
    assert plain(session.messages("DDATA"))


@tck("topics-ddeath-mqtt")
def _ddeath_mqtt(session: Session) -> None:
    assert plain(session.messages("DDEATH"))


# --- the will ---------------------------------------------------------------------------------------------------------


@tck("message-flow-edge-node-birth-publish-will-message", "payloads-ndeath-will-message")
def _has_will(session: Session) -> None:
    assert len(session.connects) == len(session.connections) == 3
    assert all("will" in each for each in session.connects)


@tck("message-flow-edge-node-birth-publish-will-message-payload")
def _will_payload(session: Session) -> None:
    assert all(payload.timestamp_ms for payload in wills(session))


@tck("message-flow-edge-node-birth-publish-will-message-payload-bdSeq", "topics-nbirth-bdseq-increment")
def _bd_seq_counts(session: Session) -> None:
    """Across a host that went away and a restart of the agent."""
    found = [metric(payload, "bdSeq") for payload in wills(session)]
    assert [one.value for one in found] == [0, 1, 2]
    assert {one.datatype for one in found} == {DataType.INT64}
    last = EdgeNode(group="g", node="n", tags=[], devices={}, bd_seq=255)
    assert metric(decode(last.will(1).body), "bdSeq").value == 0


@tck("message-flow-edge-node-birth-publish-will-message-qos", "payloads-ndeath-will-message-qos")
def _will_qos(session: Session) -> None:
    assert {each["will"]["qos"] for each in session.connects} == {1}


@tck("message-flow-edge-node-birth-publish-will-message-will-retained", "payloads-ndeath-will-message-retain")
def _will_retain(session: Session) -> None:
    assert {each["will"]["retain"] for each in session.connects} == {False}


@tck("topics-ndeath-payload")
def _ndeath_payload(session: Session) -> None:
    for payload in [*wills(session), *(one.payload for one in session.messages("NDEATH"))]:
        assert [one.name for one in payload.metrics] == ["bdSeq"]


@tck("topics-ndeath-seq", "payloads-ndeath-seq")
def _ndeath_has_no_seq(session: Session) -> None:
    assert session.messages("NDEATH")
    for payload in [*wills(session), *(one.payload for one in session.messages("NDEATH"))]:
        assert payload.seq is None


@tck(
    "topics-nbirth-bdseq-included",
    "topics-nbirth-bdseq-matching",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "payloads-nbirth-bdseq",
    "payloads-nbirth-bdseq-repeat",
    "payloads-ndeath-bdseq",
)
def _bd_seq_of_will_and_births(session: Session) -> None:
    for number, payload in enumerate(wills(session)):
        expected = metric(payload, "bdSeq").value
        own = session.messages("NBIRTH", "NDEATH", connection=number)
        assert {metric(one.payload, "bdSeq").value for one in own} == {expected}
        assert {metric(one.payload, "bdSeq").datatype for one in own} == {DataType.INT64}


# --- the primary host -------------------------------------------------------------------------------------------------


@tck(
    "message-flow-edge-node-birth-publish-phid-wait",
    "message-flow-edge-node-birth-publish-phid-wait-id",
    "message-flow-edge-node-birth-publish-phid-wait-online",
    "message-flow-edge-node-birth-publish-phid-wait-timestamp",
)
def _waits_for_its_host(session: Session) -> None:
    """Nothing while another host is online, while its own says "offline", and on an "online" of before that."""
    assert not session.messages(phase="waiting")
    assert session.messages()[0].phase == "first birth"


@tck("operational-behavior-edge-node-birth-sequence-wait")
def _waits_again(session: Session) -> None:
    assert session.messages(phase="host away") == []
    assert session.messages("NBIRTH", connection=1)[0].phase == "second birth"


@tck("operational-behavior-primary-application-state-with-multiple-servers-state-subs")
def _listens_to_its_host(session: Session) -> None:
    assert all(filters[f"spBv1.0/STATE/{HOST}"] == 1 for filters in session.subscriptions)


@tck("message-flow-edge-node-birth-publish-phid-offline", "operational-behavior-edge-node-termination-host-offline")
def _leaves_with_its_host(session: Session) -> None:
    last = session.messages(connection=0)[-1]
    assert (last.verb, last.phase) == ("NDEATH", "host offline")
    assert session.goodbyes[0] is not None


@tck("operational-behavior-edge-node-termination-host-offline-timestamp")
def _old_word_of_its_host(session: Session) -> None:
    assert not session.messages("NDEATH", phase="old offline")
    assert any(packet.says.get("note") == "host offline" for packet in session.connections[0])


@tck(
    "operational-behavior-edge-node-termination-host-offline-reconnect",
    "operational-behavior-primary-application-state-with-multiple-servers-walk",
)
def _connects_again(session: Session) -> None:
    """The list of servers has one entry, so the next one is the same."""
    gone, back = session.connections[0][-1].at, session.connections[1][0].at
    assert 0 <= back - gone < 5


@tck("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def _one_server_at_a_time(session: Session) -> None:
    assert session.most_open == 1


# --- births -----------------------------------------------------------------------------------------------------------


@tck(
    "topics-nbirth-seq-num",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
    "payloads-sequence-num-zero-nbirth",
    "payloads-nbirth-seq",
)
def _nbirth_seq(session: Session) -> None:
    assert {one.payload.seq for one in session.messages("NBIRTH")} == {0}


@tck(
    "topics-dbirth-seq",
    "topics-ndata-seq-num",
    "topics-ddata-seq-num",
    "topics-ddeath-seq-num",
    "message-flow-device-birth-publish-dbirth-payload-seq",
    "payloads-sequence-num-incrementing",
    "payloads-dbirth-seq-inc",
    "payloads-ndata-seq-inc",
    "payloads-ddata-seq-inc",
    "payloads-ddeath-seq-inc",
)
def _seq_counts(session: Session) -> None:
    for number in range(len(session.connections)):
        expected, wrapped = 0, False
        for one in session.messages(*IN_SEQUENCE, connection=number):
            expected = 0 if one.verb == "NBIRTH" else expected
            assert one.payload.seq == expected, one
            expected = (expected + 1) % 256
            wrapped = wrapped or expected == 0
        assert wrapped == (number == 0)


@tck(
    "payloads-sequence-num-always-included",
    "payloads-dbirth-seq",
    "payloads-ndata-seq",
    "payloads-ddata-seq",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-number",
)
def _seq_is_there(session: Session) -> None:
    for verb in IN_SEQUENCE:
        assert session.messages(verb)
        assert all(one.payload.seq is not None for one in session.messages(verb))


@tck(
    "topics-nbirth-timestamp",
    "topics-dbirth-timestamp",
    "topics-ndata-timestamp",
    "topics-ddata-timestamp",
    "payloads-nbirth-timestamp",
    "payloads-dbirth-timestamp",
    "payloads-ndata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
    "payloads-timestamp-in-UTC",
)
def _payload_times(session: Session) -> None:
    now_ms = time.time() * 1_000
    for one in session.messages():
        assert one.payload.timestamp_ms is not None
        assert 0 <= now_ms - one.payload.timestamp_ms < 600_000


@tck("payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
def _metric_times(session: Session) -> None:
    now_ms = time.time() * 1_000
    for one in session.messages(*BIRTHS, *DATA):
        for each in one.payload.metrics:
            assert each.timestamp_ms is not None
            assert 0 <= now_ms - each.timestamp_ms < 600_000


@tck(
    "topics-nbirth-metric-reqs",
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    "operational-behavior-data-publish-dbirth",
)
def _everything_is_declared(session: Session) -> None:
    known = aliases(session)
    for one in session.messages(*DATA):
        for each in one.payload.metrics:
            assert each.alias is not None
            assert (one.connection, one.device, each.alias) in known


@tck("topics-nbirth-metrics", "topics-dbirth-metrics", "payloads-metric-datatype-req")
def _births_are_complete(session: Session) -> None:
    for birth in session.messages(*BIRTHS):
        for each in birth.payload.metrics:
            assert each.name
            assert each.datatype is not None
            assert (each.value is not None) != each.is_null


@tck("operational-behavior-data-publish-nbirth-values")
def _node_values(session: Session) -> None:
    for birth in session.messages("NBIRTH"):
        assert metric(birth.payload, "Software Version").value == "1.2.3"
        assert not any(each.is_null for each in birth.payload.metrics)
    after = session.messages("NBIRTH", phase="rebirth")[0]
    assert metric(after.payload, "Health").value == "degraded"


@tck("operational-behavior-data-publish-dbirth-values")
def _device_values(session: Session) -> None:
    first = {one.device: one.payload for one in session.messages("DBIRTH", phase="first birth")}
    assert metric(first["aoi-1"], "Count").is_null
    assert metric(first["aoi-1"], "Count").value is None
    assert "int_value" not in raw_metrics(session.messages("DBIRTH", phase="first birth")[0])[8]
    assert metric(first["aoi-2"], "Count").value == 2
    assert metric(first["aoi-2"], "Result").value == "NOT_OK"
    again = {one.device: one.payload for one in session.messages("DBIRTH", phase="rebirth")}
    assert metric(again["aoi-1"], "Count").value == PARTS
    assert metric(again["aoi-1"], "Yield").value == 100.0


@tck(
    "topics-nbirth-rebirth-metric",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
    "payloads-nbirth-rebirth-req",
)
def _rebirth_is_offered(session: Session) -> None:
    for birth in session.messages("NBIRTH"):
        found = metric(birth.payload, "Node Control/Rebirth")
        assert (found.datatype, found.value) == (DataType.BOOLEAN, False)


@tck("operational-behavior-data-commands-rebirth-name-aliases")
def _rebirth_has_no_alias(session: Session) -> None:
    for birth in session.messages("NBIRTH"):
        assert metric(birth.payload, "Node Control/Rebirth").alias is None


@tck(
    "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
)
def _births_are_protobuf(session: Session) -> None:
    """Read here by our own decoder; test_npm.py has the same bytes read by others."""
    assert len(session.messages("NBIRTH")) == 4
    assert len(session.messages("DBIRTH")) == 9


@tck("message-flow-device-birth-publish-nbirth-wait", "payloads-dbirth-order")
def _dbirths_follow(session: Session) -> None:
    for number in range(len(session.connections)):
        verbs = [one.verb for one in session.messages(connection=number)]
        assert verbs[:3] == ["NBIRTH", "DBIRTH", "DBIRTH"]


@tck("payloads-ndata-order", "payloads-ddata-order")
def _data_follow(session: Session) -> None:
    for number in range(len(session.connections)):
        verbs = [one.verb for one in session.messages(connection=number)]
        births = [at for at, verb in enumerate(verbs) if verb == "NBIRTH"]
        assert all(verbs[at + 1 : at + 3] == ["DBIRTH", "DBIRTH"] for at in births)
        assert not set(verbs[: births[0]]) & set(DATA)


@tck("payloads-alias-uniqueness")
def _aliases_are_different(session: Session) -> None:
    for number in range(len(session.connections)):
        births = session.messages(*BIRTHS, connection=number)[:3]
        found = [each.alias for birth in births for each in birth.payload.metrics if each.alias is not None]
        assert len(found) == len(set(found))


@tck("payloads-alias-birth-requirement", "payloads-name-requirement")
def _births_have_names_and_aliases(session: Session) -> None:
    for birth in session.messages(*BIRTHS):
        for each in birth.payload.metrics:
            assert each.name
            assert (each.alias is None) == (each.name == "Node Control/Rebirth")


@tck("payloads-metric-datatype-value-type", "payloads-metric-datatype-value")
def _types_are_known(session: Session) -> None:
    for birth in session.messages(*BIRTHS):
        for each in raw_metrics(birth):
            assert 1 <= each["datatype"] <= 34


@tck(
    "payloads-propertyset-keys-array-size",
    "payloads-propertyset-values-array-size",
    "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req",
)
def _properties(session: Session) -> None:
    found = [
        each["properties"] for birth in session.messages(*BIRTHS) for each in raw_metrics(birth) if "properties" in each
    ]
    assert found
    for each in found:
        assert len(each["keys"]) == len(each["values"])
        assert all(value["type"] == DataType.STRING for value in each["values"])


# --- data -------------------------------------------------------------------------------------------------------------


@tck("payloads-alias-data-cmd-requirement")
def _data_have_aliases_only(session: Session) -> None:
    for one in session.messages(*DATA):
        assert all(each.alias is not None and each.name is None for each in one.payload.metrics)


@tck("payloads-metric-datatype-not-req")
def _data_have_no_types(session: Session) -> None:
    for one in session.messages(*DATA):
        assert not any("datatype" in each for each in raw_metrics(one))


@tck(
    "principles-rbe-recommended",
    "operational-behavior-data-publish-nbirth-change",
    "operational-behavior-data-publish-dbirth-change",
)
def _by_exception(session: Session) -> None:
    assert session.messages(phase="idle") == []
    known = aliases(session)
    for number in range(len(session.connections)):
        now: dict[tuple[str, int | None], object] = {}
        for one in session.messages(*BIRTHS, *DATA, connection=number):
            for each in one.payload.metrics:
                key = (one.device, each.alias)
                if one.verb in DATA and not each.is_historical:
                    assert now[key] != each.value, known[number, one.device, each.alias or 0]
                now[key] = now.get(key) if each.is_historical else each.value


@tck("topics-ndata-payload")
def _node_changes(session: Session) -> None:
    known = aliases(session)
    said = [
        {known[one.connection, "", each.alias].name: each.value for each in one.payload.metrics if each.alias}
        for one in session.messages("NDATA")
    ]
    assert said == [{"Health": "degraded"}, {"Health": "down"}, {"Health": "degraded"}]


@tck("topics-ddata-payload")
def _device_changes(session: Session) -> None:
    """The first part changes everything; the second one leaves "Result" and its like alone."""
    first, second, *_ = session.messages("DDATA", phase="live")
    known = aliases(session)
    names = [
        {known[one.connection, "aoi-1", each.alias].name for each in one.payload.metrics if each.alias}
        for one in (first, second)
    ]
    assert names[0] == {each.name for key, each in known.items() if key[:2] == (0, "aoi-1")}
    assert {"Count", "Part", "Accepted"} <= names[1]
    assert not {"Result", "Disposition", "Product", "Yield"} & names[1]


@tck("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def _in_the_order_of_time(session: Session) -> None:
    newest: dict[tuple[str, int], int] = {}
    for one in session.messages(*DATA):
        for each in one.payload.metrics:
            if not each.is_historical and each.alias is not None and each.timestamp_ms is not None:
                assert newest.get((one.device, each.alias), 0) <= each.timestamp_ms
                newest[one.device, each.alias] = each.timestamp_ms


# --- rebirth, deaths, goodbye -----------------------------------------------------------------------------------------


@tck(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
)
def _rebirth(session: Session) -> None:
    assert session.messages(phase="other command") == []
    verbs = [one.verb for one in session.messages(phase="rebirth")]
    assert verbs == ["NBIRTH", "DBIRTH", "DBIRTH", "DDATA"]


@tck("operational-behavior-data-commands-rebirth-action-3")
def _rebirth_keeps_bd_seq(session: Session) -> None:
    (again,) = session.messages("NBIRTH", phase="rebirth")
    assert metric(again.payload, "bdSeq").value == metric(wills(session)[0], "bdSeq").value == 0


@tck("operational-behavior-device-ddeath")
def _device_death(session: Session) -> None:
    away = session.messages(phase="camera away")
    assert [(one.verb, one.device) for one in away] == [("NDATA", ""), ("DDEATH", "aoi-2")]
    back = session.messages("DBIRTH", phase="camera back")
    assert [one.device for one in back] == ["aoi-2"]


@tck(
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
)
def _says_goodbye(session: Session) -> None:
    for packets in session.connections:
        last, goodbye = [packet for packet in packets if packet.kind in (3, 14)][-2:]
        assert topic.parse(last.says["topic"]).verb == "NDEATH"
        assert goodbye.kind == 14


@tck("payloads-ndeath-will-message-publisher-disconnect-mqtt50")
def _goodbye_with_will(session: Session) -> None:
    assert session.goodbyes == [4, 4, 4]


@pytest.mark.parametrize("assertion", sorted(CHECKS))
def test_tck_id(session: Session, assertion: str) -> None:
    CHECKS[assertion](session)


# --- what the specification leaves to us ------------------------------------------------------------------------------


def test_what_was_inspected_while_the_host_was_away_is_sent_as_history(session: Session) -> None:
    history = [one for one in session.messages("DDATA") if any(each.is_historical for each in one.payload.metrics)]
    assert [(one.phase, one.device) for one in history] == [("first birth", "aoi-2")] * 2 + [
        ("second birth", "aoi-1")
    ] * 3
    known = aliases(session)
    counts = [
        each.value
        for one in history
        for each in one.payload.metrics
        if known[one.connection, one.device, each.alias or 0].name == "Count"
    ]
    assert counts == [1, 2, PARTS + 2, PARTS + 3, PARTS + 4]
    for one in history:
        assert all(each.is_historical for each in one.payload.metrics)
        assert one.payload.timestamp_ms is not None
        assert all((each.timestamp_ms or 0) <= one.payload.timestamp_ms for each in one.payload.metrics)


def test_the_host_heard_every_part_once(session: Session) -> None:
    """QoS 0 on one machine: nothing was lost, and nothing was said twice."""
    heard = [topic.parse(each).verb for each, _ in session.host_heard if "/STATE/" not in each]
    assert heard.count("DDATA") == PARTS + 7
    assert heard.count("NBIRTH") == 4

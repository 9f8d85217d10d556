"""Every topic in one table: the source of ``asyncapi.yaml``. ``docs/topics.md`` says the same in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from edge_agent.contract import payloads, topics
from edge_agent.contract.outbound import EXPIRY, REPLY_EXPIRY, RESULT_EXPIRY
from edge_agent.contract.payloads import Payload

ROOT = topics.topic_root(
    enterprise="{enterprise}", site="{site}", area="{area}", line="{line}", cell="{cell}", agent="{agent}"
)
PARAMETERS: Mapping[str, str] = {
    "enterprise": "The first of the plant's levels (ISA-95).",
    "site": "The plant's site.",
    "area": "The site's area.",
    "line": "The area's line.",
    "cell": "The line's cell.",
    "agent": "Id of the box: its MQTT client id, unique in the plant.",
    "woId": "The order's id (jobOrderId).",
    "rcaId": "The incident's id.",
    "reportId": "The document's id.",
    "name": "The figure's name.",
}
"""What stands in braces in a channel's address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One topic.

    Attributes:
        name: of the channel in the AsyncAPI document.
        address: the topic, with parameters in braces.
        payload: what is in the envelope's ``data``, or bare.
        from_box: the box publishes; otherwise the plant does.
        enveloped: in a CloudEvent. What the plant sends may be bare as well.
        receipt: the box sends it again until the plant has confirmed it on ``in/receipt``.
        expiry: MQTT message expiry.
        args: what a command's ``args`` are.
        args_alone: they may come without the command around them.
        reply: name of the channel on which the box answers.
    """

    name: str
    address: str
    payload: type[Payload]
    summary: str
    from_box: bool = True
    qos: int = 1
    retain: bool = False
    enveloped: bool = True
    receipt: bool = False
    expiry: timedelta | None = None
    args: type[Payload] | None = None
    args_alone: bool = False
    reply: str = ""


def _below(topic: str) -> str:
    return topics.under(ROOT, topic)


_COMMAND_EXPIRY = timedelta(seconds=60)
_METRIC_EXPIRY = timedelta(minutes=5)

CHANNELS: tuple[Channel, ...] = (
    Channel(
        name="state",
        address=_below(topics.STATE),
        payload=payloads.State,
        summary="Birth, changes, and (by the broker) the last will.",
        retain=True,
    ),
    Channel(
        name="result",
        address=_below(topics.RESULT),
        payload=payloads.Result,
        summary="What was found on one part.",
        expiry=RESULT_EXPIRY,
    ),
    Channel(
        name="resultCount",
        address=_below(topics.RESULT_COUNT),
        payload=payloads.ResultCount,
        summary="Good parts of one minute, in place of their results, which a full outbox could not keep.",
        expiry=EXPIRY,
    ),
    Channel(
        name="defect",
        address=_below(topics.DEFECT),
        payload=payloads.Defects,
        summary="The defects of one class on one part.",
        receipt=True,
        expiry=EXPIRY,
    ),
    Channel(
        name="rca",
        address=_below(topics.rca("{rcaId}")),
        payload=payloads.Rca,
        summary="Evidence and ranked causes of one incident.",
        receipt=True,
        expiry=EXPIRY,
    ),
    Channel(
        name="workorder",
        address=_below(topics.order("{woId}")),
        payload=payloads.JobOrder,
        summary="The full document of an order, again with each revision; cleared (empty) after the end.",
        retain=True,
        receipt=True,
        expiry=EXPIRY,
    ),
    Channel(
        name="orderIndex",
        address=_below(topics.ORDER_INDEX),
        payload=payloads.OrderIndex,
        summary="All open orders.",
        retain=True,
    ),
    Channel(
        name="responseAck",
        address=_below(topics.response_ack("{woId}")),
        payload=payloads.ResponseAck,
        summary="What became of an answer.",
        expiry=EXPIRY,
    ),
    Channel(
        name="report",
        address=_below(topics.report("{reportId}")),
        payload=payloads.Report,
        summary="A PDF by reference.",
        retain=True,
        receipt=True,
        expiry=EXPIRY,
    ),
    Channel(
        name="reply",
        address=_below(topics.REPLY),
        payload=payloads.Reply,
        summary="The outcome of a command; the same again for a repeated one.",
        expiry=REPLY_EXPIRY,
    ),
    Channel(
        name="metric",
        address=_below(topics.metric("{name}")),
        payload=payloads.Metric,
        summary="One figure, every 30 seconds, as a historian takes it.",
        qos=0,
        retain=True,
        enveloped=False,
        expiry=_METRIC_EXPIRY,
    ),
    Channel(
        name="error",
        address=_below(topics.ERROR),
        payload=payloads.Error,
        summary="What could not be read or sent.",
        expiry=EXPIRY,
    ),
    Channel(
        name="response",
        address=_below(topics.response("{woId}")),
        payload=payloads.JobResponsePayload,
        summary="What the MES says about an order.",
        from_box=False,
        reply="responseAck",
    ),
    Channel(
        name="receipt",
        address=_below(topics.RECEIPT),
        payload=payloads.Receipt,
        summary="The MES has these events.",
        from_box=False,
    ),
    Channel(
        name="trigger",
        address=_below(topics.command("trigger")),
        payload=payloads.Command,
        summary="A part is in place; answered by its result.",
        from_box=False,
        args=payloads.Trigger,
        args_alone=True,
        expiry=_COMMAND_EXPIRY,
    ),
    *(
        Channel(
            name=verb,
            address=_below(topics.command(verb)),
            payload=payloads.Command,
            summary=summary,
            from_box=False,
            args=args,
            expiry=_COMMAND_EXPIRY,
            reply="reply",
        )
        for verb, summary, args in (
            ("pause", "Take no more parts: each one is held.", payloads.StationArgs),
            ("resume", "Inspect again.", payloads.StationArgs),
            ("recipe", "Inspect a product with another recipe; the reply reads back which.", payloads.RecipeArgs),
            ("challenge", "Begin a challenge with known parts, or release the station.", payloads.ChallengeArgs),
            ("ack", "Somebody has seen what is not well.", payloads.AckArgs),
            ("config-reload", "Check the configuration files, and take over what can be.", payloads.ReloadArgs),
            ("ping", "Is anybody there?", None),
            ("status", "Stations, components, backlog.", None),
        )
    ),
    Channel(
        name="mesState",
        address=topics.mes_state(enterprise="{enterprise}", site="{site}"),
        payload=payloads.MesState,
        summary="Whether the MES is there; when it comes back, the box sends again what has no receipt.",
        from_box=False,
        retain=True,
    ),
)

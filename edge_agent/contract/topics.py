"""Topics below the box's root ``{enterprise}/{site}/{area}/{line}/{cell}/_inspect/v1/{agent}``.

``out/`` is written by the box only and ``in/`` by the plant only, so that the broker's access rules are trivial.
Everything here is relative to the root, as `OutboundMessage.topic` is; `under` makes it absolute.
"""

from uuid import UUID

STATE = "out/state"
RESULT = "out/result"
RESULT_COUNT = "out/result-count"
DEFECT = "out/defect"
ORDER_INDEX = "out/wo-index"
REPLY = "out/reply"
ERROR = "out/error"

RECEIPT = "in/receipt"
RESPONSES = "in/wo/+/response"
"""Filter: all job responses."""
COMMANDS = "in/cmd/+"
"""Filter: all commands."""


_ORDERS, _REPORTS = "out/wo/", "out/report/"


def topic_root(*, enterprise: str, site: str, area: str, line: str, cell: str, agent: str) -> str:
    """The box's own part of the plant's namespace."""
    return f"{enterprise}/{site}/{area}/{line}/{cell}/_inspect/v1/{agent}"


def under(root: str, topic: str) -> str:
    """The absolute topic of a relative one."""
    return f"{root}/{topic}"


def mes_state(*, enterprise: str, site: str) -> str:
    """Absolute topic on which the MES says whether it is there (retained, with a will)."""
    return f"{enterprise}/{site}/_mes/v1/state"


def rca(rca_id: UUID | str) -> str:
    """The analysis of one incident."""
    return f"out/rca/{rca_id}"


def order(order_id: UUID | str) -> str:
    """The retained job order."""
    return f"{_ORDERS}{order_id}/order"


def response(order_id: UUID | str) -> str:
    """Where the MES answers."""
    return f"in/wo/{order_id}/response"


def response_ack(order_id: UUID | str) -> str:
    """What became of an answer."""
    return f"{_ORDERS}{order_id}/response-ack"


def report(report_id: UUID | str) -> str:
    """The retained reference to a document."""
    return f"{_REPORTS}{report_id}"


def command(verb: str) -> str:
    """A command: ``trigger``, ``pause``, ``resume``, ``recipe``, ``ack``, ``config-reload``."""
    return f"in/cmd/{verb}"


def metric(name: str) -> str:
    """One retained value of the box."""
    return f"out/metric/{name}"


def is_signed(topic: str) -> bool:
    """Does a box with a key of its own sign what goes there? Work orders and references to documents."""
    return topic.startswith(_REPORTS) or (topic.startswith(_ORDERS) and topic.endswith("/order"))


def answered_order(topic: str) -> str:
    """The order id (as text) in the topic of a job response; empty when the topic is none."""
    levels = topic.split("/")
    if len(levels) < 4 or levels[-1] != "response" or levels[-3] != "wo":
        return ""
    return levels[-2]


def verb_of(topic: str) -> str:
    """The verb in the topic of a command; empty when the topic is none."""
    levels = topic.split("/")
    return levels[-1] if len(levels) >= 2 and levels[-2] == "cmd" else ""

"""The collector's metrics, in a registry of their own: the box's page of metrics does not know them."""

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()
STORED = Counter("edge_agent_collect_stored", "Messages that were new", registry=REGISTRY)
DUPLICATES = Counter("edge_agent_collect_duplicates", "Messages that were there already", registry=REGISTRY)
OUT_OF_ORDER = Counter("edge_agent_collect_out_of_order", "Messages with a number below the highest", registry=REGISTRY)
DEAD = Counter("edge_agent_collect_dead_letters", "Messages that cannot be stored", ("reason",), registry=REGISTRY)
DROPPED = Counter(
    "edge_agent_collect_dropped", "Readings (QoS 0) dropped because the queue was full", registry=REGISTRY
)
RECEIPTS = Counter("edge_agent_collect_receipts", "Receipts sent to boxes", registry=REGISTRY)
RECEIPTS_REFUSED = Counter("edge_agent_collect_receipts_refused", "Receipts that the broker refused", registry=REGISTRY)
GAPS = Gauge("edge_agent_collect_gaps", "Runs of numbers that are missing", registry=REGISTRY)
MISSING = Gauge("edge_agent_collect_missing", "Messages that are missing, by box", ("box",), registry=REGISTRY)
CONNECTED = Gauge("edge_agent_collect_connected", "1 while connected to the broker", registry=REGISTRY)

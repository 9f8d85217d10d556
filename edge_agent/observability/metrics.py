"""Prometheus metrics. Every one is listed in docs/metrics.md (a test compares)."""

from prometheus_client import Counter, Gauge, Histogram

_MS = (2, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1_000, 2_000, 5_000)

PARTS = Counter("edge_agent_parts", "Inspected parts by outcome", labelnames=("station", "evaluation", "disposition"))
DEFECTS = Counter("edge_agent_defects", "Defects that broke a limit", labelnames=("station", "code"))
INSPECTION_MS = Histogram(
    "edge_agent_inspection_ms", "Trigger to disposition in milliseconds", labelnames=("station",), buckets=_MS
)
STAGE_MS = Histogram(
    "edge_agent_stage_ms", "One stage of an inspection in milliseconds", labelnames=("station", "stage"), buckets=_MS
)
MISSED_TRIGGERS = Gauge("edge_agent_missed_triggers", "Triggers known to be lost since start", labelnames=("station",))
CHANNEL_OFFERED = Gauge("edge_agent_channel_offered", "Shots offered to the station's queue", labelnames=("station",))
CHANNEL_DROPPED = Gauge("edge_agent_channel_dropped", "Shots replaced by a newer one", labelnames=("station",))
CHANNEL_REFUSED = Gauge(
    "edge_agent_channel_refused", "Shots refused because the queue was full", labelnames=("station",)
)
DRIFT_SIZE = Gauge(
    "edge_agent_drift_size",
    "How far a figure is from its reference: population stability index, for appearance a distance",
    labelnames=("station", "quantity"),
)
DRIFTING = Gauge(
    "edge_agent_drifting", "Figures of the station's inspection that have drifted", labelnames=("station",)
)
CHALLENGE_HOLDS = Gauge(
    "edge_agent_challenge_holds", "1 while all parts of the station are held by its challenge", labelnames=("station",)
)
COMPONENT_UP = Gauge("edge_agent_component_up", "1 when the component is healthy", labelnames=("component",))
OUTBOX_ROWS = Gauge("edge_agent_outbox_rows", "Outbox rows by state", labelnames=("state",))
OUTBOX_OLDEST_S = Gauge("edge_agent_outbox_oldest_seconds", "Age of the oldest unconfirmed outbox row")
OUTBOX_QUOTA_USED = Gauge("edge_agent_outbox_quota_used", "Share of the outbox's quota in use, 0 to 1 and above")
OUTBOX_SHED = Counter(
    "edge_agent_outbox_shed",
    "Messages given up unsent: expired, counted, outdated, dropped; or made smaller: thinned",
    labelnames=("how",),
)
SAMPLES_LOST = Counter(
    "edge_agent_samples_lost", "Process values lost: refused as unreadable, dropped unwritten", labelnames=("how",)
)
INCIDENTS_OPEN = Gauge("edge_agent_incidents_open", "Open incidents")
ORDERS_OPEN = Gauge("edge_agent_orders_open", "Work orders that are not in a terminal state")
DIAGNOSIS_FAILURES = Counter(
    "edge_agent_diagnosis_failures", "Diagnoses that were late, died or could not be understood"
)
WORKER_RESTARTS = Counter("edge_agent_worker_restarts", "Workers restarted after a failure", labelnames=("worker",))
WORKER_SILENCE_S = Gauge(
    "edge_agent_worker_silence_seconds", "Since the worker last finished a step", labelnames=("worker",)
)
SHADOW_LOOKS = Counter(
    "edge_agent_shadow_looks", "Parts that a shadow model has seen, by outcome", labelnames=("station", "outcome")
)
SHADOW_DROPPED = Gauge(
    "edge_agent_shadow_dropped", "Parts that a shadow model did not see for want of time", labelnames=("station",)
)
SHADOW_MS = Histogram(
    "edge_agent_shadow_ms", "A shadow model's look at one part in milliseconds", labelnames=("station",), buckets=_MS
)
MODEL_ROLLBACKS = Counter(
    "edge_agent_model_rollbacks", "Promoted models that were taken back", labelnames=("station", "how")
)
STORE_FREE_BYTES = Gauge("edge_agent_state_free_bytes", "Free bytes on the state folder's file system")

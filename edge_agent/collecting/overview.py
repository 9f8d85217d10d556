"""What the fleet's page shows, from the views; kept for some seconds, however many people look."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from edge_agent.collecting.fleet_store import FleetStore

KEPT_S = 10.0
MOST_ROWS = 30
MOST_KEPT = 16

_LINES = (
    "SELECT site, line, count(DISTINCT box) AS boxes, sum(parts) AS parts, sum(bad) AS bad, "
    "sum(undecided) AS undecided, coalesce(sum(good), 0) / nullif(coalesce(sum(good), 0) + coalesce(sum(bad), 0), 0) "
    "AS yield FROM yield_daily WHERE day > current_date - %s::int GROUP BY site, line "
    "ORDER BY yield NULLS LAST, site, line"
)
_PARETO = (
    "SELECT defect_class, sum(parts) AS parts, "
    "sum(sum(parts)) OVER (ORDER BY sum(parts) DESC, defect_class) / sum(sum(parts)) OVER () AS share "
    "FROM pareto_daily WHERE day > current_date - %s::int GROUP BY defect_class "
    "ORDER BY parts DESC, defect_class LIMIT %s"
)
_ORDERS = (
    "SELECT line, box, number, priority, state, description FROM work_order "
    "WHERE state NOT IN ('closed', 'aborted', 'rejected', 'cancelled') "
    "ORDER BY priority, start_time LIMIT %s"
)
_BOXES = (
    'SELECT count(*) AS "all", count(*) FILTER (WHERE NOT online) AS offline, '
    "count(*) FILTER (WHERE last_seen_at < now() - interval '15 minutes') AS silent, "
    "(SELECT count(*) FROM dead_letter) AS dead FROM box_state"
)


class Overview:
    """Looks, and remembers for a moment."""

    def __init__(self, store: FleetStore, *, gap_after_s: float) -> None:
        self._store, self._gap_after_s = store, gap_after_s
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, Mapping[str, Any]]] = {}

    def look(self, days: int) -> Mapping[str, Any]:
        """The page's rows. Raises Transient: the database is away."""
        with self._lock:
            at, found = self._kept.get(days, (0.0, {}))
            if not found or time.monotonic() - at > KEPT_S:
                found = self._asked(days)
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[days] = time.monotonic(), found
            return found

    def _asked(self, days: int) -> Mapping[str, Any]:
        gaps = self._store.gaps(older_than_s=self._gap_after_s, limit=MOST_ROWS)
        return {
            "lines": self._store.rows(_LINES, days),
            "pareto": self._store.rows(_PARETO, days, MOST_ROWS),
            "orders": self._store.rows(_ORDERS, MOST_ROWS),
            "boxes": self._store.rows(_BOXES)[0],
            "gaps": [gap._asdict() for gap in gaps],
        }

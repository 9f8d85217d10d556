"""What shadow models saw, per station."""

import builtins
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select

from edge_agent.adapters.store.codec import decode, encode, label, to_us
from edge_agent.adapters.store.schema import shadow_looks
from edge_agent.adapters.store.session import Session
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.shadow import ShadowLook

PRUNE_BATCH = 2_000
LISTED = 100_000


class SqlShadowLooks:
    """Implements ``ports.ShadowLooks``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, look: ShadowLook) -> None:
        """Idempotent on inspection_id."""
        known = select(shadow_looks.c.seq).where(shadow_looks.c.inspection_id == look.inspection_id)
        if self._session.first(known) is not None:
            return
        row = {
            "seq": self._session.take("shadow_looks"),
            "inspection_id": look.inspection_id,
            "station_id": label(look.station_id),
            "live": _key(look.live),
            "shadow": _key(look.shadow),
            "live_evaluation": look.live_evaluation.value,
            "evaluation": look.evaluation.value,
            "at_us": to_us(look.at),
            "document": encode(look),
        }
        self._session.write(shadow_looks.insert(), row)

    def list(
        self, station_id: str, *, shadow: ModelRef, live: ModelRef | None = None, limit: int = LISTED
    ) -> builtins.list[ShadowLook]:
        """Newest first."""
        query = (
            select(shadow_looks.c.document)
            .where(shadow_looks.c.station_id == label(station_id), shadow_looks.c.shadow == _key(shadow))
            .order_by(shadow_looks.c.seq.desc())
            .limit(limit)
        )
        if live is not None:
            query = query.where(shadow_looks.c.live == _key(live))
        return [decode(ShadowLook, row["document"]) for row in self._session.rows(query)]

    def count(self, station_id: str, *, shadow: ModelRef) -> Mapping[tuple[Evaluation, Evaluation], int]:
        """Looks by what the live model said and what the shadow said; only pairs that occur."""
        query = (
            select(shadow_looks.c.live_evaluation, shadow_looks.c.evaluation, func.count().label("n"))
            .where(shadow_looks.c.station_id == label(station_id), shadow_looks.c.shadow == _key(shadow))
            .group_by(shadow_looks.c.live_evaluation, shadow_looks.c.evaluation)
        )
        rows = self._session.rows(query)
        return {(Evaluation(row["live_evaluation"]), Evaluation(row["evaluation"])): row["n"] for row in rows}

    def prune(self, before: datetime) -> int:
        """Delete older ones, a bounded batch: call again until it returns 0."""
        oldest = (
            select(shadow_looks.c.seq)
            .where(shadow_looks.c.at_us < to_us(before))
            .order_by(shadow_looks.c.seq)
            .limit(PRUNE_BATCH)
        )
        return self._session.write(shadow_looks.delete().where(shadow_looks.c.seq.in_(oldest)))


def _key(ref: ModelRef) -> str:
    """The same file may be in two versions whose cards differ."""
    return label(f"{ref.name}/{ref.version} {ref.sha256}")

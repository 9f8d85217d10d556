"""Inspections and their defects."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Select, bindparam, func, select

from edge_agent.adapters.store.codec import decode, encode, finite, label, to_us
from edge_agent.adapters.store.schema import defects, expected_shots, inspections
from edge_agent.adapters.store.session import Session
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.part import Shot

PRUNE_BATCH = 2_000
CHALLENGE = "CHALLENGE"
"""What stands in the column ``evaluation`` of a challenge part, in place of what the images said (the document has
that): whoever counts evaluations, here or with SQL, counts products only."""

_KNOWN = select(inspections.c.seq).where(inspections.c.inspection_id == bindparam("id"))
_GET = select(inspections.c.document).where(inspections.c.inspection_id == bindparam("id"))
_NEWEST = select(func.max(inspections.c.seq))
_EXPECTED = select(expected_shots.c.shot_id).where(expected_shots.c.shot_id == bindparam("id"))
_EXPECT = expected_shots.insert()


def _of_trigger(key: Column[UUID]) -> Select[Any]:
    """Other shots of one trigger in a span of time; ``key`` is the column that holds the shot's id."""
    shots = key.table
    return select(key).where(
        shots.c.trigger_id == bindparam("trigger"),
        shots.c.triggered_us.between(bindparam("first"), bindparam("last")),
        shots.c.station_id == bindparam("station"),
        key != bindparam("shot"),
    )


_TAKEN = _of_trigger(expected_shots.c.shot_id)
_TAKEN_AND_ANSWERED = _of_trigger(inspections.c.inspection_id)
_ANSWER = expected_shots.delete().where(expected_shots.c.shot_id == bindparam("id"))
_ADD = inspections.insert()
_ADD_DEFECTS = defects.insert()


class SqlInspections:
    """Implements ``ports.Inspections``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def expect(self, shot: Shot, *, once_within: timedelta | None = None) -> bool:
        """Idempotent on shot_id; False, and nothing noted, for a trigger that was taken already."""
        if once_within is not None and self._was_taken(shot, once_within):
            return False
        if self._session.first(_EXPECTED, {"id": shot.shot_id}) is None:
            self._session.write(_EXPECT, _expected_row(shot))
        return True

    def _was_taken(self, shot: Shot, within: timedelta) -> bool:
        """By another shot, answered or not. Both ways in time: the clock may have been stepped back."""
        asked = {
            "trigger": label(shot.trigger_id),
            "station": label(shot.station_id),
            "shot": shot.shot_id,
            "first": to_us(shot.triggered_at - within),
            "last": to_us(shot.triggered_at + within),
        }
        return any(self._session.first(query, asked) is not None for query in (_TAKEN, _TAKEN_AND_ANSWERED))

    def unanswered(self, station_id: str) -> list[Shot]:
        """Oldest first."""
        query = (
            select(expected_shots.c.document)
            .where(expected_shots.c.station_id == label(station_id))
            .order_by(expected_shots.c.triggered_us)
        )
        return [decode(Shot, row["document"]) for row in self._session.rows(query)]

    def add(self, inspection: Inspection) -> None:
        """Answers the shot it is of. Idempotent on inspection_id."""
        self._session.write(_ANSWER, {"id": inspection.shot.shot_id})
        if self._session.first(_KNOWN, {"id": inspection.inspection_id}) is not None:
            return
        seq = self._session.take("inspections")
        self._session.write(_ADD, _row(seq, inspection))
        if inspection.defects:
            self._session.write(_ADD_DEFECTS, _defect_rows(seq, inspection))

    def get(self, inspection_id: UUID) -> Inspection | None:
        document = self._session.first(_GET, {"id": inspection_id})
        return None if document is None else decode(Inspection, document)

    def challenges(self, station_id: str, since: datetime) -> list[Inspection]:
        """Challenge parts of a station that ended since then, oldest first."""
        query = (
            select(inspections.c.document)
            .where(inspections.c.evaluation == CHALLENGE, *_ended(since, None))
            .where(inspections.c.station_id == label(station_id))
            .order_by(inspections.c.ended_us, inspections.c.seq)
        )
        return [decode(Inspection, row["document"]) for row in self._session.rows(query)]

    def newest(self) -> int:
        """The seq of the one recorded last; 0 when there is none."""
        return int(self._session.first(_NEWEST) or 0)

    def after(self, seq: int, limit: int, *, station_id: str | None = None) -> list[tuple[int, Inspection]]:
        """The next ones with a larger seq, oldest first."""
        query = (
            select(inspections.c.seq, inspections.c.document)
            .where(inspections.c.seq > seq, *_at(station_id))
            .order_by(inspections.c.seq)
            .limit(limit)
        )
        return [(row["seq"], decode(Inspection, row["document"])) for row in self._session.rows(query)]

    def between(
        self, start: datetime, end: datetime, *, station_id: str | None = None, limit: int = 100_000
    ) -> list[Inspection]:
        """Ended in [start, end), oldest first."""
        query = (
            select(inspections.c.document)
            .where(*_ended(start, end), *_at(station_id))
            .order_by(inspections.c.ended_us, inspections.c.seq)
            .limit(limit)
        )
        return [decode(Inspection, row["document"]) for row in self._session.rows(query)]

    def latest(self, limit: int, *, station_id: str | None = None) -> list[Inspection]:
        """Newest (recorded last) first."""
        query = select(inspections.c.document).where(*_at(station_id)).order_by(inspections.c.seq.desc()).limit(limit)
        return [decode(Inspection, row["document"]) for row in self._session.rows(query)]

    def count(
        self, start: datetime | None = None, end: datetime | None = None, *, station_id: str | None = None
    ) -> Mapping[str, int]:
        """Number by evaluation of inspections that ended in [start, end); every evaluation is there."""
        query = (
            select(inspections.c.evaluation, func.count().label("n"))
            .where(*_ended(start, end), *_at(station_id))
            .group_by(inspections.c.evaluation)
        )
        found = {row["evaluation"]: row["n"] for row in self._session.rows(query)}
        return {evaluation.value: found.get(evaluation.value, 0) for evaluation in Evaluation}

    def count_defects(
        self, start: datetime | None = None, end: datetime | None = None, *, station_id: str | None = None
    ) -> Mapping[str, int]:
        """Number of defects by class in inspections that ended in [start, end), most frequent first (Pareto)."""
        number = func.count().label("n")
        query = (
            select(defects.c.code, number)
            .join(inspections, inspections.c.seq == defects.c.inspection_seq)
            .where(*_ended(start, end), *_at(station_id))
            .group_by(defects.c.code)
            .order_by(number.desc(), defects.c.code)
        )
        return {row["code"]: row["n"] for row in self._session.rows(query)}

    def prune(self, before: datetime) -> int:
        """Delete inspections that ended before this, a bounded batch: call again until it returns 0."""
        oldest = (
            select(inspections.c.seq).where(*_ended(None, before)).order_by(inspections.c.ended_us).limit(PRUNE_BATCH)
        )
        return self._session.write(inspections.delete().where(inspections.c.seq.in_(oldest)))


def _at(station_id: str | None) -> list[ColumnElement[bool]]:
    """Products of the station, or of all."""
    products = inspections.c.evaluation != CHALLENGE
    return [products] if station_id is None else [products, inspections.c.station_id == label(station_id)]


def _ended(start: datetime | None, end: datetime | None) -> list[ColumnElement[bool]]:
    after = [] if start is None else [inspections.c.ended_us >= to_us(start)]
    return after + ([] if end is None else [inspections.c.ended_us < to_us(end)])


def _expected_row(shot: Shot) -> dict[str, Any]:
    return {
        "shot_id": shot.shot_id,
        "station_id": label(shot.station_id),
        "trigger_id": label(shot.trigger_id),
        "triggered_us": to_us(shot.triggered_at),
        "document": encode(shot),
    }


def _row(seq: int, inspection: Inspection) -> dict[str, Any]:
    shot = inspection.shot
    return {
        "seq": seq,
        "inspection_id": inspection.inspection_id,
        "station_id": label(shot.station_id),
        "part_id": label(shot.part_id),
        "product_id": label(shot.product_id),
        "trigger_id": label(shot.trigger_id),
        "lot_id": None if shot.lot_id is None else label(shot.lot_id),
        "evaluation": CHALLENGE if shot.challenge else inspection.evaluation.value,
        "disposition": inspection.disposition.value,
        "score": finite(inspection.score),
        "triggered_us": to_us(shot.triggered_at),
        "ended_us": to_us(inspection.ended_at),
        "document": encode(inspection),
    }


def _defect_rows(seq: int, inspection: Inspection) -> list[dict[str, Any]]:
    return [
        {
            "inspection_seq": seq,
            "ordinal": ordinal,
            "defect_id": defect.defect_id,
            "code": label(defect.code),
            "score": finite(defect.score),
            **dict(zip(("x0_px", "y0_px", "x1_px", "y1_px"), map(finite, defect.xyxy_px), strict=True)),
            **dict(zip(("x_mm", "y_mm"), map(finite, defect.position_mm or (float("nan"),) * 2), strict=True)),
        }
        for ordinal, defect in enumerate(inspection.defects)
    ]

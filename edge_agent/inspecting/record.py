"""Recording: images first, then the row and its messages in one transaction."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.inspection import Evaluation, ImageRef, Inspection
from edge_agent.domain.message import OutboundMessage
from edge_agent.domain.part import Shot
from edge_agent.inspecting.inspector import Look
from edge_agent.ports import ImageStore, Store

log = structlog.get_logger(__name__)

Announce = Callable[[Inspection], Sequence[OutboundMessage]]
"""The messages that tell the plant about an inspection."""


class Recorder:
    """Writes inspections down.

    Args:
        announce: makes the outbox messages; they are written in the same transaction.
        keep_ok_share: share of OK parts whose image is kept (chosen by the part's id, so it repeats).
    """

    def __init__(self, *, store: Store, images: ImageStore, announce: Announce, keep_ok_share: float) -> None:
        self._store = store
        self._images = images
        self._announce = announce
        self._keep_ok_share = keep_ok_share

    def expect(self, shot: Shot, *, once_within: timedelta | None = None) -> bool:
        """Note that a shot owes an answer, so that it gets one even if the process dies.

        Not waiting for the disk: after a power cut the PLC and the part's image are gone as well.

        Args:
            once_within: refuse a trigger that another shot of this station was made of less than this long ago.

        Returns:
            False when it was refused.

        Raises:
            Transient: it could not be noted.
        """
        with self._store.unit(durable=False) as unit:
            is_new = unit.inspections.expect(shot, once_within=once_within)
            unit.commit()
        return is_new

    def unanswered(self, station_id: str) -> list[Shot]:
        """Shots of an earlier process that never got their answer."""
        with self._store.reader() as unit:
            return unit.inspections.unanswered(station_id)

    def record(self, look: Look) -> Inspection:
        """Store one inspection with its images and messages; what it is now, image references included.

        Raises:
            Transient: nothing was written (disk full, database away).
        """
        inspection = replace(look.inspection, images=self._keep_images(look))
        with self._store.unit() as unit:
            unit.inspections.add(inspection)
            for message in self._announce(inspection):
                unit.outbox.add(message)
            unit.commit()
        return inspection

    def _keep_images(self, look: Look) -> tuple[ImageRef, ...]:
        inspection = look.inspection
        if look.frame is None or not self._is_kept(inspection):
            return ()
        key, at = inspection.inspection_id, inspection.ended_at
        is_ok = inspection.evaluation is Evaluation.OK
        wanted = [("frame.ok" if is_ok else "frame", look.frame.pixels)]
        if look.reference is not None and not is_ok:
            wanted.append(("golden", look.reference.pixels))
        try:
            return tuple(self._images.put(pixels, inspection_id=key, role=role, at=at) for role, pixels in wanted)
        except (Transient, ConfigError) as error:
            # The row matters more than its picture: the database may still have the room that images may not take.
            log.error("images could not be stored", part=inspection.shot.part_id, error=str(error))
            return ()

    def _is_kept(self, inspection: Inspection) -> bool:
        if inspection.evaluation is not Evaluation.OK:
            return True
        digest = hashlib.sha256(inspection.inspection_id.bytes).digest()
        return int.from_bytes(digest[:4], "big") < self._keep_ok_share * 2**32

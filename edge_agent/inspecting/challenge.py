"""A station's challenge as its own threads see it: who is a challenge part, and whether parts are held."""

import threading
from dataclasses import replace
from datetime import timedelta

from edge_agent.domain.challenge import (
    FAILED,
    NOT_STARTED,
    ChallengePart,
    ChallengeState,
    Plan,
    Run,
    differs,
    holding,
)
from edge_agent.domain.inspection import Evaluation, Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.inspector import Look
from edge_agent.ports import Clock

_PATIENCE = timedelta(seconds=10)


class ChallengeGate:
    """Read by the station's threads for each part; told the stored state by the watch (`adopt`).

    Overdue is worked out here from the time, and a wrong challenge part is known here at once: parts are held even
    when the store is away.
    """

    def __init__(self, plan: Plan, state: ChallengeState, *, clock: Clock) -> None:
        self.plan = plan
        self._state = state
        self._clock = clock
        self._wrong: tuple[Run, Reason] | None = None
        self._shown: set[str] = set()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Does the operator show challenge parts now?"""
        return self._state.run is not None

    def is_challenge(self, shot: Shot) -> bool:
        """Is it a challenge part? Its id is reserved, whether a challenge runs or not."""
        return shot.challenge or shot.part_id in self.plan.part_ids

    def marked(self, look: Look) -> Look:
        """The look with its shot marked as a challenge part, where it is of one."""
        shot = look.inspection.shot
        if shot.challenge or not self.is_challenge(shot):
            return look
        return replace(look, inspection=replace(look.inspection, shot=replace(shot, challenge=True)))

    def refusal(self, shot: Shot) -> Reason | None:
        """Why this part is held; None when it is to be inspected."""
        if not self.is_challenge(shot):
            return self.held()
        if self.running:
            return None
        return Reason(code=NOT_STARTED, text=f"{shot.part_id} is a challenge part, and no challenge was started")

    def held(self) -> Reason | None:
        """Why products are held now."""
        wrong = self._wrong
        return wrong[1] if wrong else holding(self._state, self.plan, self._clock.now())

    @property
    def withdrawn(self) -> bool:
        """The line is told "not ready": products are held, and no challenge part is waited for."""
        return not self.running and self.held() is not None

    def saw(self, inspection: Inspection) -> None:
        """A challenge part was inspected: a wrong one holds the next part already."""
        run = self._state.run
        part = next((one for one in self.plan.parts if one.part_id == inspection.shot.part_id), None)
        if run is None or part is None or inspection.evaluation is Evaluation.NOT_INSPECTED:
            return
        if text := differs(part, inspection):
            self._wrong = run, Reason(code=FAILED, text=f"challenge part {part.part_id}: {text}")

    def next_image(self) -> ChallengePart | None:
        """An image that is to be inspected in place of a part; each once for each challenge."""
        with self._lock:
            if not self.running:
                return None
            for part in self.plan.parts:
                if part.image_path is not None and part.part_id not in self._shown:
                    self._shown.add(part.part_id)
                    return part
        return None

    @property
    def presses(self) -> bool:
        """An image has waited for a free moment for so long that it is inspected between two parts."""
        run = self._state.run
        images = {part.part_id for part in self.plan.parts if part.image_path is not None}
        return run is not None and images > self._shown & images and self._clock.now() > run.started_at + _PATIENCE

    def again(self, part: ChallengePart) -> None:
        """Its inspection could not be written down: show it once more."""
        with self._lock:
            self._shown.discard(part.part_id)

    def adopt(self, state: ChallengeState) -> None:
        """What is stored now."""
        with self._lock:
            if state.run != self._state.run:
                self._shown.clear()
            self._state = state
            if self._wrong is not None and self._wrong[0] != state.run:
                self._wrong = None

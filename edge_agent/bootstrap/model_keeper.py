"""Follows, for one station, which model shall stand where and which one looks beside it; takes a bad one back."""

from collections.abc import Callable, Mapping

import structlog

from edge_agent.bootstrap.shadow_process import ShadowProcess
from edge_agent.bootstrap.station_models import StationModels
from edge_agent.config.stations import ShadowSection
from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.message import OutboundMessage
from edge_agent.domain.promotion import Promotion, PromotionState, WatchRules, fallen, standing
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import Recipe
from edge_agent.inspecting.pause import CODE as PAUSED
from edge_agent.inspecting.pause import Pause
from edge_agent.inspecting.promoting import amend, change_of, in_force, named, promotions, shadow_choice, take_back
from edge_agent.inspecting.shadowing import Candidate, Shadow
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, SecondDetector, Store, UnitOfWork

log = structlog.get_logger(__name__)

BY_ITSELF = "model.rolled-back"
_TRY_AGAIN_NS = 60_000_000_000
MakeShadow = Callable[[str], SecondDetector]
"""A second detector for a model's name."""


class ModelKeeper:
    """One station's. A step is one look at the store; loading a model takes longer, the line goes on meanwhile.

    Args:
        changed: called after another model came into use.
        second: makes the process of a shadow model.
    """

    def __init__(
        self,
        *,
        station_id: str,
        cycle_ms: float,
        models: StationModels,
        shadow: Shadow,
        options: ShadowSection,
        second: MakeShadow,
        pause: Pause,
        store: Store,
        clock: Clock,
        health: Health,
        sender: Sender,
        rules: WatchRules,
    ) -> None:
        self._station_id = station_id
        self._cycle_ms = cycle_ms
        self._models = models
        self._shadow = shadow
        self._options = options
        self._second = second
        self._pause = pause
        self._store = store
        self._clock = clock
        self._health = health
        self._sender = sender
        self._rules = rules
        self._refused: Mapping[str, Promotion] | None = None
        self._again_ns = 0
        self._number = 0
        self._shadowing: tuple[str, str] | None = None
        self._unusable = False
        self._alarm = ""
        self._counted = -1
        self._suspected_at: int | None = None

    def step(self) -> bool:
        """Follow and watch. Raises Transient: the store is not available."""
        with self._store.reader() as unit:
            found, chosen = promotions(unit, self._station_id), shadow_choice(unit, self._station_id)
        self._follow(found)
        self._follow_shadow(self._wanted_shadow(chosen))
        if found and found[-1].state is PromotionState.WATCHED:
            self._watch(found[-1])
        return False

    # --- which model stands where -----------------------------------------------------------------------------------

    def _follow(self, found: list[Promotion]) -> None:
        wanted = in_force(found)
        is_new = not self._in_use(wanted) or any(one.state is PromotionState.ASKED for one in found[-1:])
        if self._is_refused(wanted) or (self._models.is_in_order() and not is_new):
            return
        try:
            self._stand(wanted)
        except ConfigError as error:
            self._refuse(found, wanted, str(error))
            return
        if is_new:
            self._taken(found)
        self._number = len(found)

    def _is_refused(self, wanted: Mapping[str, Promotion]) -> bool:
        """It could not be had, and it is too early to try again."""
        return wanted == self._refused and self._clock.monotonic_ns() < self._again_ns

    def _in_use(self, wanted: Mapping[str, Promotion]) -> bool:
        return self._models.stand_ins == {word: named(one.model) for word, one in wanted.items()}

    def _stand(self, wanted: Mapping[str, Promotion]) -> None:
        self._models.stand(stand_ins(self._models, wanted))

    def _taken(self, found: list[Promotion]) -> None:
        """It is in use: from now on its promotion is watched, against how the station did before."""
        now = self._clock.now()
        with self._store.unit() as unit:
            if found and found[-1].state is PromotionState.ASKED:
                before = standing(unit.inspections.latest(self._rules.window_parts, station_id=self._station_id))
                watched = {"state": PromotionState.WATCHED, "since": now, "before": before}
                amend(unit, self._station_id, found[-1], **watched)
            self._note(unit, "model.taken", self._told())
            unit.commit()
        if len(found) < self._number:
            metrics.MODEL_ROLLBACKS.labels(self._station_id, "by hand").inc()
        else:
            self._alarm = ""
        self._refused, self._suspected_at, self._counted = None, None, -1
        self.report()
        log.warning("another model is in use", station=self._station_id, models=self._told())

    def _refuse(self, found: list[Promotion], wanted: Mapping[str, Promotion], why: str) -> None:
        """It cannot be had: one that never was in use is taken back, another is tried again, or a person decides."""
        self._refused, self._again_ns = wanted, self._clock.monotonic_ns() + _TRY_AGAIN_NS
        self._alarm = f"the model that was promoted cannot be had: {why}"
        if found and found[-1].state is PromotionState.ASKED:
            with self._store.unit() as unit:
                if promotions(unit, self._station_id)[-1:] == found[-1:]:
                    take_back(unit, self._station_id, by=self._sender.agent, action="model.refused", why=why)
                unit.commit()
        self.report()

    def report(self) -> None:
        """Which models are in use, or what is wrong, on the health board."""
        condition = Condition.DEGRADED if self._alarm else Condition.OK
        self._health.report(f"model:{self._station_id}", condition, self._alarm or self._told(), at=self._clock.now())

    def _told(self) -> str:
        return ", ".join(f"{word}: {named(self._models.live(word))}" for word in self._models.words)

    def _note(self, unit: UnitOfWork, action: str, detail: str) -> None:
        subject = f"station:{self._station_id}"
        unit.audit.append(actor=self._sender.agent, action=action, subject=subject, detail=detail)

    # --- the watch --------------------------------------------------------------------------------------------------

    def _watch(self, promotion: Promotion) -> None:
        since = promotion.since
        with self._store.reader() as unit:
            count = sum(unit.inspections.count(since, station_id=self._station_id).values())
            if since is None or count == self._counted:
                return
            newest = unit.inspections.latest(self._rules.window_parts, station_id=self._station_id)
        self._counted = count
        after = standing(one for one in newest if one.started_at >= since)
        worse = fallen(promotion.before, after, self._rules, self._cycle_ms)
        if worse and self._is_confirmed(count):
            self._roll_back(promotion, worse)
        elif not worse:
            self._suspected_at = None
            if count >= self._rules.parts:
                self._settle(promotion, count)

    def _is_confirmed(self, count: int) -> bool:
        """Has it been so for some parts more than when it was seen first?"""
        if self._suspected_at is None:
            self._suspected_at = count
            log.warning("a promoted model does worse than the one before", station=self._station_id, parts=count)
        return count >= self._suspected_at + self._rules.confirm_parts

    def _roll_back(self, promotion: Promotion, worse: str) -> None:
        """Written down first: the store says what stands where, also after a power cut in between."""
        text = f"{named(promotion.model)} was taken back at {self._station_id}: {worse}"
        with self._store.unit() as unit:
            if promotions(unit, self._station_id)[-1:] != [promotion]:
                return
            take_back(unit, self._station_id, by=self._sender.agent, action=BY_ITSELF, why=worse)
            left = promotions(unit, self._station_id)
            unit.outbox.add(self._alarm_event(text))
            unit.commit()
        metrics.MODEL_ROLLBACKS.labels(self._station_id, "by itself").inc()
        self._alarm = text
        try:
            self._stand(in_force(left))
        except ConfigError as error:
            self._alarm += f"; the one before cannot be had: {error}"
            self._pause.set(Reason(code=PAUSED, text=self._alarm))
            self._refused, self._again_ns = in_force(left), self._clock.monotonic_ns() + _TRY_AGAIN_NS
        self._number = len(left)
        self._suspected_at = None
        self.report()
        log.error("a promoted model was taken back", station=self._station_id, change=change_of(promotion), why=worse)

    def _alarm_event(self, text: str) -> OutboundMessage:
        return outbound.error(
            "model",
            topic=self._sender.topic_root,
            reason_code=BY_ITSELF,
            detail=text,
            original=b"",
            sender=self._sender,
            clock=self._clock,
        )

    def _settle(self, promotion: Promotion, parts: int) -> None:
        with self._store.unit() as unit:
            if amend(unit, self._station_id, promotion, state=PromotionState.SETTLED) is not None:
                self._note(unit, "model.settled", f"{named(promotion.model)} did no worse over {parts} parts")
            unit.commit()

    # --- the shadow -------------------------------------------------------------------------------------------------

    def _wanted_shadow(self, chosen: Mapping[str, str] | None) -> tuple[str, str] | None:
        """Model and word; what was chosen at the terminal goes before what is configured."""
        model = self._options.model if chosen is None else chosen["model"]
        word = self._options.instead_of if chosen is None else chosen["word"]
        return (model, word or "") if model else None

    def _follow_shadow(self, wanted: tuple[str, str] | None) -> None:
        if wanted == self._shadowing and (wanted is None or self._is_looked_after()):
            return
        self._shadowing, self._unusable = wanted, False
        component = f"shadow:{self._station_id}"
        try:
            candidate = self._candidate(*wanted) if wanted else None
        except ConfigError as error:
            self._shadow.choose(None)
            self._unusable = True
            self._health.report(component, Condition.DEGRADED, str(error), at=self._clock.now())
            return
        self._shadow.choose(candidate)
        told = f"{named(candidate.ref)} will look beside the live model" if candidate else "no model looks"
        self._health.report(component, Condition.OK, told, at=self._clock.now())

    def _is_looked_after(self) -> bool:
        """Somebody looks, or cannot; else its thread was restarted and has let go of it."""
        return self._shadow.candidate is not None or self._unusable or self._shadow.unusable

    def _candidate(self, model: str, word: str) -> Candidate:
        word = the_word(self._models, word)
        ref = self._models.ref(model)
        imagined: dict[str, Recipe] = {}

        def recipe(live: Recipe) -> Recipe:
            known = imagined.get(live.ref.sha256)
            if known is None:
                known = imagined[live.ref.sha256] = self._models.imagined(live, named(ref))
            return known

        return Candidate(ref=ref, word=word, detector=self._second(named(ref)), recipe=recipe)


def the_word(models: StationModels, word: str) -> str:
    """The model of the recipes in whose place another shall stand.

    Raises:
        ConfigError: no recipe names it, or several are named and none was said.
    """
    words = models.words
    if word in words:
        return word
    if not word and len(words) == 1:
        return words[0]
    asked = f"{word!r} is not among them" if word else "say which one is meant (instead_of)"
    raise ConfigError(f"the recipes of this station name {', '.join(words)}; {asked}")


def stand_ins(models: StationModels, wanted: Mapping[str, Promotion]) -> dict[str, str]:
    """Word to model, each the very one that was promoted.

    Raises:
        ConfigError: one is another file than was promoted.
    """
    for one in wanted.values():
        found = models.ref(named(one.model))
        if found.sha256 != one.model.sha256:
            text = f"sha256 {found.sha256[:12]}..., promoted was {one.model.sha256[:12]}..."
            raise ConfigError(f"model {named(one.model)} is another one than {one.by} promoted: {text}")
    return {word: named(one.model) for word, one in wanted.items()}


def shadow_process(models: StationModels, options: ShadowSection, station_id: str) -> MakeShadow:
    """Makes the process in which a shadow model looks."""
    return lambda name: ShadowProcess(models.folder(name), options, name=f"shadow {station_id}")

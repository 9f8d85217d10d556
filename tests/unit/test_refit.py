"""Learning weights: with no cases the catalogue, with many what happened here, and never harm."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from edge_agent.domain.faults import Transient
from edge_agent.domain.inference import BACKGROUND as BACKGROUND_FACT
from edge_agent.domain.inference import SEED, Weights, backgrounds, from_record, posterior, remembered
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning.learner import FIT_REST, HISTORY, STALE, WEIGHTS, Learner, roll_back
from edge_agent.learning.refit import Refit, refit
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine, pcb

CATALOGUE = pcb()
BACKGROUND = backgrounds(CATALOGUE)


def case(number: int, cause: str, tokens: dict[str, int], weight: float = 1.0) -> ConfirmedCase:
    return ConfirmedCase(
        incident_id=UUID(int=number),
        order_id=UUID(int=number),
        cause_id=cause,
        code="open",
        line_id="L1",
        tokens=tokens,
        weight=weight,
        confirmed_at=datetime(2026, 1, 1, tzinfo=UTC),
        first_suspect=None,
    )


def here_scratches_show_as_streaks(count: int, seed: int = 1) -> list[ConfirmedCase]:
    """A plant where handling scratches (A20) show as streaks, which the catalogue does not know."""
    random = np.random.default_rng(seed)
    made: list[ConfirmedCase] = []
    for number in range(1, count + 1):
        if number % 2:
            tokens = {"sp:streak": 1, "class:open": 1, "strat:rack": 1 if random.random() < 0.5 else -1}
            made.append(case(number, "A20", tokens))
        else:
            made.append(case(number, "A16", {"tel:etch_temp_c+": 1, "class:open": 1, "sp:streak": -1}))
    return made


def noise(count: int) -> list[ConfirmedCase]:
    random = np.random.default_rng(3)
    causes = [cause.cause_id for cause in CATALOGUE.causes]
    tokens = sorted(CATALOGUE.background)
    return [
        case(n, str(random.choice(causes)), {str(random.choice(tokens)): int(random.choice([-1, 1])) for _ in range(6)})
        for n in range(1, count + 1)
    ]


def first(tokens: dict[str, int], weights: Weights) -> str:
    return posterior(CATALOGUE, remembered(tokens), BACKGROUND, weights)[0].cause_id


def test_few_cases_change_nothing() -> None:
    fitted = refit(here_scratches_show_as_streaks(3), CATALOGUE, BACKGROUND, version="w1")
    assert not fitted.activate
    assert fitted.weights is SEED


def test_what_happens_here_is_learned() -> None:
    seen = {"sp:streak": 1, "class:open": 1}
    assert first(seen, SEED) != "A20"
    fitted = refit(here_scratches_show_as_streaks(24), CATALOGUE, BACKGROUND, version="w1")
    assert fitted.activate
    assert fitted.loss < fitted.seed_loss
    assert first(seen, fitted.weights) == "A20"


def test_what_was_not_seen_here_is_left_to_the_catalogue() -> None:
    fitted = refit(here_scratches_show_as_streaks(24), CATALOGUE, BACKGROUND, version="w1")
    dust = {"tel:room_particles_m3+": 1, "class:pin_hole": 1}
    assert first(dust, SEED) == first(dust, fitted.weights) == "A03"


def test_noise_is_not_activated() -> None:
    fitted = refit(noise(30), CATALOGUE, BACKGROUND, version="w1")
    if fitted.activate:  # it may find a trace of order, never at a cost
        assert fitted.loss <= fitted.seed_loss


def test_a_fit_that_is_worse_on_new_cases_than_the_present_one_is_refused() -> None:
    known = here_scratches_show_as_streaks(24)
    sharp = Weights(version="sharp", gain=0.8, matrix={"A20": {"sp:streak": (12.0, 0.0)}}, bias={"A20": 2.0})
    fitted = refit(
        known, CATALOGUE, BACKGROUND, sharp, unseen=[one for one in known if one.cause_id == "A20"], version="w"
    )
    assert not fitted.activate
    assert "worse than the present weights" in fitted.reason


def test_untrusted_labels_move_less() -> None:
    def belief(weight: float) -> float:
        cases = [
            case(one.order_id.int, one.cause_id, dict(one.tokens), weight) for one in here_scratches_show_as_streaks(16)
        ]
        weights = refit(cases, CATALOGUE, BACKGROUND, version="w").weights
        scored = posterior(CATALOGUE, remembered({"sp:streak": 1, "class:open": 1}), BACKGROUND, weights)
        return next(one.p for one in scored if one.cause_id == "A20")

    assert belief(0.1) < belief(1.0)


def test_what_any_incident_here_shows_earns_nothing_any_more() -> None:
    """Here there is always a cleaning before trouble: it is no sign of dirt on a phototool."""
    random = np.random.default_rng(4)
    etching = [
        case(n, "A16", {"tel:etch_temp_c+": 1, "tm:cleaning": int(random.choice([1, 1, -1]))}) for n in range(30)
    ]
    weights = refit(etching, CATALOGUE, BACKGROUND, version="w").weights
    assert weights.background["tm:cleaning"] > 2 * BACKGROUND["tm:cleaning"]
    dirt = {"sp:repeat": 1, "tm:cleaning": 1, "class:open": 1}
    earned = [
        next(one.deltas["tm:cleaning"] for one in posterior(CATALOGUE, remembered(dirt), BACKGROUND, known))
        / known.gain
        for known in (SEED, weights)
    ]
    assert earned[1] < 0.7 * earned[0]


def test_causes_that_the_catalogue_lacks_are_kept_as_they_looked() -> None:
    odd = [case(n, "OTHER", {"sp:edge": 1, "class:pin_hole": 1, "sp:repeat": -1}) for n in range(1, 7)]
    weights = refit([*odd, *here_scratches_show_as_streaks(12)], CATALOGUE, BACKGROUND, version="w").weights
    assert len(weights.unlisted) == 6
    scored = posterior(CATALOGUE, remembered(dict(odd[0].tokens)), BACKGROUND, weights)
    assert scored[0].cause_id == "OTHER"


def test_what_the_rate_said_of_chance_is_not_learned_again() -> None:
    """Thirty clear faults are no reason to think less of chance where the rate itself speaks for it."""
    clear = [replace(one, excess=60.0) for one in here_scratches_show_as_streaks(30)]
    told, untold = (
        refit(cases, CATALOGUE, BACKGROUND, version="w").weights.bias.get("NONE", 0.0)
        for cases in (clear, here_scratches_show_as_streaks(30))
    )
    assert told > untold


def learned(line: DiagnosedLine, cases: Sequence[ConfirmedCase]) -> Weights:
    with line.store.unit() as uow:
        for one in cases:
            uow.answers.save_case(one)
        uow.facts.set(STALE, True)
        uow.commit()
    line.clock.advance(10)
    learner = Learner(store=line.store, clock=line.clock, catalogue=CATALOGUE, sender=SENDER)
    while learner.step():
        pass
    with line.store.reader() as uow:
        return from_record(uow.facts.get(WEIGHTS))


def test_the_learner_activates_keeps_versions_and_rolls_back(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    one = learned(line, here_scratches_show_as_streaks(12))
    two = learned(line, here_scratches_show_as_streaks(20))
    assert one.version != "seed"
    assert two.version != one.version
    with line.store.unit() as uow:
        assert len(uow.facts.get(HISTORY)) == 2
        assert roll_back(uow).version == one.version
        assert roll_back(uow).version == "seed"
        noted = [(entry.action, entry.detail.split(":")[0], entry.after) for entry in uow.audit.rows()]
        assert [version for _, version, _ in noted] == [one.version, two.version, one.version, "seed"]
        assert {action for action, _, _ in noted} == {"weights.activated"}
        assert noted[0][2] == noted[2][2] != noted[1][2]
        assert noted[3][2] == ""
        uow.commit()


def test_a_fit_that_fails_is_put_off_and_the_present_weights_stay(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    with line.store.unit() as uow:
        for one in here_scratches_show_as_streaks(12):
            uow.answers.save_case(one)
        uow.facts.set(STALE, True)
        uow.commit()
    fits: list[Refit] = []

    def fit(*arguments: Any, **named: Any) -> Refit:
        if not fits:
            fits.append(refit(*arguments, **named))
            raise Transient("the process died")
        return fits[0]

    learner = Learner(store=line.store, clock=line.clock, catalogue=CATALOGUE, sender=SENDER, fit=fit)
    line.clock.advance(10)
    assert not learner.step()
    assert not learner.step()  # it rests: one try so far
    with line.store.reader() as uow:
        assert (uow.facts.get(STALE), uow.facts.get(WEIGHTS)) == (True, None)
    line.clock.advance(FIT_REST.total_seconds() + 1)
    assert learner.step()
    with line.store.reader() as uow:
        assert from_record(uow.facts.get(WEIGHTS)).version == fits[0].weights.version


def test_weights_are_fitted_to_what_is_normal_on_this_line(tmp_path: Path) -> None:
    line = DiagnosedLine(tmp_path)
    with line.store.unit() as uow:
        uow.answers.save_case(here_scratches_show_as_streaks(1)[0])
        uow.facts.set(BACKGROUND_FACT, {"tm:cleaning": [95.0, 100.0]})
        uow.facts.set(STALE, True)
        uow.commit()
    given: list[float] = []

    def fit(*arguments: Any, **named: Any) -> Refit:
        given.append(arguments[2]["tm:cleaning"])
        return refit(*arguments, **named)

    Learner(store=line.store, clock=line.clock, catalogue=CATALOGUE, sender=SENDER, fit=fit).step()
    assert given[0] > 0.8

"""Feedback that is wrong, lazy or foreign must not win; what nobody listed is suggested; two causes are told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.cli import build
from edge_agent.domain.cause import OTHER
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.inference import (
    SEED,
    Weights,
    as_record,
    backgrounds,
    measured_background,
    posterior,
    remembered,
)
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning.learner import HISTORY, WEIGHTS
from edge_agent.learning.refit import refit
from edge_agent.learning.suggest import suggestions
from edge_agent.responding.given import known_from, ranking
from tests.fakes.clock import FakeClock
from tests.fakes.diagnosed_line import pcb

CATALOGUE = pcb()
BACKGROUND = backgrounds(CATALOGUE)
KNOWN = known_from(CATALOGUE, None, SEED)
TYPICAL = {
    "A15": {"tel:etch_temp_c-": 1, "class:short": 1, "sp:streak": -1, "tel:etch_cu_g_l+": -1, "sp:repeat": -1},
    "A01": {"sp:repeat": 1, "strat:phototool": 1, "class:open": 1, "sp:streak": -1},
    "A17": {"sp:streak": 1, "strat:side": 1, "class:spurious_copper": 1, "sp:repeat": -1},
    "A03": {"tel:room_particles_m3+": 1, "class:pin_hole": 1, "sp:repeat": -1, "sp:streak": -1},
}


def case(number: int, cause: str, tokens: dict[str, int], weight: float = 1.0, text: str = "") -> ConfirmedCase:
    return ConfirmedCase(
        incident_id=UUID(int=number),
        order_id=UUID(int=number),
        cause_id=cause,
        code="",
        line_id="L1",
        tokens=tokens,
        weight=weight,
        confirmed_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
        first_suspect=None,
        text=text,
    )


def facts(*tokens: str) -> list[Evidence]:
    return [
        Evidence(
            evidence_id=f"E{place}",
            tool="t@1",
            token=token.lstrip("!"),
            statement="",
            polarity=Polarity.ABSENT if token.startswith("!") else Polarity.PRESENT,
            strength=0.95,
            n=9,
        )
        for place, token in enumerate(tokens, start=1)
    ]


def right(weights: Weights) -> int:
    """Of the typical incidents: how many are still told rightly."""
    return sum(
        posterior(CATALOGUE, remembered(tokens), BACKGROUND, weights)[0].cause_id == cause
        for cause, tokens in TYPICAL.items()
    )


def honest(count: int) -> list[ConfirmedCase]:
    names = sorted(TYPICAL)
    return [case(n, names[n % 4], TYPICAL[names[n % 4]]) for n in range(1, count + 1)]


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_wrong_labels_do_not_win(share: float) -> None:
    random = np.random.default_rng(3)
    causes = [cause.cause_id for cause in CATALOGUE.causes]
    poisoned = [
        replace(one, cause_id=str(random.choice(causes))) if random.random() < share else one for one in honest(48)
    ]
    fitted = refit(poisoned, CATALOGUE, BACKGROUND, version="w")
    assert right(fitted.weights if fitted.activate else SEED) == len(TYPICAL)


def test_a_lazy_yes_to_one_favourite_does_not_win() -> None:
    """Somebody closes a third of all orders with the same cause, without work: trusted least, it moves nothing."""
    lazy = [case(100 + n, "A20", one.tokens, weight=0.3) for n, one in enumerate(honest(16))]
    fitted = refit([*honest(32), *lazy], CATALOGUE, BACKGROUND, version="w")
    assert right(fitted.weights if fitted.activate else SEED) == len(TYPICAL)


def test_a_wrong_row_is_put_right_by_a_dozen_cases() -> None:
    """The catalogue looks for a cold bath where this plant's bath is hot."""
    here = {**TYPICAL["A15"], "tel:etch_temp_c-": -1, "tel:etch_temp_c+": 1}
    cases = [case(n, "A15", here) if n % 2 else honest(n)[-1] for n in range(1, 25)]
    assert posterior(CATALOGUE, remembered(here), BACKGROUND)[0].cause_id != "A15"
    fitted = refit(cases, CATALOGUE, BACKGROUND, version="w")
    assert fitted.activate
    assert posterior(CATALOGUE, remembered(here), BACKGROUND, fitted.weights)[0].cause_id == "A15"


def test_probabilities_are_calibrated_from_thirty_cases_on() -> None:
    few = refit(honest(20), CATALOGUE, BACKGROUND, version="w").weights
    many = refit(honest(40), CATALOGUE, BACKGROUND, version="w").weights
    assert few.temperature == SEED.temperature
    assert 0.3 < many.temperature < 1.0  # always right: it may be surer


def test_three_others_that_look_alike_are_suggested() -> None:
    spark = {"sp:cluster": 1, "tel:room_rh_pct-": 1, "class:pin_hole": 1, "tm:step": 1}
    cases = [case(n, OTHER, spark, text="static at the lifter") for n in range(3)]
    cases += [case(9, OTHER, {"sp:edge": 1}), case(10, "A03", spark)]
    (one,) = suggestions(cases, {"tm:step": 0.97})
    assert one.cases == 3
    assert set(one.tokens) == {"sp:cluster", "tel:room_rh_pct-"}
    assert one.classes == ("pin_hole",)
    assert one.texts == ("static at the lifter",)
    assert suggestions(cases[1:], {}) == ()


def test_what_failed_its_recovery_test_suggests_nothing() -> None:
    cases = [replace(case(n, OTHER, {"sp:cluster": 1}), recovered=False) for n in range(3)]
    assert suggestions(cases, {}) == ()


def test_two_causes_are_told_and_one_is_not_split() -> None:
    one = ("sp:streak", "strat:side", "tel:etch_spray_bar+", "class:spurious_copper", "!sp:repeat")
    assert ranking(KNOWN, facts(*one)).second is None
    dust = ("tel:room_particles_m3+", "tel:filter_dp_kpa-", "tm:filter_change", "class:pin_hole")
    both = ranking(KNOWN, facts(*one, *dust))
    assert {both.hypotheses[0].cause_id, both.second.cause_id if both.second else ""} == {"A03", "A17"}


def test_the_line_s_own_measurements_outweigh_the_catalogue_s_guess() -> None:
    rates = measured_background({"tm:maintenance": (80.0, 100.0), "sp:new": (0.0, 50.0)}, CATALOGUE)
    assert rates["tm:maintenance"] > 0.7
    assert rates["sp:new"] < 0.05


# --- metamorphic: no truth is needed --------------------------------------------------------------------------------


def first(tokens: Sequence[str]) -> str:
    return ranking(KNOWN, facts(*tokens)).hypotheses[0].cause_id


DECISIVE = {
    "A15": ("tel:etch_temp_c-", "class:short", "!sp:streak"),
    "A14": ("tel:etch_cu_g_l+", "class:short", "!sp:streak"),
    "A08": ("tel:expo_energy_mj_cm2-", "class:mousebite", "!sp:repeat"),
    "A06": ("tel:lam_temp_c-", "class:mousebite", "!sp:repeat"),
    "A17": ("sp:streak", "tel:etch_spray_bar+", "class:spurious_copper"),
    "A01": ("sp:repeat", "strat:phototool", "class:open"),
    "A20": ("sp:line", "strat:rack", "class:open"),
}


@pytest.mark.parametrize("cause", sorted(cause for cause, tokens in DECISIVE.items() if tokens[0].startswith("tel:")))
def test_a_decisive_sign_turned_round_changes_the_first_suspect(cause: str) -> None:
    decisive, *rest = DECISIVE[cause]
    assert first(DECISIVE[cause]) == cause
    turned = decisive[:-1] + ("-" if decisive.endswith("+") else "+")
    assert first((turned, f"!{decisive}", *rest)) != cause


@pytest.mark.parametrize("cause", sorted(DECISIVE))
def test_without_the_decisive_evidence_confidence_falls(cause: str) -> None:
    def p(tokens: Sequence[str]) -> float:
        return next(one.p for one in ranking(KNOWN, facts(*tokens)).hypotheses if one.cause_id == cause)

    assert p(DECISIVE[cause][1:]) < p(DECISIVE[cause]) - 0.1


def test_an_irrelevant_sensor_changes_nothing() -> None:
    tokens = DECISIVE["A15"]
    before = {one.cause_id: one.p for one in ranking(KNOWN, facts(*tokens)).hypotheses}
    after = {one.cause_id: one.p for one in ranking(KNOWN, facts(*tokens, "tel:coffee_c+")).hypotheses}
    assert max(abs(before[cause] - after[cause]) for cause in before) < 0.02


# --- weights --------------------------------------------------------------------------------------------------------


def test_weights_are_listed_and_rolled_back(tmp_path: Path) -> None:
    store = Database(sqlite_url(tmp_path), clock=FakeClock())
    store.migrate()
    records = [as_record(Weights(version=f"fit-{n}", temperature=0.9)) for n in (1, 2)]
    with store.unit() as uow:
        kept = [{"weights": one, "orders": ["a"] * 6, "loss": 0.5, "seed_loss": 0.9} for one in records]
        uow.facts.set(HISTORY, kept)
        uow.facts.set(WEIGHTS, records[-1])
        uow.commit()
    store.close()

    def weights(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(build("weights"), ["weights", *words, "--state", str(tmp_path)])
        return done.exit_code, done.output

    assert "* fit-2  6 cases" in weights("list")[1]
    assert "in use: fit-1" in weights("rollback")[1]
    assert "* fit-1" in weights("list")[1]
    assert "the catalogue alone" in weights("rollback")[1]
    assert weights("rollback")[0] == 1

"""The ranking's arithmetic: properties that need no truth."""

import json
from dataclasses import replace
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause, Signature, TokenExpectation
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.inference import (
    EXTENTS,
    SEED,
    Observation,
    Weights,
    as_record,
    backgrounds,
    from_record,
    observe,
    posterior,
    prior,
    remembered,
    support,
)
from tests.fakes.diagnosed_line import pcb

CATALOGUE = pcb()
BACKGROUND = backgrounds(CATALOGUE)
TOKENS = sorted(BACKGROUND)

observations = st.dictionaries(
    st.sampled_from(TOKENS), st.sampled_from([0.02, 0.1, 0.9, 0.98]), min_size=1, max_size=12
).map(lambda seen: {token: Observation(token=token, seen=p) for token, p in seen.items()})


def fact(
    token: str | None, polarity: Polarity = Polarity.PRESENT, strength: float = 0.95, name: str = "E1"
) -> Evidence:
    return Evidence(evidence_id=name, tool="t@1", token=token, statement="", polarity=polarity, strength=strength, n=1)


def ranking(catalogue: Catalogue, observed: dict[str, Observation], **more: object) -> list[str]:
    return [one.cause_id for one in posterior(catalogue, observed, BACKGROUND, **more)]  # type: ignore[arg-type]


@given(observations)
def test_a_posterior_is_a_distribution_and_its_terms_add_up_to_its_logit(observed: dict[str, Observation]) -> None:
    scored = posterior(CATALOGUE, observed, BACKGROUND)
    assert sum(one.p for one in scored) == pytest.approx(1.0)
    assert {NONE, OTHER} <= {one.cause_id for one in scored}
    priors = prior(CATALOGUE)
    rest = {one.cause_id: one.logit - log(priors[one.cause_id]) - sum(one.deltas.values()) for one in scored}
    most, least = (SEED.gain * log(one) for one in (len(EXTENTS) * EXTENTS[0][1], EXTENTS[-1][1]))
    for cause in CATALOGUE.causes:  # the best way to show itself, among several
        assert least - SEED.gain * log(len(cause.signatures)) - 1e-9 <= rest[cause.cause_id] <= most + 1e-9
    assert rest[NONE] == pytest.approx(max(rest[OTHER], 0.0))


def test_two_causes_share_what_one_of_them_cannot_explain() -> None:
    dust = ("tel:room_particles_m3+", "tel:filter_dp_kpa-", "tm:filter_change", "class:pin_hole")
    bath = ("tel:etch_temp_c-", "class:short", "class:spurious_copper")
    both = posterior(CATALOGUE, remembered(dict.fromkeys((*dust, *bath), 1)), BACKGROUND)
    assert [one.cause_id for one in both[:2]] == ["A03", "A15"]
    assert 0.4 < both[0].p < 0.6
    assert both[1].p > 0.2
    alone = {one.cause_id: one.p for one in posterior(CATALOGUE, remembered(dict.fromkeys(dust, 1)), BACKGROUND)}
    assert alone["A03"] > 0.85


def test_a_row_of_which_little_shows_is_not_ruled_out_symptom_by_symptom() -> None:
    row = tuple(TokenExpectation(token=f"t{place}", p=0.8) for place in range(6))
    cause = replace(CATALOGUE.causes[0], classes={}, signatures=(Signature(all_of=row),))
    usual = dict.fromkeys((one.token for one in row), 0.02)

    def total(*signs: int) -> float:
        tokens = {one.token: sign for one, sign in zip(row, signs, strict=False)}
        return support(cause, CATALOGUE, remembered(tokens), usual).total

    assert total(1, -1, -1, -1, -1, -1) > total(1) + 5 * total(-1) + 0.5


def test_what_was_not_in_the_catalogue_is_known_when_it_comes_again() -> None:
    spark = {"sp:edge": 1, "class:pin_hole": 1, "tel:room_rh_pct+": -1, "sp:repeat": -1}
    before = posterior(CATALOGUE, remembered(spark), BACKGROUND)
    after = posterior(CATALOGUE, remembered(spark), BACKGROUND, Weights(version="w", unlisted=(spark, spark)))
    other = [next(one.p for one in scored if one.cause_id == OTHER) for scored in (before, after)]
    assert other[1] > 2 * other[0]


@given(observations, st.floats(0.02, 0.98))
def test_a_sensor_that_no_cause_expects_changes_nothing(observed: dict[str, Observation], seen: float) -> None:
    more = {**observed, "tel:coffee_temp_c+": Observation(token="tel:coffee_temp_c+", seen=seen)}
    before = {one.cause_id: one.p for one in posterior(CATALOGUE, observed, BACKGROUND)}
    after = {one.cause_id: one.p for one in posterior(CATALOGUE, more, BACKGROUND)}
    assert max(abs(before[cause] - after[cause]) for cause in before) < 0.02


@given(observations)
def test_the_same_fact_found_twice_counts_once(observed: dict[str, Observation]) -> None:
    facts = [fact(token, Polarity.PRESENT if one.seen > 0.5 else Polarity.ABSENT) for token, one in observed.items()]
    again = [replace(one, evidence_id=f"{one.evidence_id}b", tool="u@1") for one in facts]
    once = posterior(CATALOGUE, observe(facts), BACKGROUND)
    twice = posterior(CATALOGUE, observe([*facts, *again]), BACKGROUND)
    assert [(one.cause_id, one.p) for one in once] == [(one.cause_id, one.p) for one in twice]


def test_the_surest_sighting_of_a_token_wins() -> None:
    facts = [fact("sp:repeat", Polarity.ABSENT, 0.9, "E1"), fact("sp:repeat", Polarity.PRESENT, 0.97, "E2")]
    assert observe(facts)["sp:repeat"].evidence_id == "E2"


def test_what_could_not_be_looked_for_is_no_observation() -> None:
    assert observe([fact("sp:repeat", Polarity.UNKNOWN, 0.0), fact(None)]) == {}


@given(observations, st.permutations(range(len(CATALOGUE.causes))))
@settings(max_examples=40)
def test_names_and_places_of_causes_do_not_matter(observed: dict[str, Observation], order: list[int]) -> None:
    names = {cause.cause_id: f"X{place}" for place, cause in enumerate(CATALOGUE.causes)}
    shuffled = tuple(CATALOGUE.causes[place] for place in order)
    renamed = replace(CATALOGUE, causes=tuple(replace(one, cause_id=names[one.cause_id]) for one in shuffled))
    before = {one.cause_id: one.p for one in posterior(CATALOGUE, observed, BACKGROUND)}
    after = {one.cause_id: one.p for one in posterior(renamed, observed, BACKGROUND)}
    for cause, name in names.items():
        assert after[name] == pytest.approx(before[cause])


@given(observations)
def test_evidence_order_does_not_matter(observed: dict[str, Observation]) -> None:
    turned = dict(reversed(observed.items()))
    first, second = posterior(CATALOGUE, observed, BACKGROUND), posterior(CATALOGUE, turned, BACKGROUND)
    assert {one.cause_id: round(one.p, 12) for one in first} == {one.cause_id: round(one.p, 12) for one in second}


@pytest.mark.parametrize(
    ("tokens", "cause"),
    [
        (("tel:etch_temp_c-", "class:short"), "A15"),
        (("sp:repeat", "strat:phototool", "class:open"), "A01"),
        (("sp:repeat", "strat:phototool", "class:short", "class:spurious_copper"), "A02"),
        (("sp:streak", "strat:side", "class:spurious_copper"), "A17"),
        (("tel:room_particles_m3+", "class:pin_hole"), "A03"),
    ],
)
def test_decisive_evidence_decides_and_inverted_evidence_undecides(tokens: tuple[str, ...], cause: str) -> None:
    seen = {token: Observation(token=token, seen=0.97) for token in tokens}
    assert ranking(CATALOGUE, seen)[0] == cause
    inverted = seen | {tokens[0]: Observation(token=tokens[0], seen=0.03)}
    before = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND) if one.cause_id == cause)
    after = next(one.p for one in posterior(CATALOGUE, inverted, BACKGROUND) if one.cause_id == cause)
    assert after < before / 2


def test_nothing_found_is_chance_or_unknown() -> None:
    absent = {token: Observation(token=token, seen=0.05) for token in CATALOGUE.background}
    assert ranking(CATALOGUE, absent)[0] == NONE


def test_a_condition_that_is_normal_here_earns_nothing() -> None:
    seen = {"tel:etch_temp_c-": Observation(token="tel:etch_temp_c-", seen=0.97)}
    usual = BACKGROUND | {"tel:etch_temp_c-": 0.85}
    rare = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND) if one.cause_id == "A15")
    here = next(one.p for one in posterior(CATALOGUE, seen, usual) if one.cause_id == "A15")
    assert here < rare / 3


def test_what_a_cause_excludes_never_speaks_for_it() -> None:
    cause = Cause(
        cause_id="C",
        name="c",
        category_6m="Man",
        process_step="s",
        occurrence=5,
        detection=5,
        classes={},
        signatures=(
            Signature(
                all_of=(TokenExpectation(token="sp:line", p=0.8),),
                none_of=(TokenExpectation(token="sp:repeat", p=0.3),),
            ),
        ),
    )
    catalogue = Catalogue(domain="d", version="1", causes=(cause,), severity={}, background={"sp:repeat": 0.02})
    seen = {"sp:repeat": Observation(token="sp:repeat", seen=0.97)}
    (one,) = [one for one in posterior(catalogue, seen, backgrounds(catalogue)) if one.cause_id == "C"]
    assert one.deltas["sp:repeat"] < 0


def test_a_confounded_token_weighs_less() -> None:
    sure = {"strat:laminate_lot": Observation(token="strat:laminate_lot", seen=0.97)}
    unsure = {"strat:laminate_lot": Observation(token="strat:laminate_lot", seen=0.97, confounded=True)}
    p = [next(o.p for o in posterior(CATALOGUE, s, BACKGROUND) if o.cause_id == "A21") for s in (unsure, sure)]
    assert p[0] < p[1]


def test_the_rate_speaks_against_chance() -> None:
    seen = {"class:open": Observation(token="class:open", seen=0.97)}
    calm = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND) if one.cause_id == NONE)
    sure = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND, none_penalty=6.0) if one.cause_id == NONE)
    assert sure < calm / 50


def test_learned_weights_move_the_ranking_and_survive_the_store() -> None:
    weights = Weights(
        version="w",
        gain=0.9,
        background={"tm:step": 0.9},
        matrix={"A20": {"sp:line": (3.0, -1.0)}},
        bias={"A20": 0.5},
        unlisted=({"sp:edge": 1, "sp:repeat": -1},),
    )
    assert from_record(as_record(weights)) == weights
    assert from_record(json.loads(json.dumps(as_record(weights)))) == weights
    assert from_record(None).version == "seed"
    seen = {"sp:line": Observation(token="sp:line", seen=0.97)}
    before = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND) if one.cause_id == "A20")
    after = next(one.p for one in posterior(CATALOGUE, seen, BACKGROUND, weights) if one.cause_id == "A20")
    assert after > before


def test_weights_of_an_earlier_version_are_read() -> None:
    earlier = {"version": "w", "gain": 0.9, "matrix": {"A20": {"sp:line": 3.0}}, "bias": {}}
    assert from_record(earlier).matrix == {"A20": {"sp:line": (3.0, 0.0)}}

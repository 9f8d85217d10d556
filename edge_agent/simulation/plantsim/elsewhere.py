"""Other domains, at the level of tokens: there is no physics here.

Incidents are drawn from a catalogue's rows after these were disturbed: every probability is drawn anew around the
row's, some expectations are dropped and others added, backgrounds are dirtier than the catalogue says, sensors are
silent. The truth has the catalogue's form, which flatters; the noise is heavier than on the simulated line, which does
not (the PCB catalogue does worse here than there). Good for comparing catalogues, no forecast for a plant.
"""

from dataclasses import dataclass

import numpy as np

from edge_agent.domain.cause import NONE, OTHER, Catalogue, Cause
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.responding.analyse import Knowledge
from edge_agent.responding.given import ranking
from edge_agent.simulation.plantsim.scoring import Judged, figures

SHARE_NONE, SHARE_OTHER = 0.12, 0.10
DROPPED, ADDED, SILENT, DIRTY = 0.15, 0.05, 0.1, 2.0
CONCENTRATION = 8.0
"""How closely a plant's probabilities follow the row's (beta distribution)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """What this plant does: cause to token to probability, and what happens anyway."""

    shows: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    usual: dict[str, float]


def judge(known: Knowledge, *, seed: int, incidents: int) -> dict[str, object]:
    """The figures of a catalogue on made-up incidents."""
    rng = np.random.default_rng([seed, 61])
    catalogue = known.catalogue
    world = _world(catalogue, rng)
    judged = [_one(known, world, rng) for _ in range(incidents)]
    return {"level": "tokens drawn from the disturbed catalogue, no physics", "incidents": incidents} | figures(judged)


def _world(catalogue: Catalogue, rng: np.random.Generator) -> _World:
    usual = {
        token: float(np.clip(rate * rng.uniform(0.5, DIRTY), 0.005, 0.97))
        for token, rate in catalogue.background.items()
    }
    return _World(
        shows={cause.cause_id: _row(cause, sorted(usual), rng) for cause in catalogue.causes},
        classes={
            cause.cause_id: {code: _near(p, rng) for code, p in cause.classes.items()} for cause in catalogue.causes
        },
        usual=usual,
    )


def _row(cause: Cause, vocabulary: list[str], rng: np.random.Generator) -> dict[str, float]:
    """One signature of the cause as this plant has it; another plant has another one."""
    signature = cause.signatures[int(rng.integers(len(cause.signatures)))]
    expected = {one.token: one.p for one in (*signature.all_of, *signature.any_of)}
    row = {token: _near(p, rng) for token, p in expected.items() if rng.random() >= DROPPED}
    row |= {token: float(rng.uniform(0.2, 0.7)) for token in vocabulary if rng.random() < ADDED / 3}
    return row


def _near(p: float, rng: np.random.Generator) -> float:
    return float(rng.beta(CONCENTRATION * p, CONCENTRATION * (1 - p)))


def _one(known: Knowledge, world: _World, rng: np.random.Generator) -> Judged:
    catalogue, roll = known.catalogue, rng.random()
    causes = list(world.shows)
    weights = np.array([2.0 ** (one.occurrence - 5) for one in catalogue.causes])
    cause = str(rng.choice(causes, p=weights / weights.sum()))
    kind = "none" if roll < SHARE_NONE else "other" if roll < SHARE_NONE + SHARE_OTHER else "one"
    shows, classes = world.shows[cause], world.classes[cause]
    if kind == "none":
        shows = {}
    elif kind == "other":
        shows = {str(token): 0.8 for token in rng.choice(sorted(world.usual), 3, replace=False)}
    evidence = _seen(catalogue, world, shows, classes, rng)
    excess = float(rng.normal(5.0, 2.0)) if kind == "none" else float(rng.normal(40.0, 15.0))
    found = ranking(known, evidence, excess=excess)
    truth = {"none": NONE, "other": OTHER}.get(kind, cause)
    return Judged(
        truth=frozenset({truth}),
        kind=kind,
        fault=truth,
        p={one.cause_id: one.p for one in found.hypotheses},
        unknown=found.unknown_score,
        convicts=found.decision == "act",
    )


def _seen(
    catalogue: Catalogue,
    world: _World,
    shows: dict[str, float],
    classes: dict[str, float],
    rng: np.random.Generator,
) -> list[Evidence]:
    silent = {name for name in {t[:-1] for t in world.usual if t.startswith("tel:")} if rng.random() < SILENT}
    tokens = {
        token: rng.random() < 1 - (1 - shows.get(token, 0.0)) * (1 - usual)
        for token, usual in world.usual.items()
        if token[:-1] not in silent and not token.startswith("class:")
    }
    codes = [code for code in catalogue.severity if code != "not_decidable"]
    tokens |= {f"class:{code}": rng.random() < classes.get(code, 0.05) for code in codes}
    return [
        Evidence(
            evidence_id=f"E{place}",
            tool="made-up@1",
            token=token,
            statement="",
            polarity=Polarity.PRESENT if there else Polarity.ABSENT,
            strength=0.95 if there else 0.85,
            n=1,
        )
        for place, (token, there) in enumerate(sorted(tokens.items()), start=1)
    ]

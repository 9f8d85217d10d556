"""``edge-agent models compare``: two models on the same images, or as they were seen side by side on the line."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.adapters.cameras.image_file import read_image
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.commands.desk import MODELS, Desk, recipe_of
from edge_agent.commands.evaluate_detector import Measured, found_in, measure
from edge_agent.commands.labelled import Labelled, Selection, load, mended
from edge_agent.commands.machine import machine
from edge_agent.commands.models_stand import Plant, StationId, StationOf, own_models, station_of
from edge_agent.commands.stored import State, open_store
from edge_agent.config.plant import RetentionSection
from edge_agent.datasets.draft import Draft
from edge_agent.datasets.sources import verdicts
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.inspection import Disposition
from edge_agent.domain.promotion import beside, nearest_rank
from edge_agent.domain.proportion import clopper_pearson, mcnemar
from edge_agent.domain.quality import wilson
from edge_agent.inspecting.promoting import named, shadow_choice
from edge_agent.inspecting.shadowing import dropped
from edge_agent.observability import logs
from edge_agent.ports import UnitOfWork

Pair = tuple[Measured, Measured]


def compare(
    first: Annotated[str, typer.Argument(help="name or name/version; with --shadow: the one that looks.")] = "",
    second: Annotated[str, typer.Argument(help="name or name/version.")] = "",
    data: Annotated[str, typer.Option(help="Labelled images, as for `edge-agent evaluate detector`.")] = "",
    store: Annotated[
        Path | None, typer.Option(help="A state folder: its stored images, with what people and the agent said.")
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="What was seen side by side on the line.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="Judge parts by this recipe instead of the plain one.")] = None,
    groups: Annotated[str, typer.Option(help="Groups of --data, separated by commas; default all.")] = "",
    split: Annotated[Path | None, typer.Option(help="Split of --data.")] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Judge each defective part again, mended.")] = False,
    models: Annotated[Path, typer.Option(help="The folder of the models.")] = MODELS,
    threads: Annotated[int, typer.Option(min=1, max=64)] = 1,
    station: StationId = "",
    config: Plant = Path("plant_config"),
    state: State = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare two models: recall by class, escapes and overkill with exact intervals, the parts on which they differ
    and whether chance explains that (McNemar), and their times.

    Stored images (--store) are JPEG, which the line never is: both models see the same, and neither sees as well.

    Examples:

    edge-agent models compare board/1 board/2 --data boards:7:200

    edge-agent models compare board/2 board/3 --store state --recipe plant_config/recipes/board-a.yaml --json

    edge-agent models compare --shadow --station aoi-1 --config plant_config
    """
    logs.configure(level="warning", style="console")
    if [bool(data), store is not None, shadow].count(True) != 1:
        raise typer.BadParameter("one of --data, --store and --shadow is expected")
    if shadow:
        figures = _side_by_side(config, state, station, first)
        typer.echo(json.dumps(figures) if as_json else shadow_text(figures))
        return
    if not first or not second:
        raise typer.BadParameter("two models are expected")
    selection = Selection(groups=tuple(name for name in groups.split(",") if name), split=split)
    parts = stored_parts(store) if store else _labelled(data, selection, mend)
    own = own_models(store or state)
    desks = tuple(Desk(recipe_of(recipe, name), models=models, own=own, threads=threads) for name in (first, second))
    pairs = [_both(desks[0], desks[1], part, place % 2 == 1) for place, part in enumerate(parts)]
    figures = compared(pairs, _codes(desks))
    figures["models"] = [f"{desk.detector.ref.name}/{desk.detector.ref.version}" for desk in desks]
    figures |= {"data": data or str(store), "machine": machine(), "threads": threads}
    typer.echo(json.dumps(figures) if as_json else as_text(figures))


def _labelled(data: str, selection: Selection, mend: bool) -> Iterator[Labelled]:
    for part in load(data, selection):
        yield part
        if mend and part.truth and part.golden is not None:
            yield mended(part)


def stored_parts(state: Path) -> Iterator[Labelled]:
    """The box's own images: with defects where a person has said so, without where the agent accepted the part.

    Raises:
        ConfigError: there is no store, or nothing in it can be compared.
    """
    database, clock = open_store(state), SystemClock()
    with database.reader() as unit:
        kept = FolderImages(state / "images", RetentionSection(), clock=clock)
        gathered = verdicts.gather(unit, kept, accepted_too=True)
    database.close()
    drafts = [draft for draft in gathered.drafts if draft.image.is_file()]  # some go with age
    if not drafts:
        raise ConfigError(f"{state}: no stored image is of a part that was accepted, or that a person has judged")
    return (_stored(draft) for draft in drafts)


def _stored(draft: Draft) -> Labelled:
    said_by = "the agent" if draft.label_source == verdicts.AGENT else "people"
    try:
        golden = read_image(draft.golden) if draft.golden else None
        image = read_image(draft.image)
    except PartFault as fault:
        raise ConfigError(fault.text) from fault
    truth = tuple((box.code, box.xyxy_px) for box in draft.boxes)
    return Labelled(name=draft.line, image=image, golden=golden, truth=truth, group=said_by)


def _both(first: Desk, second: Desk, part: Labelled, turned: bool) -> Pair:
    """Which one begins changes from part to part: the second finds the image in the processor's cache."""
    if turned:
        later = measure(second, [part])[0]
        return measure(first, [part])[0], later
    return measure(first, [part])[0], measure(second, [part])[0]


def _codes(desks: Sequence[Desk]) -> list[str]:
    return list(dict.fromkeys(code for desk in desks for code in desk.detector.card.classes))


# --- figures --------------------------------------------------------------------------------------------------------


def compared(pairs: Sequence[Pair], codes: Iterable[str]) -> dict[str, Any]:
    """All figures; each list holds the first model's and the second's.

    Raises:
        ConfigError: there is no part.
    """
    if not pairs:
        raise ConfigError("no parts to compare on")
    bad = [pair for pair in pairs if pair[0].defective]
    good = [pair for pair in pairs if not pair[0].defective]
    return {
        "parts": len(pairs),
        "said_by": _by_group(pairs),
        "recall_by_class": {code: found for code in codes if (found := _recall(pairs, code))},
        "escapes": [_share([_accepted(pair[at]) for pair in bad]) for at in (0, 1)],
        "overkill": [_share([not _accepted(pair[at]) for pair in good]) for at in (0, 1)],
        "parts_judged_rightly": _paired([(_is_right(a), _is_right(b)) for a, b in pairs]),
        "defects_found": _paired([found for pair in pairs for _, found in _found(pair)]),
        "detect_ms": [_times([one.inspection.timings_ms.get("detect", 0.0) for one in each]) for each in _split(pairs)],
        "total_ms": [_times([one.inspection.duration_ms for one in each]) for each in _split(pairs)],
    }


def _by_group(pairs: Sequence[Pair]) -> dict[str, int]:
    groups = [first.part.group or "labels" for first, _ in pairs]
    return {group: groups.count(group) for group in sorted(set(groups))} if len(set(groups)) < 5 else {}


def _split(pairs: Sequence[Pair]) -> tuple[list[Measured], list[Measured]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _accepted(one: Measured) -> bool:
    return one.inspection.disposition is Disposition.ACCEPT


def _is_right(one: Measured) -> bool:
    return _accepted(one) is not one.defective


def _found(pair: Pair) -> list[tuple[str, tuple[bool, bool]]]:
    """Of each defect: its class, and whether each model has found it."""
    first, second = pair
    return [
        (code, (found_in(first.judged, code, box), found_in(second.judged, code, box)))
        for code, box in first.judged.truth
    ]


def _recall(pairs: Sequence[Pair], code: str) -> list[dict[str, Any]]:
    found = [one for pair in pairs for name, one in _found(pair) if name == code]
    return [_counted(sum(one[at] for one in found), len(found), wilson) for at in (0, 1)] if found else []


def _share(cases: Sequence[bool]) -> dict[str, Any] | None:
    return _counted(sum(cases), len(cases), clopper_pearson) if cases else None


def _counted(count: int, of: int, interval: Any) -> dict[str, Any]:
    low, high = interval(count, of)
    return {"count": count, "of": of, "interval_95": [round(low, 4), round(high, 4)]}


def _paired(cases: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    first, second = sum(a and not b for a, b in cases), sum(b and not a for a, b in cases)
    return {
        "both": sum(a and b for a, b in cases),
        "only_first": first,
        "only_second": second,
        "neither": sum(not a and not b for a, b in cases),
        "mcnemar_p": round(mcnemar(first, second), 4),
    }


def _times(values: Sequence[float]) -> dict[str, float]:
    return {"p50": round(nearest_rank(values, 0.5), 2), "p99": round(nearest_rank(values, 0.99), 2)}


# --- side by side on the line ---------------------------------------------------------------------------------------


def _side_by_side(config: Path, state: Path | None, station: str, name: str) -> dict[str, Any]:
    at = station_of(config, state, station)
    with at.store.reader() as unit:
        figures = shadow_figures(unit, at, name)
    at.store.close()
    return figures


def shadow_figures(unit: UnitOfWork, at: StationOf, name: str) -> dict[str, Any]:
    """What a shadow has shown at a station, beside whatever was live then.

    Raises:
        ConfigError: none is named and none looks.
    """
    chosen = shadow_choice(unit, at.id)
    name = name or (at.station.config.shadow.model if chosen is None else chosen["model"]) or ""
    if not name:
        raise ConfigError(f"no model looks beside the live one at {at.id}; name the one that is meant")
    ref = at.models.ref(name)
    looks = unit.shadow_looks.list(at.id, shadow=ref)
    said = verdicts.found_by_people(unit)
    judged = [one for one in looks if one.inspection_id in said]
    right = [
        ((one.live_evaluation == "OK") is not bad, (one.evaluation == "OK") is not bad)
        for one, bad in ((one, said[one.inspection_id]) for one in judged)
    ]
    counts = unit.shadow_looks.count(at.id, shadow=ref)
    return {
        "station": at.id,
        "shadow": named(ref),
        "live": sorted({named(one.live) for one in looks}),
        "said": [{"live": live, "shadow": other, "parts": number} for (live, other), number in sorted(counts.items())],
        "missed": dropped(unit, at.id, ref),
        "beside": asdict(beside(looks, said)),
        "judged_by_people": _paired(right),
        "live_ms": _times([one.live_ms for one in looks]),
        "shadow_inference_ms": _times([one.inference_ms for one in looks]),
        "shadow_processor_ms": _times([one.processor_ms for one in looks]),
    }


# --- words ----------------------------------------------------------------------------------------------------------


def as_text(figures: Mapping[str, Any]) -> str:
    """For people."""
    first, second = figures["models"]
    lines = [f"{first} and {second} on {figures['parts']} parts of {figures['data']}, {figures['machine']}"]
    if figures["said_by"]:
        lines.append("truth from " + ", ".join(f"{who}: {count}" for who, count in figures["said_by"].items()))
    for code, pair in figures["recall_by_class"].items():
        lines.append(f"  {code:16} found {_said(pair[0])}; {_said(pair[1])}")
    lines += [f"{name}: {_said(figures[name][0])}; {_said(figures[name][1])}" for name in ("escapes", "overkill")]
    for key, words in (("parts_judged_rightly", "parts judged rightly"), ("defects_found", "defects found")):
        lines.append(_paired_text(words, figures[key], first, second))
    times = [f"{one['p50']} / {one['p99']} ms" for one in figures["detect_ms"]]
    lines.append(f"detector p50 / p99: {times[0]}; {times[1]}")
    return "\n".join(lines)


def shadow_text(figures: Mapping[str, Any]) -> str:
    """For people."""
    found = figures["beside"]
    lines = [
        f"{figures['station']}: {figures['shadow']} beside {', '.join(figures['live']) or 'nothing yet'}: "
        f"{found['parts']} parts, {figures['missed']} missed for want of time"
    ]
    lines += [f"  live {one['live']}, shadow {one['shadow']}: {one['parts']}" for one in figures["said"]]
    lines.append(
        f"against people's word on {found['judged_by_people']} parts, else the live model's: "
        f"{found['escapes']} of {found['defective']} escape, "
        f"{found['false_rejects']} of {found['good']} good ones do not pass"
    )
    if found["judged_by_people"]:
        lines.append(_paired_text("judged as people did", figures["judged_by_people"], "live", "shadow"))
    times = (figures[name] for name in ("live_ms", "shadow_inference_ms", "shadow_processor_ms"))
    live, waited, processor = (f"{one['p50']} / {one['p99']} ms" for one in times)
    lines.append(f"p50 / p99: live answer {live}; shadow's look {waited}, of it processor time {processor}")
    return "\n".join(lines)


def _said(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "no such parts"
    low, high = one["interval_95"]
    return f"{one['count']} of {one['of']} (95 %: {low:.1%} to {high:.1%})"


def _paired_text(words: str, one: Mapping[str, Any], first: str, second: str) -> str:
    verdict = "chance explains it" if one["mcnemar_p"] > 0.05 else "more than chance"
    return (
        f"{words}: both {one['both']}, only {first} {one['only_first']}, only {second} {one['only_second']}, neither "
        f"{one['neither']} (p {one['mcnemar_p']:.3g}: {verdict})"
    )

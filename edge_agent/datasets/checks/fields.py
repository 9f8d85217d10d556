"""Is it the version it claims to be, is all of it readable, and does it say who may use it?"""

from collections.abc import Sequence

from edge_agent.datasets.dataset import Dataset, version_of
from edge_agent.datasets.disk import Loaded
from edge_agent.datasets.finding import Example, Finding, Level, found
from edge_agent.datasets.looking import Look


def check(loaded: Loaded, looks: Sequence[Look]) -> list[Finding]:
    """Lines, version, files, classes, licence, privacy and source."""
    return [*_lines(loaded), *_version(loaded), *_files(looks), *_classes(loaded.dataset), *_texts(loaded.dataset)]


def _lines(loaded: Loaded) -> list[Finding]:
    text = "Lines of items.jsonl that cannot be read. Their images take part in nothing."
    cases = [
        Example(where=f"{one.file}:{one.line}", what=f"{one.value}; expected: {one.expected}")
        for one in loaded.broken_lines
    ]
    return found(Level.ERROR, "items.unreadable", text, cases)


def _version(loaded: Loaded) -> list[Finding]:
    dataset = loaded.dataset
    if not dataset.items:
        return found(Level.ERROR, "items.none", "The data set has no images.", [Example(where="items.jsonl")])
    actual = version_of(dataset.classes, dataset.items)
    if actual == dataset.version and not loaded.broken_lines:
        return []
    text = "The content is not the version that dataset.json names: labels, splits or groups were changed by hand."
    what = f"content {actual[:12]}…, dataset.json {dataset.version[:12]}…"
    return found(Level.ERROR, "version.differs", text, [Example(where="dataset.json", what=what)])


def _files(looks: Sequence[Look]) -> list[Finding]:
    cases = [Example(where=look.item.origin or look.item.image, what=look.fault) for look in looks if look.fault]
    text = "Images that are gone, damaged, or not what was imported."
    return found(Level.ERROR, "files.broken", text, cases)


def _classes(dataset: Dataset) -> list[Finding]:
    known = set(dataset.classes)
    cases = [
        Example(where=item.origin, what=code, image=item.image)
        for item in dataset.items
        for code in sorted({*item.codes, *(box.code for box in item.boxes)} - known)
    ]
    return found(Level.ERROR, "classes.unknown", "Labels of classes that dataset.json does not list.", cases)


def _texts(dataset: Dataset) -> list[Finding]:
    why = {
        "licence": (dataset.licence, "Nobody said what the images may be used for: a model inherits their terms."),
        "privacy": (dataset.privacy, "Nobody said whether people or their data can be seen on the images."),
        "source": (dataset.source.get("kind", ""), "Nobody said where the images come from."),
    }
    missing = [
        Finding(
            level=Level.WARNING,
            check=f"{field}.missing",
            text=text,
            count=1,
            examples=(Example(where="dataset.json", what=field),),
        )
        for field, (value, text) in why.items()
        if not value.strip()
    ]
    unnamed = [Example(where=item.origin, image=item.image) for item in dataset.items if not item.label_source]
    machine = [
        Example(where=item.origin, image=item.image) for item in dataset.items if item.label_source.strip() == "agent"
    ]
    skipped = f"{dataset.skipped} entries of the source were not taken; skipped.jsonl lists each with its reason."
    return [
        *missing,
        *found(Level.WARNING, "labels.unsigned", "Nobody says who labelled these images.", unnamed),
        *found(
            Level.NOTE, "labels.by_machine", "Accepted by the agent; no person has looked at these images.", machine
        ),
        *(
            [Finding(level=Level.NOTE, check="source.skipped", text=skipped, count=dataset.skipped)]
            * bool(dataset.skipped)
        ),
    ]

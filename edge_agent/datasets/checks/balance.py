"""Is there enough of every class, in every split?"""

from collections import Counter
from collections.abc import Mapping

from edge_agent.datasets.dataset import Dataset, Split
from edge_agent.datasets.finding import Example, Finding, Level, found

MAX_RATIO = 20.0
"""Between the most and the least frequent class in training; beyond, the rare one is easily given up."""
FEW = 30
"""Fewer test cases of a class give a recall with an interval wider than about 0.2."""


def by_class(dataset: Dataset) -> dict[str, Counter[Split]]:
    """Class to labels (boxes, and image labels without a place) in each split."""
    counts: dict[str, Counter[Split]] = {code: Counter() for code in dataset.classes}
    for item in dataset.items:
        for code in (*item.codes, *(box.code for box in item.boxes)):
            counts.setdefault(code, Counter())[item.split] += 1
    return counts


def check(dataset: Dataset) -> list[Finding]:
    """Empty splits, absent, rare and few classes, and splits without good images."""
    counts = by_class(dataset)
    used = {item.split for item in dataset.items}
    return [*_empty(used), *_absent(counts, used), *_ratio(counts), *_few(counts), *_good(dataset)]


def _empty(used: set[Split]) -> list[Finding]:
    cases = [Example(where=split.value, what="no images") for split in Split if used and split not in used]
    text = "Splits without images: a model cannot be tuned or measured on what trained it."
    return found(Level.WARNING, "balance.empty_split", text, cases)


def _absent(counts: Mapping[str, Counter[Split]], used: set[Split]) -> list[Finding]:
    never = [Example(where=code, what="no label at all") for code, by in counts.items() if not by.total()]
    cases = [
        Example(where=code, what=f"{by.total()} labels, none in {split.value}")
        for code, by in counts.items()
        for split in Split
        if by.total() and split in used and not by[split]
    ]
    return [
        *found(Level.WARNING, "balance.class_without_label", "Classes without any label.", never),
        *found(Level.WARNING, "balance.class_absent", "Classes that a split does not have.", cases),
    ]


def _ratio(counts: Mapping[str, Counter[Split]]) -> list[Finding]:
    here = {code: by[Split.TRAIN] for code, by in counts.items() if by[Split.TRAIN]}
    most = max(here.values(), default=0)
    cases = [
        Example(where=code, what=f"{number} labels; the most frequent class has {most}")
        for code, number in here.items()
        if most / number > MAX_RATIO
    ]
    text = f"Classes more than {MAX_RATIO:g} times rarer in training than the most frequent one."
    return found(Level.WARNING, "balance.rare_class", text, cases)


def _few(counts: Mapping[str, Counter[Split]]) -> list[Finding]:
    cases = [
        Example(where=code, what=f"{by[Split.TEST]} test labels")
        for code, by in counts.items()
        if 0 < by[Split.TEST] < FEW
    ]
    text = f"Classes with fewer than {FEW} test labels: their recall is known only roughly."
    return found(Level.NOTE, "balance.few_test_labels", text, cases)


def _good(dataset: Dataset) -> list[Finding]:
    used = sorted({item.split.value for item in dataset.items if item.is_good})
    if used or not dataset.items:
        return []
    text = "No image without a defect: false rejects (overkill) cannot be measured."
    return found(Level.NOTE, "balance.no_good_images", text, [Example(where="all splits")])

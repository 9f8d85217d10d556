"""Does a split know what it is measured with: groups, copies and near-copies on both sides?"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edge_agent.datasets.dataset import Dataset, Item, Split
from edge_agent.datasets.finding import Example, Finding, Level, found
from edge_agent.datasets.looking import HASH_SIDE, Look

MAX_BITS = 15
"""Of 256. Re-encoding and scaling flip a few; with 16 bands of 16 bits, pairs this near share a whole band."""
MAX_MEAN_LEVELS, MAX_PEAK_LEVELS = 4.0, 40.0
"""Grey levels between two 64x64 thumbnails (means removed): re-encoding stays below, another part of the same
product with its own noise, place and defects does not."""
_BANDS = HASH_SIDE
_CHUNK = 512
MAX_CASES = 100_000


def check(dataset: Dataset, looks: Sequence[Look]) -> list[Finding]:
    """All leaks."""
    return [
        *_groups(dataset),
        *_test_groups(dataset),
        *_copies(dataset),
        *_near_copies(looks),
        *_shared_goldens(dataset),
        *_ungrouped(dataset),
    ]


def _by(items: Iterable[Item], key: str) -> Mapping[Hashable, list[Item]]:
    found_by: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        found_by[getattr(item, key)].append(item)
    return found_by


def _splits(items: Iterable[Item]) -> str:
    return ", ".join(sorted({item.split.value for item in items}))


def _groups(dataset: Dataset) -> list[Finding]:
    text = "Groups in more than one split: their images look alike, so figures measured on them flatter."
    cases = [
        Example(
            where=str(group), what=f"{len(items)} images in {_splits(items)}", image=items[0].image, other=_other(items)
        )
        for group, items in _by(dataset.items, "group").items()
        if len({item.split for item in items}) > 1
    ]
    return found(Level.ERROR, "leak.group", text, cases)


def _other(items: Sequence[Item]) -> str:
    """The first image of another split than the first one's."""
    return next(item.image for item in items if item.split is not items[0].split)


def _test_groups(dataset: Dataset) -> list[Finding]:
    kept = set(dataset.test_groups)
    text = "Groups that were set aside for testing, in another split."
    cases = [
        Example(where=item.group, what=f"{item.origin} in {item.split.value}", image=item.image)
        for item in dataset.items
        if item.group in kept and item.split is not Split.TEST
    ]
    return found(Level.ERROR, "leak.test_group", text, cases)


def _copies(dataset: Dataset) -> list[Finding]:
    """The same file twice: across splits, with other labels, or merely twice."""
    across, contrary, twice = [], [], []
    for items in _by(dataset.items, "sha256").values():
        if len(items) < 2:
            continue
        case = Example(where=items[0].origin, what=f"also {items[1].origin} ({_splits(items)})", image=items[0].image)
        if len({item.split for item in items}) > 1:
            across.append(case)
        if len({(tuple(sorted(item.boxes)), tuple(sorted(item.codes))) for item in items}) > 1:
            contrary.append(case)
        twice.append(case)
    same_as_golden = [
        Example(where=item.origin, what="has labels, and is its own golden image", image=item.image)
        for item in dataset.items
        if item.sha256 == item.golden_sha256 and not item.is_good
    ]
    text = "The same image in more than one split: the test has seen its questions."
    return [
        *found(Level.ERROR, "duplicate.across_splits", text, across),
        *found(Level.ERROR, "duplicate.other_labels", "The same image with different labels.", contrary),
        *found(Level.WARNING, "duplicate.exact", "The same image more than once: it counts more than others.", twice),
        *found(Level.ERROR, "golden.is_the_image", "Defects on an image that equals its golden image.", same_as_golden),
    ]


def _near_copies(looks: Sequence[Look]) -> list[Finding]:
    text = (
        "Nearly the same picture in more than one split (re-encoded, scaled or brightened copies, or the same part "
        "photographed again). Put them into one group."
    )
    cases = [
        Example(
            where=a.item.origin,
            what=f"{bits} of 256 bits differ from {b.item.origin} ({a.item.split.value}, {b.item.split.value})",
            image=a.item.image,
            other=b.item.image,
        )
        for a, b, bits in near_pairs(looks)
    ]
    return found(Level.WARNING, "duplicate.near", text, cases)


def near_pairs(looks: Sequence[Look]) -> list[tuple[Look, Look, int]]:
    """Pairs of different files in different splits that show nearly the same, nearest first; at most 100,000."""
    usable = [look for look in looks if look.dhash is not None and look.thumb is not None]
    if not usable:
        return []
    firsts = _representatives(usable)
    hashes = np.stack([look.dhash for look in firsts if look.dhash is not None])
    splits = np.array([list(Split).index(look.item.split) for look in firsts])
    pairs: dict[tuple[int, int], int] = {}
    for i, j, bits in _banded(hashes, splits):
        if (i, j) not in pairs and _same_picture(firsts[i], firsts[j]):
            pairs[i, j] = bits
        if len(pairs) >= MAX_CASES:
            break
    nearest = sorted(pairs.items(), key=lambda pair: (pair[1], pair[0]))
    return [(firsts[i], firsts[j], bits) for (i, j), bits in nearest]


def _representatives(looks: Sequence[Look]) -> list[Look]:
    """One look for each file and split: exact copies are another check's, and would only repeat its cases."""
    return list({(look.item.sha256, look.item.split): look for look in looks}.values())


def _banded(hashes: npt.NDArray[np.uint64], splits: npt.NDArray[np.int_]) -> Iterator[tuple[int, int, int]]:
    """Pairs (i < j) of different splits within MAX_BITS, found by equal bands instead of all against all."""
    bands = hashes.view(np.uint16)
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        values = bands[order, band]
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        for start, end in pairwise(edges):
            members = order[start:end]
            if len(members) > 1 and len(set(splits[members].tolist())) > 1:
                yield from _within(hashes, splits, members)


def _within(
    hashes: npt.NDArray[np.uint64], splits: npt.NDArray[np.int_], members: npt.NDArray[np.intp]
) -> Iterator[tuple[int, int, int]]:
    """In chunks of rows, so that one crowded band does not take all memory."""
    for start in range(0, len(members), _CHUNK):
        rows = members[start : start + _CHUNK]
        bits = np.zeros((len(rows), len(members)), np.uint16)
        for word in range(hashes.shape[1]):
            bits += np.bitwise_count(hashes[rows, word][:, None] ^ hashes[members, word][None, :])
        near = (bits <= MAX_BITS) & (rows[:, None] < members[None, :]) & (splits[rows][:, None] != splits[members])
        for i, j in np.argwhere(near):
            yield int(rows[i]), int(members[j]), int(bits[i, j])


def _same_picture(a: Look, b: Look) -> bool:
    """Is it the same photograph? Hashes of a product's parts are near each other anyway; details must agree too."""
    if a.item.sha256 == b.item.sha256 or a.thumb is None or b.thumb is None:
        return False
    change = (a.thumb.astype(np.float32) - a.thumb.mean()) - (b.thumb.astype(np.float32) - b.thumb.mean())
    return float(np.abs(change).mean()) <= MAX_MEAN_LEVELS and float(np.abs(change).max()) <= MAX_PEAK_LEVELS


def _shared_goldens(dataset: Dataset) -> list[Finding]:
    """One product has one golden image; many products with a shared one are a leak that groups do not show."""
    goldens = _by((item for item in dataset.items if item.golden_sha256), "golden_sha256")
    cases = [
        Example(where=items[0].origin, what=f"{len(items)} images in {_splits(items)}", image=items[0].golden or "")
        for items in goldens.values()
        if len({item.split for item in items}) > 1
    ]
    if len(goldens) < 2:
        return []
    text = "Golden images that serve more than one split: the same board on both sides, whatever its groups say."
    return found(Level.WARNING, "leak.golden", text, cases)


def _ungrouped(dataset: Dataset) -> list[Finding]:
    lonely = [Example(where=item.origin, image=item.image) for item in dataset.items if item.group.startswith("image:")]
    text = (
        "Images whose group is not known: each is taken for a group of its own, so a leak between neighbours cannot "
        "be seen. Import again with --group-by."
    )
    return found(Level.NOTE, "groups.unknown", text, lonely)

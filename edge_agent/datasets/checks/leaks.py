"""Does a split know what it is measured with: groups, copies and near-copies on both sides?"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edge_agent.datasets.dataset import Dataset, Item, Split
from edge_agent.datasets.finding import Example, Finding, Level, found
from edge_agent.datasets.looking import HASH_SIDE, THUMB_SIDE, Grey, Look

MAX_BITS = 15
"""Of 256. Re-encoding and scaling flip a few; with 16 bands of 16 bits, pairs this near share a whole band."""
MAX_MEAN_LEVELS, MAX_PEAK_LEVELS = 4.0, 40.0
"""Grey levels between two 64x64 thumbnails (means removed): re-encoding stays below, another part of the same
product with its own noise, place and defects does not."""
_BANDS = HASH_SIDE
Pairs = npt.NDArray[np.intp]
"""(pairs, 3): two places and the bits that differ."""
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
    firsts = _representatives(looks)
    if not firsts:
        return []
    hashes = np.stack([look.dhash for look in firsts if look.dhash is not None])
    thumbs = np.stack([_level(look.thumb) for look in firsts if look.thumb is not None])
    blocks = thumbs.reshape(len(firsts), THUMB_SIDE // 4, 4, THUMB_SIDE // 4, 4)
    coarse = np.rint(blocks.mean(axis=(2, 4))).astype(np.int16).reshape(len(firsts), -1)
    splits = np.array([list(Split).index(look.item.split) for look in firsts], np.int8)
    pairs: list[tuple[int, int, int]] = []
    for rows in _banded(hashes, splits):
        pairs += _same_pictures(rows, thumbs, coarse)[: MAX_CASES - len(pairs)]
        if len(pairs) >= MAX_CASES:
            break
    pairs.sort(key=lambda pair: (pair[2], pair[0], pair[1]))
    return [(firsts[i], firsts[j], bits) for i, j, bits in pairs if firsts[i].item.sha256 != firsts[j].item.sha256]


def _representatives(looks: Sequence[Look]) -> list[Look]:
    """One look for each file and split: exact copies are another check's, and would only repeat its cases."""
    usable = [look for look in looks if look.dhash is not None and look.thumb is not None]
    return list({(look.item.sha256, look.item.split): look for look in usable}.values())


def _level(thumb: Grey) -> npt.NDArray[np.int16]:
    """Without its mean: a brighter copy is a copy."""
    return (thumb.astype(np.int16) - round(float(thumb.mean()))).ravel()


def _banded(hashes: npt.NDArray[np.uint64], splits: npt.NDArray[np.int8]) -> Iterator[Pairs]:
    """Pairs of different splits within MAX_BITS, each once, found by equal bands instead of all against all."""
    bands = hashes.view(np.uint16)
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        values = bands[order, band]
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        for start, end in pairwise(edges):
            members = order[start:end]
            if len(members) > 1 and splits[members].min() != splits[members].max():
                for pairs in _within(hashes, splits, members):
                    seen = (bands[pairs[:, 0], :band] == bands[pairs[:, 1], :band]).any(axis=1)
                    yield pairs[~seen]


def _within(
    hashes: npt.NDArray[np.uint64], splits: npt.NDArray[np.int8], members: npt.NDArray[np.intp]
) -> Iterator[Pairs]:
    """In chunks of rows, so that one crowded band does not take all memory."""
    for start in range(0, len(members), _CHUNK):
        rows = members[start : start + _CHUNK]
        bits = np.zeros((len(rows), len(members)), np.uint16)
        for word in range(hashes.shape[1]):
            bits += np.bitwise_count(hashes[rows, word][:, None] ^ hashes[members, word][None, :])
        near = (bits <= MAX_BITS) & (rows[:, None] < members[None, :]) & (splits[rows][:, None] != splits[members])
        i, j = np.nonzero(near)
        if len(i):
            yield np.stack([rows[i], members[j], bits[i, j].astype(np.intp)], axis=1)


def _same_pictures(
    pairs: Pairs, thumbs: npt.NDArray[np.int16], coarse: npt.NDArray[np.int16]
) -> list[tuple[int, int, int]]:
    """Which of them are the same photograph? Hashes of a product's parts are near anyway; details must agree too.

    Means over 4x4 pixels differ by no more than the pixels do, so they rule out most pairs at a sixteenth of the cost.
    """
    found: list[tuple[int, int, int]] = []
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        some = some[_agree(some, coarse, slack=1)]
        found += [(int(i), int(j), int(bits)) for i, j, bits in some[_agree(some, thumbs, slack=0)]]
    return found


def _agree(pairs: Pairs, levels: npt.NDArray[np.int16], *, slack: int) -> npt.NDArray[np.bool_]:
    change = np.abs(levels[pairs[:, 0]] - levels[pairs[:, 1]])
    same: npt.NDArray[np.bool_] = change.max(axis=1) <= MAX_PEAK_LEVELS + slack
    same &= change.mean(axis=1) <= MAX_MEAN_LEVELS + slack
    return same


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

"""Drafts to a data set on disk: every image is read, decoded, hashed and put where its hash says."""

import hashlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from edge_agent.datasets import disk
from edge_agent.datasets.boxes import MAX_PX
from edge_agent.datasets.dataset import PLACES, Box, Dataset, Item, Skipped, Split, version_of
from edge_agent.datasets.draft import Draft, Gathered
from edge_agent.datasets.files import SUFFIXES, Decode, Unreadable, read_bounded
from edge_agent.datasets.splitting import SplitRule, by_group
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import ConfigError, PartFault, Transient

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""


class Placing(StrEnum):
    """How images come into the folder."""

    COPY = "copy"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to make of a source.

    Attributes:
        group_by: a pattern with one bracket; what it finds in an image's path is the image's group.
        made_at: ISO 8601, for people.
    """

    name: str
    made_at: str
    placing: Placing = Placing.COPY
    licence: str = ""
    privacy: str = ""
    group_by: str = ""
    split: SplitRule = field(default_factory=SplitRule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The data set, and everything that is not in it."""

    dataset: Dataset
    skipped: tuple[Skipped, ...]


def make(gathered: Gathered, folder: Path, wish: Wish, decode: Decode, progress: Progress) -> Made:
    """Write a data set. The folder appears when it is complete, or not at all.

    Raises:
        ConfigError: the folder exists, a wish cannot be met, or no image could be taken (the message says why).
        Transient: the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists: a data set is never overwritten; name another folder")
    group_of = _grouping(wish.group_by)
    with _scratch(folder) as scratch:
        press = _Press(scratch=scratch, placing=wish.placing, decode=decode)
        taken: list[tuple[Draft, Item]] = []
        skipped = list(gathered.skipped)
        for done, draft in enumerate(gathered.drafts):
            progress(done, len(gathered.drafts))
            made = press.item(draft, group_of(draft))
            if isinstance(made, Item):
                taken.append((draft, made))
            else:
                skipped.append(made)
        progress(len(gathered.drafts), len(gathered.drafts))
        if not taken:
            raise ConfigError(f"no image could be taken: {_reasons(skipped)}")
        items = tuple(_split(taken, wish.split))
        dataset = _dataset(gathered, wish, items, len(skipped))
        disk.write(scratch, dataset, skipped)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    return Made(dataset=dataset, skipped=tuple(skipped))


def _dataset(gathered: Gathered, wish: Wish, items: tuple[Item, ...], skipped: int) -> Dataset:
    rule = wish.split
    about = {"kind": gathered.kind, "images": wish.placing.value, "seed": str(rule.seed)}
    return Dataset(
        name=wish.name,
        version=version_of(gathered.classes, items),
        classes=gathered.classes,
        items=items,
        licence=wish.licence,
        privacy=wish.privacy,
        source={**gathered.about, **about},
        test_groups=tuple(sorted(rule.test_groups)),
        made_at=wish.made_at,
        skipped=skipped,
    )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder beside the target, so that the last step is a rename."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; expected a place that can be written to") from error
    try:
        scratch.chmod(0o755)
        yield scratch
    except OSError as error:
        raise Transient(f"cannot write the data set {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _grouping(pattern: str) -> Callable[[Draft], str]:
    """The group of a draft; an image of no known group is a group of its own."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group pattern {pattern!r}: {error}") from error
    if pattern and compiled.groups != 1:
        raise ConfigError(f"group pattern {pattern!r}: expected one bracket, e.g. (board[0-9]+)_")

    def group_of(draft: Draft) -> str:
        found = compiled.search(draft.origin) if pattern else None
        return (found[1] or "" if found else draft.group) or f"image:{draft.origin}"

    return group_of


@dataclass(slots=True, kw_only=True)
class _Press:
    """Makes items of drafts, images included."""

    scratch: Path
    placing: Placing
    decode: Decode
    goldens: dict[Path, "_Placed"] = field(default_factory=dict)

    def item(self, draft: Draft, group: str) -> Item | Skipped:
        try:
            image = self._place(draft.image)
            golden = self._golden(draft.golden)
        except (Unreadable, PartFault) as error:
            return _skipped(draft, str(error), "a whole image")
        if draft.size_wh not in (None, image.size_wh):
            return _skipped(draft, f"the labels are for {draft.size_wh}", f"the image's size, {image.size_wh}")
        if draft.sha256 not in (None, image.sha256):
            return _skipped(draft, f"sha256 {image.sha256[:12]}…", f"{(draft.sha256 or '')[:12]}…, as recorded")
        scale = image.size_wh if draft.as_shares else (1, 1)
        boxes = tuple(Box(code=box.code, xyxy_px=_scaled(box.xyxy_px, scale)) for box in draft.boxes)
        return Item(
            image=image.path,
            sha256=image.sha256,
            size_wh=image.size_wh,
            group=group,
            split=draft.split or Split.TRAIN,
            boxes=boxes,
            codes=draft.codes,
            golden=golden.path if golden else None,
            golden_sha256=golden.sha256 if golden else None,
            label_source=draft.label_source,
            origin=draft.origin,
        )

    def _golden(self, source: Path | None) -> "_Placed | None":
        """One golden image may serve thousands of parts: it is read once."""
        if source is None:
            return None
        if source not in self.goldens:
            self.goldens[source] = self._place(source)
        return self.goldens[source]

    def _place(self, source: Path) -> "_Placed":
        """Raises Unreadable or PartFault."""
        raw = read_bounded(source)
        pixels = self.decode(raw, name=source.name)
        digest = hashlib.sha256(raw).hexdigest()
        suffix = source.suffix.lower() if source.suffix.lower() in SUFFIXES else ""
        path = f"{disk.IMAGES}/{digest[:2]}/{digest}{suffix}"
        target = self.scratch / path
        if not target.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.placing is Placing.COPY:
                target.write_bytes(raw)
            else:
                target.symlink_to(source.resolve())
        return _Placed(path=path, sha256=digest, size_wh=(int(pixels.shape[1]), int(pixels.shape[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    path: str
    sha256: str
    size_wh: tuple[int, int]


def _scaled(box: BoxXyxy, scale_wh: tuple[int, int]) -> BoxXyxy:
    x0, y0, x1, y1 = (
        round(min(max(value * scale, -MAX_PX), MAX_PX), PLACES) + 0.0
        for value, scale in zip(box, (*scale_wh, *scale_wh), strict=True)
    )
    return x0, y0, x1, y1


def _skipped(draft: Draft, value: str, expected: str) -> Skipped:
    return Skipped(file=draft.origin, line=draft.line, value=value, expected=expected)


def _reasons(skipped: Sequence[Skipped]) -> str:
    first = skipped[0]
    where = f"{first.file} {first.line}".strip()
    return f"{len(skipped)} were skipped, the first: {where}: {first.value}; expected {first.expected}"


def _split(taken: Sequence[tuple[Draft, Item]], rule: SplitRule) -> Iterator[Item]:
    """The source's own split where it names one for every image; whole groups by the rule otherwise."""
    named = all(draft.split for draft, _ in taken) and not rule.resplit and not rule.test_groups
    splits = {} if named else by_group(Counter(item.group for _, item in taken), rule)
    for draft, item in taken:
        yield replace(item, split=draft.split if named and draft.split else splits[item.group])

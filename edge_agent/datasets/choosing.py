"""The items of a data set that a figure is measured on."""

from collections.abc import Sequence
from pathlib import Path

from edge_agent.datasets import disk
from edge_agent.datasets.dataset import Item, Split, version_of
from edge_agent.domain.faults import ConfigError


def measured_items(folder: Path, *, groups: Sequence[str] = (), split: str = "") -> tuple[Item, ...]:
    """Items with boxes to measure with: these groups', or this split's; the test split's where neither is named.

    Raises:
        ConfigError: no such items, labels without boxes, or a content that is not the version it claims to be.
    """
    loaded = disk.read(folder)
    dataset = loaded.dataset
    if loaded.broken_lines or version_of(dataset.classes, dataset.items) != dataset.version:
        raise ConfigError(f"{folder}: not the version that dataset.json names; run `edge-agent data check {folder}`")
    unknown = sorted(set(groups) - {item.group for item in dataset.items})
    if unknown:
        raise ConfigError(f"no such group in {folder}: {', '.join(unknown)}")
    if split and split not in set(Split):
        raise ConfigError(f"split {split!r}: expected {', '.join(Split)}")
    wanted = Split(split) if split else None if groups else Split.TEST
    chosen = tuple(
        item
        for item in dataset.items
        if (not groups or item.group in groups) and (wanted is None or item.split is wanted)
    )
    if not chosen:
        raise ConfigError(f"{folder}: no images in {wanted or 'these groups'}")
    placeless = next((item for item in chosen if item.codes), None)
    if placeless:
        raise ConfigError(f"{placeless.origin}: labelled {', '.join(placeless.codes)} without a box; expected boxes")
    return chosen

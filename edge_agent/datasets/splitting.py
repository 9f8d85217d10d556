"""Which group of images trains, which tunes and which measures. Never an image alone: its neighbours look like it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.datasets.dataset import Split
from edge_agent.domain.faults import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How to split.

    Attributes:
        val, test: the wanted shares of the images; whole groups come near them.
        test_groups: exactly these groups test; ``test`` and the source's own split are not used then.
        resplit: do not keep the split that the source names.
    """

    val: float = 0.15
    test: float = 0.15
    seed: int = 7
    test_groups: tuple[str, ...] = ()
    resplit: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise ConfigError(f"shares val {self.val:g} and test {self.test:g}: expected 0 to 1, together below 1")


def by_group(sizes: Mapping[str, int], rule: SplitRule) -> dict[str, Split]:
    """The split of each group; the same for the same groups, sizes and seed, in whatever order they come.

    Groups come in an order that the seed shuffles; each goes where most images are still missing. A split with a
    share gets a group before training gets its second, so that three groups fill three splits.

    Args:
        sizes: group to its number of images.

    Raises:
        ConfigError: a test group that does not exist.
    """
    unknown = sorted(set(rule.test_groups) - set(sizes))
    if unknown:
        some = ", ".join(sorted(sizes)[:10])
        raise ConfigError(f"no such group: {', '.join(unknown)}; the groups are {some}{', …' * (len(sizes) > 10)}")
    chosen = dict.fromkeys(rule.test_groups, Split.TEST)
    left = sorted((group for group in sizes if group not in chosen), key=lambda group: _shuffled(rule.seed, group))
    total = sum(sizes[group] for group in left)
    test = 0.0 if rule.test_groups else rule.test
    missing = {Split.TRAIN: (1 - rule.val - test) * total, Split.VAL: rule.val * total, Split.TEST: test * total}
    empty = [split for split in (Split.TRAIN, Split.TEST, Split.VAL) if missing[split] > 0]
    for group in left:
        split = empty.pop(0) if empty else max(missing, key=lambda one: missing[one])
        chosen[group] = split
        missing[split] -= sizes[group]
    return chosen


def _shuffled(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}/{group}".encode("utf-8", "surrogateescape")).digest()

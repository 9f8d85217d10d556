"""Known-good references: found by the recipe's rule, read once, kept while they do not change."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.recipe import GoldenRule
from edge_agent.inspecting.gate import Reference

_KEPT = 32


class Goldens:
    """Finds the golden image of a part.

    Args:
        read: decodes an image file; raises PartFault when it cannot.
    """

    def __init__(self, read: Callable[[Path], Pixels]) -> None:
        self.read = read
        self._kept: OrderedDict[tuple[str, int, int], Reference] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, rule: GoldenRule | None) -> None:
        """Read the product's golden image once at start. Raises ConfigError when it is unusable."""
        if rule is None or rule.image_path is None:
            return
        try:
            self._load(Path(rule.image_path))
        except PartFault as fault:
            raise ConfigError(fault.text) from fault

    def reference(self, rule: GoldenRule | None, frame: Frame) -> Reference | None:
        """The reference of this frame's part; None when the recipe has none.

        Raises:
            PartFault: there should be one and it cannot be read.
        """
        if rule is None:
            return None
        return self._load(_path(rule, frame))

    def _load(self, path: Path) -> Reference:
        try:
            stat = path.stat()
        except OSError as error:
            raise PartFault("golden.missing", f"golden image {path}: {error.strerror}") from error
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            reference = Reference.of(self.read(path))
        except PartFault as fault:
            why = fault.text.removeprefix(f"{path}: ")
            raise PartFault("golden.unreadable", f"golden image {path}: {why}") from fault
        with self._lock:
            self._kept[key] = reference
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return reference


def _path(rule: GoldenRule, frame: Frame) -> Path:
    if rule.image_path is not None:
        return Path(rule.image_path)
    source = Path(frame.source)
    old, new = rule.replace or ("", "")
    if not old or old not in source.name:
        text = f"the image's name {source.name!r} does not contain {old!r}, so its golden image cannot be named"
        raise PartFault("golden.missing", text)
    return source.with_name(source.name.replace(old, new))

"""Labelled images to measure a detector with."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_agent.adapters.cameras.image_file import decode, read_image
from edge_agent.adapters.detectors.prepare import grey, moved
from edge_agent.datasets.choosing import measured_items
from edge_agent.datasets.dataset import Item
from edge_agent.datasets.disk import is_dataset
from edge_agent.datasets.files import Unreadable
from edge_agent.datasets.looking import read_verified
from edge_agent.domain.defect import BoxXyxy
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Pixels
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, gate
from edge_agent.simulation.boards import CODES, SIZE_PX, Imaging, Placement, layout, render

DEEPPCB_CODES = dict(enumerate(CODES, start=1))
"""DeepPCB's type numbers (its README, "Image Annotation")."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """An image, its golden image (where there is one) and the truth.

    Attributes:
        group: images that look alike: the same board or lot.
        mended: its defects were filled in, see `mended`.
    """

    name: str
    image: Pixels
    golden: Pixels | None
    truth: tuple[tuple[str, BoxXyxy], ...]
    group: str = ""
    mended: bool = False

    def without_pixels(self) -> "Labelled":
        """The same, but for the pixels."""
        return replace(self, image=np.zeros((0, 0), np.uint8), golden=None)


def mended(part: Labelled) -> Labelled:
    """The part with its labelled boxes filled from the golden image: clean, with the noise of a real scan elsewhere.

    The golden image is registered first: filled in where it was, it would leave a step at the rim of the box.
    """
    if part.golden is None:
        raise ConfigError(f"image {part.name} has no golden image to be mended from")
    reference = Reference.of(part.golden)
    quality = gate(part.image, reference, ImageLimits())
    image, golden = grey(part.image).copy(), moved(grey(reference.as_seen(quality)), quality.shift_xy_px)
    for _, (x0, y0, x1, y1) in part.truth:
        window = np.s_[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))]
        image[window] = golden[window]
    return replace(part, name=f"{part.name}-mended", image=image, truth=(), mended=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of a folder: groups, or a split.

    In DeepPCB's manner a split is a file that lists images, and neither takes all; of an imported data set it is
    ``train``, ``val`` or ``test``, and neither takes the test split.
    """

    groups: tuple[str, ...] = ()
    split: Path | None = None


def load(data: str, selection: Selection) -> Iterator[Labelled]:
    """``boards:SEED:N`` renders N boards; anything else is an imported data set or a folder in DeepPCB's manner.

    Raises:
        ConfigError: neither, or something in it cannot be read.
    """
    if data.startswith("boards:"):
        return _boards(data)
    folder = Path(data)
    if not folder.is_dir():
        raise ConfigError(f"data {data!r}: expected boards:SEED:N or a folder")
    return _imported(folder, selection) if is_dataset(folder) else _deeppcb(folder, selection)


def _imported(folder: Path, selection: Selection) -> Iterator[Labelled]:
    split = str(selection.split) if selection.split else ""
    items = measured_items(folder, groups=selection.groups, split=split)
    return (_imported_item(folder, item) for item in items)


def _imported_item(folder: Path, item: Item) -> Labelled:
    truth = tuple((box.code, box.xyxy_px) for box in item.boxes)
    try:
        image = read_verified(folder, item.image, item.sha256, decode)
        golden = read_verified(folder, item.golden, item.golden_sha256, decode) if item.golden else None
    except Unreadable as error:
        raise ConfigError(f"{item.origin}: {error}") from error
    except PartFault as fault:
        raise ConfigError(fault.text) from fault
    return Labelled(name=item.sha256, image=image, golden=golden, truth=truth, group=item.group)


def _boards(data: str) -> Iterator[Labelled]:
    _, *numbers = data.split(":")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise ConfigError(f"data {data!r}: expected boards:SEED:N, e.g. boards:1:200")
    seed, count = (int(number) for number in numbers)
    return (_board(seed, index) for index in range(count))


def _board(seed: int, index: int) -> Labelled:
    """Every second board has no defect; none of the layouts was trained on (their names differ)."""
    rng = np.random.default_rng([seed, index])
    board = layout(f"evaluate-{seed}-{index}")
    defects = int(rng.integers(1, 4)) if index % 2 else 0
    placements = [
        Placement(
            code=str(rng.choice(CODES)),
            x_px=float(rng.uniform(0, SIZE_PX)),
            y_px=float(rng.uniform(0, SIZE_PX)),
            size_px=float(rng.uniform(8, 28)),
        )
        for _ in range(defects)
    ]
    made = render(board, placements, _line_imaging(rng), rng)
    return Labelled(name=f"board-{seed}-{index}", image=made.pixels, golden=board.golden(), truth=made.boxes)


def _line_imaging(rng: np.random.Generator) -> Imaging:
    """A line in good order: a loose fixture, uneven light, some noise and dirt."""
    return Imaging(
        shift_xy_px=(float(rng.normal(0, 2)), float(rng.normal(0, 2))),
        angle_deg=float(rng.normal(0, 0.06)),
        blur_px=float(rng.uniform(0.3, 1.0)),
        noise=float(rng.uniform(1, 5)),
        brightness=float(rng.uniform(-10, 10)),
        gain=float(rng.uniform(0.85, 1.1)),
        vignette=float(rng.uniform(0, 0.15)),
        dirt=int(rng.integers(0, 20)),
    )


def _deeppcb(folder: Path, selection: Selection) -> Iterator[Labelled]:
    images = _listed(folder, selection.split) if selection.split else sorted(folder.glob("group*/*/*_test.jpg"))
    if selection.groups:
        unknown = [group for group in selection.groups if not (folder / group).is_dir()]
        if unknown:
            raise ConfigError(f"no such group in {folder}: {', '.join(unknown)}")
        images = [image for image in images if image.relative_to(folder).parts[0] in selection.groups]
    if not images:
        raise ConfigError(f"no images (group*/*/*_test.jpg) of this selection in {folder}")
    return (_deeppcb_pair(image) for image in images)


def _listed(folder: Path, split: Path) -> list[Path]:
    """DeepPCB's own lists: ``group/00/000.jpg group/00_not/000.txt``; the image is ``000_test.jpg``."""
    try:
        lines = split.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"split {split}: {error}") from error
    names = [line.split()[0] for line in lines if line.strip()]
    images = [folder / name.replace(".jpg", "_test.jpg") for name in names]
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise ConfigError(f"split {split}: {len(missing)} images are not there, the first is {missing[0]}")
    return images


def _deeppcb_pair(image: Path) -> Labelled:
    stem = image.name.removesuffix("_test.jpg")
    labels = image.parent.parent / f"{image.parent.name}_not" / f"{stem}.txt"
    try:
        rows = [[int(word) for word in line.split()] for line in labels.read_text("utf-8").splitlines() if line.strip()]
        truth = tuple(
            (DEEPPCB_CODES[kind], (float(x0), float(y0), float(x1), float(y1))) for x0, y0, x1, y1, kind in rows
        )
        golden = read_image(image.with_name(f"{stem}_temp.jpg"))
        group = image.parent.parent.name
        return Labelled(name=stem, image=read_image(image), golden=golden, truth=truth, group=group)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"labels {labels}: {error}") from error
    except PartFault as fault:
        raise ConfigError(fault.text) from fault

"""Inspecting without a line: the station's own inspector, on frames from files or memory."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from edge_agent.adapters.cameras.image_file import read_image
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.catalogue import own_limits, resolve
from edge_agent.adapters.detectors.opening import open_detector
from edge_agent.config.load import load_recipe
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import ClassLimit, GoldenRule, ImageLimits, Recipe, RecipeRef
from edge_agent.inspecting.gate import Reference
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.inspector import Inspector

MODELS = Path(__file__).resolve().parents[2] / "models"
"""The models that come with the product."""


def taught_models() -> Path:
    """Models taught on this box: in the state folder, which is searched after the models folder."""
    return Path(os.environ.get("STATE_DIRECTORY", "state").partition(":")[0]).resolve() / "models"


UNHURRIED_MS = 600_000.0
DESK = "desk"


class NoCamera:
    """Implements ``ports.Camera`` for an inspector that is handed its frames."""

    def open(self) -> None:
        """Nothing to open."""

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """There is no camera: always a PartFault."""
        raise PartFault("camera.none", "there is no camera at the desk")

    def close(self) -> None:
        """Nothing to close."""


class GivenGoldens(Goldens):
    """Golden images given in memory by the frame's source; others are read from files."""

    def __init__(self) -> None:
        super().__init__(read_image)
        self.given: dict[str, Reference] = {}

    def reference(self, rule: GoldenRule | None, frame: Frame) -> Reference | None:
        """The given one, else the rule's."""
        return self.given.get(frame.source) or super().reference(rule, frame)


def plain_recipe(model: str) -> Recipe:
    """No product knowledge: any usable image, every class counts at a score of 0.5."""
    digest = hashlib.sha256(f"default {model}".encode()).hexdigest()
    anything = ClassLimit(code="*", reject_score=0.5, doubt_score=0.5)
    return Recipe(
        ref=RecipeRef(recipe_id="default", version=1, sha256=digest),
        product_id=DESK,
        model=model,
        image=ImageLimits(),
        golden=None,
        limits=(),
        default_limit=anything,
    )


def recipe_of(file: Path | None, model: str | None) -> Recipe:
    """The recipe file's, or the plain one for a model; a model given beside a recipe replaces its model."""
    if file is None:
        return plain_recipe(model or "board")
    recipe = load_recipe(file)
    return replace(recipe, model=model) if model else recipe


class Desk:
    """One detector and one recipe, for image after image.

    Args:
        own: models of a box, searched after ``models``; those of this box without it.

    Raises:
        ConfigError: no such model, or it fails its verification.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        models: Path = MODELS,
        own: Path | None = None,
        threads: int = 1,
        min_score: float | None = None,
    ) -> None:
        self.clock = SystemClock()
        options, own = DetectorOptions(threads=threads), own or taught_models()
        detectors = {
            name: open_detector(resolve(models, name, own), options, clock=self.clock, min_score=min_score)
            for name in recipe.models
        }
        for one in detectors.values():
            recipe = recipe.completed(own_limits(one.card))
            one.warm_up()
        self.recipe = recipe
        self.detector = detectors[recipe.model]
        self._goldens = GivenGoldens()
        self._inspector = Inspector(
            camera=NoCamera(),
            recipes={recipe.product_id: recipe},
            detectors=detectors,
            goldens=self._goldens,
            clock=self.clock,
            cycle_ms=UNHURRIED_MS,
            grab_timeout_s=1.0,
        )

    def inspect_file(self, image: Path, golden: Path | None = None) -> Inspection:
        """An image file; one that cannot be read is NOT_INSPECTED, with the reason."""
        recipe = replace(self.recipe, golden=GoldenRule(image_path=str(golden))) if golden else self.recipe
        try:
            pixels = read_image(image, max_megapixels=recipe.image.max_megapixels)
        except PartFault as fault:
            reason = Reason(code=fault.code, text=fault.text)
            return self._inspector.refuse(self._shot(image.stem), reason).inspection
        frame = self._frame(pixels, str(image))
        return self._inspector.judge(self._shot(image.stem), frame, recipe).inspection

    def inspect_pixels(self, pixels: Pixels, golden: Pixels | None, name: str) -> Inspection:
        """An image in memory against a golden image in memory."""
        self._goldens.given = {} if golden is None else {name: Reference.of(golden)}
        return self.inspect_prepared(pixels, name)

    def prepare(self, golden: Pixels, name: str) -> None:
        """Keep a golden image for `inspect_prepared`, as a station keeps its product's."""
        self._goldens.given[name] = Reference.of(golden)

    def inspect_prepared(self, pixels: Pixels, name: str) -> Inspection:
        """An image in memory against the golden image prepared under this name."""
        return self._inspector.judge(self._shot(name), self._frame(pixels, name), self.recipe).inspection

    def _shot(self, part_id: str) -> Shot:
        return Shot(
            shot_id=self.clock.new_id(),
            station_id=DESK,
            part_id=part_id,
            product_id=self.recipe.product_id,
            trigger_id=part_id,
            triggered_at=self.clock.now(),
            triggered_ns=self.clock.monotonic_ns(),
        )

    def _frame(self, pixels: Pixels, source: str) -> Frame:
        return Frame(
            frame_id=self.clock.new_id(), camera_id=DESK, pixels=pixels, captured_at=self.clock.now(), source=source
        )

"""The camera at the end of the line: it photographs panels into a shared folder, whole files only."""

from collections import deque
from pathlib import Path

import cv2
import numpy as np

from edge_agent.simulation.boards import Imaging, Placement, layout, render
from edge_agent.simulation.line.products import PRODUCTS, PX_PER_MM
from edge_agent.simulation.process import Flaw, Panel


class Photographer:
    """Writes one image per panel and keeps the newest ones, as a share with a clean-up job does.

    Attributes:
        kept: images that stay in the folder; older ones are deleted.
    """

    def __init__(self, folder: Path, *, kept: int = 200) -> None:
        self.folder = folder
        self.kept = kept
        self._written: deque[Path] = deque()
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.p[ng][gm]*"):
            stale.unlink(missing_ok=True)

    def shoot(self, panel: Panel, part_id: str) -> Path:
        """Photograph a panel; the file appears under its final name only when it is complete."""
        rng = np.random.default_rng([panel.noise_seed, panel.number])
        placements = [placement(flaw) for flaw in panel.flaws]
        picture = render(layout(PRODUCTS[panel.product_id]), placements, imaging(panel, rng), rng)
        target = self.folder / f"{part_id}.png"
        part = self.folder / f".{part_id}.part"
        packed = cv2.imencode(".png", picture.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        part.write_bytes(packed.tobytes())
        part.replace(target)
        self._written.append(target)
        while len(self._written) > self.kept:
            self._written.popleft().unlink(missing_ok=True)
        return target


def placement(flaw: Flaw) -> Placement:
    """A flaw of the process as a defect to draw; grosser ones are larger."""
    return Placement(
        code=flaw.code,
        x_px=flaw.x_mm * PX_PER_MM,
        y_px=flaw.y_mm * PX_PER_MM,
        size_px=10.0 + 18.0 * flaw.severity,
    )


def imaging(panel: Panel, rng: np.random.Generator) -> Imaging:
    """How the station photographs this panel: fixture play, its lamp, its focus."""
    return Imaging(
        shift_xy_px=(float(rng.uniform(-3, 3)), float(rng.uniform(-3, 3))),
        angle_deg=float(rng.uniform(-0.15, 0.15)),
        blur_px=0.6 + panel.defocus_px,
        noise=2.5,
        gain=0.97 * panel.illumination,
        vignette=0.05,
    )

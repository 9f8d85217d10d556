"""A camera that looks at rendered boards: for trying a configuration without a device."""

import numpy as np

from edge_agent.config.stations import SimulatedCameraOptions
from edge_agent.domain.faults import Transient
from edge_agent.domain.frame import Frame
from edge_agent.domain.part import Shot
from edge_agent.ports import Clock
from edge_agent.simulation.boards import CODES, SIZE_PX, Imaging, Placement, layout, render


class SimulatedCamera:
    """Implements ``ports.Camera``. The n-th frame after opening depends on the layout, the seed and n alone."""

    def __init__(self, options: SimulatedCameraOptions, *, camera_id: str, clock: Clock) -> None:
        self._options = options
        self._camera_id = camera_id
        self._clock = clock
        self._count: int | None = None

    def open(self) -> None:
        """Start again with the first board."""
        layout(self._options.layout)
        self._count = 0

    def grab(self, shot: Shot, timeout_s: float) -> Frame:
        """The next board. Raises Transient when the camera is not open."""
        if self._count is None:
            raise Transient(f"simulated camera {self._camera_id} is not open")
        number, self._count = self._count, self._count + 1
        rng = np.random.default_rng([self._options.seed, number])
        imaging = Imaging(
            shift_xy_px=(float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5))),
            angle_deg=float(rng.normal(0, 0.05)),
            gain=float(rng.uniform(0.95, 1.05)),
            vignette=0.05,
        )
        made = render(layout(self._options.layout), self._defects(rng), imaging, rng)
        return Frame(
            frame_id=self._clock.new_id(),
            camera_id=self._camera_id,
            pixels=made.pixels,
            captured_at=self._clock.now(),
            source=f"simulated:{self._options.layout}:{self._options.seed}:{number}",
        )

    def close(self) -> None:
        """Nothing to release."""
        self._count = None

    def _defects(self, rng: np.random.Generator) -> list[Placement]:
        if rng.random() >= self._options.defect_rate:
            return []
        return [
            Placement(
                code=str(rng.choice(CODES)),
                x_px=float(rng.uniform(0, SIZE_PX)),
                y_px=float(rng.uniform(0, SIZE_PX)),
                size_px=float(rng.uniform(8, 24)),
            )
            for _ in range(1 + int(rng.poisson(0.3)))
        ]

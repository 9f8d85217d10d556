"""Images in a folder, without retention."""

import hashlib
from datetime import datetime
from pathlib import Path
from uuid import UUID

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.frame import Pixels
from edge_agent.domain.inspection import ImageRef


class FolderImages:
    """Implements ``ports.ImageStore``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, pixels: Pixels, *, inspection_id: UUID, role: str, at: datetime) -> ImageRef:
        body = cv2.imencode(".jpg", pixels)[1].tobytes()
        ref = ImageRef(
            role=role,
            path=f"{at:%Y-%m-%d}/{inspection_id}-{role}.jpg",
            sha256=hashlib.sha256(body).hexdigest(),
            size_bytes=len(body),
        )
        self.path(ref).parent.mkdir(parents=True, exist_ok=True)
        self.path(ref).write_bytes(body)
        return ref

    def path(self, ref: ImageRef) -> Path:
        return self._folder / ref.path

    def get(self, ref: ImageRef) -> npt.NDArray[np.uint8]:
        return cv2.imdecode(np.frombuffer(self.path(ref).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)

    def prune(self, *, now: datetime) -> int:
        return 0

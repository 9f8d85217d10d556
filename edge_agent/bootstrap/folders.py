"""Where the box keeps things."""

import os
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config.plant import PlantFile
from edge_agent.domain.faults import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the box keeps things.

    Attributes:
        state: everything below is in it; the only folder the agent writes to.
    """

    state: Path

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def documents(self) -> Path:
        return self.state / "documents"

    @classmethod
    def of(cls, plant: PlantFile) -> "Folders":
        """The configured state folder, systemd's, or ``state`` below the working directory; made and checked.

        Raises:
            ConfigError: it cannot be written to.
        """
        state = plant.state_dir or Path(os.environ.get("STATE_DIRECTORY", "state").partition(":")[0])
        state = state.resolve()
        try:
            state.mkdir(parents=True, exist_ok=True)
            probe = state / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError(f"state folder {state} cannot be written to: {error.strerror}") from error
        return cls(state=state)

"""The broker is started once for each test: a broken one spoils nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.domain.faults import ConfigError
from edge_agent.simulation.broker import Broker, find_program


@pytest.fixture(scope="session")
def _mosquitto() -> None:
    try:
        find_program("mosquitto")
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def broker(tmp_path: Path, _mosquitto: None) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running

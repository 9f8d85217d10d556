"""What is missing is named: the Python package, or a library of the machine's that it needs."""

import pytest

from edge_agent.adapters.cameras.genicam import absent


@pytest.mark.parametrize(
    ("error", "wanted", "unwanted"),
    [
        (
            "libpython3.11.so.1.0: cannot open shared object file: No such file or directory",
            "apt-get install libpython3.11",
            "pip install",
        ),
        ("libGenApi.so: cannot open shared object file: No such file or directory", "libGenApi.so", "apt-get"),
        ("No module named 'harvesters'", "pip install 'edge-agent[genicam-harvesters]'", "apt-get"),
    ],
)
def test_what_is_missing_is_named(error: str, wanted: str, unwanted: str) -> None:
    told = absent(error)
    assert wanted in told
    assert unwanted not in told

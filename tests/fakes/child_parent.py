"""A parent that starts a child, writes down its process id, and then waits to be killed."""

import sys
import time
from pathlib import Path

from edge_agent.runtime.children import Child

if __name__ == "__main__":
    child = Child("tests.fakes.child_targets:Obliging", {}, name="orphan-to-be")
    pid = child.call("greet", {"who": "you"}, 20)["pid"]
    Path(sys.argv[1]).write_text(f"{pid}\n", encoding="ascii")
    time.sleep(600)

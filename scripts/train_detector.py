#!/usr/bin/env python
"""Train, quantize and package a golden-pair detector.

    python scripts/train_detector.py train  board   --steps 3000 --work build/train
    python scripts/train_detector.py train  deeppcb --steps 4000 --work build/train --data DeepPCB --from-board
    python scripts/train_detector.py package board --version 1 --work build/train --out models
    python scripts/train_detector.py record board/1 --data boards:1:200

Training is seeded and goes on from its last checkpoint. torch and onnx are needed here and nowhere else
(`pip install edge-agent[train]`). See docs/training.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import package, record, train


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train.add_arguments(commands.add_parser("train"))
    package.add_arguments(commands.add_parser("package"))
    record.add_arguments(commands.add_parser("record"))
    options = parser.parse_args()
    {"train": train.run, "package": package.run, "record": record.run}[options.command](options)


if __name__ == "__main__":
    main()

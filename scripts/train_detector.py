#!/usr/bin/env python
"""Train, quantize and package a golden-pair detector.

    python scripts/train_detector.py train  board   --steps 3000 --work build/train
    python scripts/train_detector.py train  board   --steps 3000 --work build/train --resume
    python scripts/train_detector.py train  deeppcb --steps 2000 --start build/train/board/last.pt --data DeepPCB
    python scripts/train_detector.py package board --version 3 --work build/train --out models
    python scripts/train_detector.py record board/3 --data boards:1:200
    python scripts/train_detector.py report board --work build/train --figures build/evaluation/figures.json

Training is seeded; --resume goes on from its last checkpoint and sees the batches it would have seen. torch and onnx
are needed here and nowhere else (`pip install edge-agent[train]`). See docs/training.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import package, record, report, train


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train.add_arguments(commands.add_parser("train"))
    package.add_arguments(commands.add_parser("package"))
    record.add_arguments(commands.add_parser("record"))
    report.add_arguments(commands.add_parser("report"))
    options = parser.parse_args()
    steps = {"train": train.run, "package": package.run, "record": record.run, "report": report.run}
    steps[options.command](options)


if __name__ == "__main__":
    main()

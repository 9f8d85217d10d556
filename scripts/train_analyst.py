#!/usr/bin/env python
"""Fine-tune the default language model for the agent's two tasks, as a low-rank adapter in a GGUF file.

    python scripts/train_analyst.py --out build/analyst.gguf --minutes 45
    edge-agent llm qualify default --adapter build/analyst.gguf

The dialogues come from the shipped catalogue, from made-up ones, and from the ranker's arithmetic (see
scripts/analyst/dialogues.py); the exam's questions are of other series. Two processor cores do it in hours, a GPU in
minutes. torch and gguf are needed here and nowhere else (`pip install edge-agent[train]`). See docs/llm.md.
"""

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

MODEL = ROOT / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"
LICENCE = "apache-2.0"


def main() -> int:
    """Parse the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=MODEL, help="GGUF of a Llama architecture (default: %(default)s)")
    parser.add_argument("--catalogue", type=Path, default=ROOT / "plant_config" / "fmea" / "pcb.yaml")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=45.0, help="stop then, whatever the steps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16.0)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--notes", type=float, default=0.3, help="share of dialogues that ask for a text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    import torch
    from analyst.dialogues import dialogues
    from analyst.export import save
    from analyst.fit import Tokens, batches, fit
    from analyst.network import Network

    from edge_agent.config.catalogue import load_catalogue

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    network = Network(options.base, rank=options.rank, alpha=options.alpha)
    count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    print(f"base {options.base.name}, adapter of {count / 1e6:.1f} million weights", flush=True)
    source = dialogues(load_catalogue(options.catalogue), f"train-{options.seed}", notes=options.notes)

    def write(step: int) -> None:
        sha256 = hashlib.sha256(options.base.read_bytes()).hexdigest()
        save(
            network,
            options.out,
            name=f"edge-agent analyst, {step} steps",
            alpha=options.alpha,
            base_sha256=sha256,
            licence=LICENCE,
        )

    done = fit(
        network,
        batches(source, Tokens(options.base), options.batch),
        steps=options.steps,
        minutes=options.minutes,
        rate=options.rate,
        say=lambda line: print(line, flush=True),
        keep=write,
    )
    write(done)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB after {done} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())

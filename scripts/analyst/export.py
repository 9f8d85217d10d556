"""Write the trained adapters as a GGUF file that llama.cpp lays over the same base model."""

from pathlib import Path

import gguf
import numpy as np

from analyst.network import Network


def save(network: Network, path: Path, *, name: str, alpha: float, base_sha256: str, licence: str) -> None:
    """Complete, or not at all."""
    half = path.with_suffix(".part")
    half.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(half, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_name(name)
    writer.add_license(licence)
    writer.add_string("edge_agent.base_sha256", base_sha256)
    for place, adapted in network.adapters().items():
        writer.add_tensor(f"{place}.lora_a", adapted.a.detach().float().numpy().astype(np.float16))
        writer.add_tensor(f"{place}.lora_b", adapted.b.detach().float().numpy().astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    half.replace(path)

"""Begin with the weights of a packaged model: `model_fp16.onnx` holds them, batch norm folded into the convolutions."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from training.network import GoldenPair


def load_packaged(network: GoldenPair, file: Path, compared: Iterable[Tensor] = ()) -> None:
    """Load a packaged model's weights.

    Args:
        file: written by `training.export.write_fp16`.
        compared: inputs of the network, see `training.network.compare`: batch norms are put back so that they do
            nothing on these. Without any the network is good for inference only.

    Raises:
        SystemExit: the file holds another network.
    """
    weights = _weights(file)
    modules = dict(network.named_modules())
    expected = {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    if set(weights) != expected:
        raise SystemExit(f"{file}: another network: {sorted(expected ^ set(weights))[:3]} are only in one of them")
    for name, (weight, bias) in weights.items():
        convolution = modules[name]
        if convolution.weight.shape != weight.shape:
            raise SystemExit(f"{file}: {name} is {tuple(weight.shape)}, expected {tuple(convolution.weight.shape)}")
        convolution.weight.data.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.data.copy_(bias)
        else:
            _neutral(_norm_behind(modules, name), bias)
    _settle(network, compared)


def _weights(file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution, by the module's name."""
    graph = onnx.load(str(file)).graph
    constants = {one.name: torch.tensor(numpy_helper.to_array(one).astype(np.float32)) for one in graph.initializer}
    return {
        module_name(node.name): (constants[node.input[1]], constants[node.input[2]])
        for node in graph.node
        if node.op_type == "Conv"
    }


def module_name(node: str) -> str:
    """`/network/near/near.1/first/first.0/Conv` is the module `near.1.first.0`."""
    parts: list[str] = []
    for part in node.split("/")[2:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def _norm_behind(modules: dict[str, nn.Module], convolution: str) -> nn.BatchNorm2d:
    stem, _, number = convolution.rpartition(".")
    found = modules[f"{stem}.{int(number) + 1}"]
    if not isinstance(found, nn.BatchNorm2d):
        raise SystemExit(f"no batch norm behind {convolution}")
    return found


def _neutral(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Adds the bias and does nothing else, in evaluation."""
    norm.running_mean, norm.running_var = torch.zeros_like(bias), torch.full_like(bias, 1 - norm.eps)
    norm.weight.data.fill_(1)
    norm.bias.data.copy_(bias)


def _settle(network: GoldenPair, compared: Iterable[Tensor]) -> None:
    """Give each batch norm the statistics of its input, and weights that undo them: the same answer in training."""
    sums = {module: [0.0, 0.0, 0] for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    hooks = [module.register_forward_pre_hook(_adds_to(total)) for module, total in sums.items()]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for one in compared:
            network(one)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    for norm, (total, squares, number) in sums.items():
        if not number:
            return
        mean = torch.as_tensor(total) / number
        variance = (torch.as_tensor(squares) / number - mean**2).clamp(min=1e-4)
        norm.running_mean, norm.running_var = mean, variance
        norm.weight.data.copy_((variance + norm.eps).sqrt())
        norm.bias.data.add_(mean)


def _adds_to(total: list) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float()
        total[0] = total[0] + x.sum(dim=(0, 2, 3))
        total[1] = total[1] + (x * x).sum(dim=(0, 2, 3))
        total[2] += x.numel() // x.shape[1]

    return add

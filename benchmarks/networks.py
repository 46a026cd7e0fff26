"""Parameters and speed of every network of our own on one thread.  `python -m benchmarks.networks`"""

import time

import torch
from torch import nn

from fer_pipeline.models.networks import OWN, build_network, default_size

CLASSES = 7
BATCH = 32


def main() -> None:
    torch.set_num_threads(1)
    print("| network | input | parameters | training, crops/s | prediction, crops/s |\n|---|---|---|---|---|")
    for name in [*OWN, "resnet50"]:
        size = default_size(name) if name in OWN else 64
        network = build_network(name, CLASSES, size)
        speeds = " | ".join(f"{measure(network, size, learning=learning):,.0f}" for learning in (True, False))
        print(f"| `{name}` | {size} px | {count_parameters(network):,} | {speeds} |", flush=True)


def count_parameters(network: nn.Module) -> int:
    """Weights that training may change."""
    return sum(parameter.numel() for parameter in network.parameters())


def measure(network: nn.Module, size: int, *, learning: bool) -> float:
    """Crops a second of processor time, the best of three batches; learning: forward and backward, no optimizer."""
    pictures = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    network.train(learning)
    seconds = []
    for _ in range(4):
        started = time.process_time()
        with torch.set_grad_enabled(learning):
            logits = network(pictures)
        if learning:
            logits.sum().backward()
        seconds.append(time.process_time() - started)
    return BATCH / min(seconds[1:])


if __name__ == "__main__":
    main()

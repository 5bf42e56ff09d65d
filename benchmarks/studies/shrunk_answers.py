"""What shrunk models answer beside the masked ones they were made of, and what they cost beside torch's own counts.

    python benchmarks/studies/shrunk_answers.py                                 # all, by coupled-channel and channel
    python benchmarks/studies/shrunk_answers.py resnet20 vit --inputs 500

Architectures are small. Weights are random, half of the channels pruned, statistics of batch norm those of some inputs.
The bias of the last layer is moved so that the mean output is zero: else all inputs get one answer. Inputs are normal
noise, or tokens.

- difference: the largest of two outputs, relative to the largest output; differ: inputs that are answered otherwise,
  and how many of them are ties; commonest: the share of inputs that get the commonest answer;
- parameters: of the shrunk model's tensors; settings: by formula from its modules' channels, groups and kernels;
- MACs: of the shrunk model by `prunebench.measure.count_macs`; torch: half of what `torch.utils.flop_counter` counts.
  It counts no LSTM on the CPU; added is tokens * 4 * units * (inputs + units).
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version

import torch
from channel_models import ARCHITECTURES, Architecture
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from prunebench.data import Examples
from prunebench.machine.environment import cpu_name
from prunebench.measure import count_macs
from prunebench.models.channels import GATES
from prunebench.shrink import shrunk
from prunebench.tasks import CLASSIFICATION, compare_answers

GRANULARITIES = ("coupled-channel", "channel")
HEADERS = ["model", "by", "difference", "differ", "ties", "commonest", "parameters", "left", "settings", "MACs", "left",
           "torch"]  # fmt: skip


def main() -> None:
    """Prune, shrink, ask, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; default: all")
    parser.add_argument("--inputs", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {cpu_name()}, one thread; torch {torch.__version__}, ", end="")
    print(f"torch-pruning {version('torch-pruning')}; {options.inputs:,} inputs\n")
    cases = [(name, granularity) for name in options.names or ARCHITECTURES for granularity in GRANULARITIES]
    rows = [row(name, granularity, options.inputs) for name, granularity in tqdm(cases, desc="models")]
    print(tabulate(rows, headers=HEADERS, disable_numparse=True))


def row(name: str, granularity: str, count: int) -> list[str]:
    """One line of the table."""
    architecture = ARCHITECTURES[name]
    masked, inputs = architecture.masked(granularity=granularity), architecture.inputs(count, seed=2)
    centre_(masked, architecture, inputs)
    small = shrunk(masked, architecture.inputs()).model
    data = Examples(inputs, torch.zeros(count, dtype=torch.int64))
    found = compare_answers(masked, small, data, task=CLASSIFICATION)
    with torch.no_grad():
        most = masked(inputs[:500]).argmax(dim=1).bincount().max() / min(500, count)
    before, after = (sum(each.numel() for each in model.parameters()) for model in (masked, small))
    macs, left = (sum(count_macs(model, inputs[:1]).values()) for model in (masked, small))
    recurrent = recurrent_macs(small, inputs[:1])
    return [
        name, granularity, f"{found.difference:.1e}", f"{len(found.different)}", f"{len(found.ties)}", f"{most:.0%}",
        f"{after:,}", f"{after / before:.1%}", f"{parameters(small):,}",
        f"{left:,}", f"{left / macs:.1%}", f"{torch_macs(small, inputs[:1]):,}" + f" + {recurrent:,}" * bool(recurrent),
    ]  # fmt: skip


@torch.no_grad()
def centre_(model: nn.Module, architecture: Architecture, inputs: Tensor) -> None:
    """Move the bias of the layer that answers by the mean output."""
    model.get_parameter(architecture.dense[0].replace("weight", "bias")).sub_(model(inputs[:500]).mean(dim=0))


def torch_macs(model: nn.Module, example: Tensor) -> int:
    """Half the floating-point operations that torch counts."""
    with FlopCounterMode(display=False) as counter:
        model(example)
    return int(counter.get_total_flops()) // 2


def recurrent_macs(model: nn.Module, example: Tensor) -> int:
    """MACs of the LSTMs on an input (1, tokens), by formula."""
    units = [(each.hidden_size, each.input_size) for each in model.modules() if isinstance(each, nn.LSTM)]
    return sum(example.shape[1] * GATES * hidden * (width + hidden) for hidden, width in units)


def parameters(model: nn.Module) -> int:
    """The number of parameters that the settings of the modules say."""
    return sum(_by_settings(module) for module in model.modules())


def _by_settings(module: nn.Module) -> int:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        kernel = module.kernel_size[0] * module.kernel_size[1]
        weight = module.out_channels * module.in_channels // module.groups * kernel
        return weight + (module.bias is not None) * module.out_channels
    if isinstance(module, nn.Linear):
        return module.out_features * (module.in_features + (module.bias is not None))
    if isinstance(module, _BatchNorm):
        return 2 * module.num_features
    if isinstance(module, nn.LSTM):
        return GATES * module.hidden_size * (module.input_size + module.hidden_size + 2)
    return sum(each.numel() for each in module.parameters(recurse=False))


if __name__ == "__main__":
    main()

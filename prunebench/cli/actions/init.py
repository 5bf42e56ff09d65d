"""The work of `prunebench init`: write a prunebench.toml with comments."""

from __future__ import annotations

import json
from pathlib import Path

from prunebench.cli.shell import say
from prunebench.errors import StorageError, WorkloadError
from prunebench.models import build_model, check_model, prunable_parameters
from prunebench.storage.files import write_text
from prunebench.workloads import BUILT_IN
from prunebench.workloads.configuration import FILE

EXAMPLE = {"model": "prunebench:resnet20", "data": "prunebench:digits"}

TEXT = """\
# What prunebench prunes, how it fine-tunes, and what has to hold. Check it:  prunebench check
# Run it:             prunebench run half
# Gate it in CI:      pytest prunebench.toml

[workload.{name}]
model = {model}    # prunebench:NAME, torchvision:NAME, timm:NAME or package.module:builder
data = {data}    # prunebench:NAME, torchvision:NAME, folder:PATH, npz:PATH or package.module:function
{checkpoint}
# model_arguments = {{ num_classes = 10 }}                      # what the builder is called with
# normalize = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}   # after images are floats in [0, 1]
keep_dense = {keep_dense}    # never pruned; patterns such as "*.downsample.*"

{dense}[workload.{name}.recipe.finetune]    # how pruned models are fine-tuned, under their masks
epochs = 2
learning_rate = 0.01
batch_size = 64
# optimizer = "adamw"                                         # or "sgd", with momentum = 0.9
# augmentation = {{ crop_padding = 4, flip = true }}            # a mirrored digit is another digit: mind what you flip

[run.half]
workload = "{name}"
recipe = "finetune"
sparsity = {{ "*" = 0.5{layers} }}    # by pattern: the last that matches counts
# allocation = "erk"                                          # or, in the place of sparsity: uniform, global, lamp
# total = 0.8                                                 # share of all prunable elements
floor = {{ change = -2.0, size_percent = 60 }}                 # points against the dense model; size at most
"""

DENSE = """\
[workload.{name}.recipe.dense]    # trains the dense model, once; give a checkpoint instead if you have one
epochs = 15
learning_rate = 0.1
learning_rate_schedule = "one_cycle"
weight_decay = 5e-4
batch_size = 64

"""


def init(model: str | None, data: str | None, checkpoint: str | None, name: str, output: Path) -> None:
    """Write a prunebench.toml with comments."""
    if output.exists():
        raise StorageError(f"'{output}' is there already: name another file with --output, or remove it")
    if (model is None) != (data is None):
        raise WorkloadError(f"--{'data' if model else 'model'} is missing: give both, or neither for an example")
    if not name.isidentifier() and not name.replace("-", "_").isidentifier():
        raise WorkloadError(f"--name must be of letters, digits, '-' and '_', got {name!r}")
    if checkpoint and not Path(checkpoint).exists() and Path(checkpoint).suffix != ".safetensors":
        raise WorkloadError(f"'{checkpoint}' is not there; to train one, name it .safetensors")
    if name in BUILT_IN:
        raise WorkloadError(f"'{name}' is a workload of prunebench's own: choose another --name")
    model, data = model or EXAMPLE["model"], data or EXAMPLE["data"]
    keep, layers = _layers(model)
    text = TEXT.format(
        name=name,
        model=json.dumps(model),
        data=json.dumps(data),
        checkpoint=f"checkpoint = {json.dumps(checkpoint)}"
        if checkpoint
        else '# checkpoint = "dense.pth"                               # a state_dict or .safetensors',
        keep_dense=json.dumps(keep),
        dense="" if checkpoint and Path(checkpoint).exists() else DENSE.format(name=name),
        layers="".join(f", {json.dumps(layer)} = 0.5" for layer in layers),
    )
    write_text(output, text)
    say(f"{output}: workload '{name}', run 'half'. Next: prunebench check")
    if output.name != FILE:
        say(f"commands find a file called {FILE} by themselves; this one is named with --workload {output}")


def _layers(model: str) -> tuple[list[str], list[str]]:
    """Names of the first prunable layer, which is small and matters most, and of the last, as an example of a name."""
    built = build_model(model)
    names = [*prunable_parameters(check_model(built))]
    if not names:
        raise WorkloadError(f"model '{model}' has no weight of two or more dimensions: there is nothing to prune")
    return (names[:1] if len(names) > 1 else []), names[-1:]

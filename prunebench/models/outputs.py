"""The tensor in what a model returns."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from prunebench.errors import ModelError


def output_of(outputs: object) -> Tensor:
    """The tensor in what a model returns for n inputs.

    That is the tensor itself, what is called `logits` in a mapping or an object, or the first element of a tuple or
    list: in training GoogLeNet and Inception give auxiliary outputs beside the main ones.

    Raises:
        ModelError: there is none in it.
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return output_of(outputs["logits"])
    if (logits := getattr(outputs, "logits", None)) is not None:
        return output_of(logits)
    if isinstance(outputs, tuple | list) and outputs:
        return output_of(outputs[0])
    raise ModelError(f"the model answers with {type(outputs).__name__}: expected scores, a float tensor (n, classes)")

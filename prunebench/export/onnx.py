"""ONNX, by torch's exporter, without its optimisations: each weight keeps its name and its bits.

Those optimisations fold batch norm into convolutions and transpose weights, so that nothing in the file could be
compared with the model bit for bit. ONNX Runtime does the same when it loads a file, so nothing is lost.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.errors import ExportError, first_line
from prunebench.export.format import Exported
from prunebench.storage.files import replacing
from prunebench.storage.imports import import_extra

EXTRA = "export"


class Onnx:
    """ONNX with a dynamic batch: one input `input` (batch, ...), one output `output` (batch, ...)."""

    name, suffix = "onnx", ".onnx"

    def write(self, model: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
        """Write `model` as ONNX.

        Raises:
            ExportError: torch cannot export it, or it gives more than one tensor.
            MissingExtraError: without the extra `export`.
        """
        onnx = import_extra("onnx", extra=EXTRA)
        import_extra("onnxscript", extra=EXTRA)
        with torch.inference_mode():
            given = model(example)
        if not isinstance(given, Tensor):
            raise ExportError(f"the model answers with a {type(given).__name__}: ONNX is written of one output tensor")
        try:
            with _quiet():
                program = torch.onnx.export(
                    model,
                    (example,),
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                    input_names=["input"],
                    output_names=["output"],
                    dynamic_shapes=({0: "batch"},),
                )
            assert program is not None  # of dynamo=True
            _fold_shapes(program.model, weights={*model.state_dict()})
            proto = program.model_proto
            _forget_where_it_was_made(proto.graph)
            onnx.helper.set_model_props(proto, dict(metadata))
            content = proto.SerializeToString(deterministic=True)
        except Exception as error:  # the exporter raises whatever the model's code does
            raise ExportError(f"the model cannot be exported to ONNX: {first_line(error)}") from error
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    def open(self, path: Path, model: nn.Module) -> Exported:  # noqa: ARG002 - the file holds the whole model
        """Open a file in ONNX Runtime on the CPU, with as many threads as torch has.

        Raises:
            ExportError: absent, or ONNX Runtime does not take it.
            MissingExtraError: without the extra `export`.
        """
        onnx, runtime = (import_extra(each, extra=EXTRA) for each in ("onnx", "onnxruntime"))
        try:
            proto = onnx.load(path)
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3  # errors
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            tensors = {
                name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
                for name, value in _constants(proto.graph)
            }
        except Exception as error:  # each library has exceptions of its own
            raise ExportError(f"cannot read '{path}' as ONNX: {first_line(error)}") from error
        name = session.get_inputs()[0].name
        return Exported(
            metadata={each.key: each.value for each in proto.metadata_props},
            tensors=tensors,
            outputs=lambda inputs: torch.from_numpy(session.run(None, {name: inputs.contiguous().numpy()})[0]),
            runtime=f"ONNX Runtime {runtime.__version__}",
        )


ONNX = Onnx()


def _fold_shapes(model: Any, *, weights: Collection[str]) -> None:
    """Compute what follows from constants and no weight: else ONNX Runtime folds no batch norm."""
    optimizer = import_extra("onnxscript.optimizer", extra=EXTRA)

    def is_open(node: Any) -> bool | None:
        return False if any(value is not None and value.name in weights for value in node.inputs) else None

    optimizer.fold_constants(model, should_fold=is_open)
    optimizer.remove_unused_nodes(model)


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of the graph's initializers, and of its nodes that are constants."""
    yield from ((each.name, each) for each in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], each.t) for each in node.attribute if each.name == "value")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context in which the exporter tells nothing: what matters of it is raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _forget_where_it_was_made(graph: Any) -> None:
    """Take out the exporter's notes on its source lines: they hold paths of this machine."""
    for part in (graph.node, graph.initializer, graph.input, graph.output, graph.value_info):
        for each in part:
            each.ClearField("metadata_props")
            each.ClearField("doc_string")
    graph.ClearField("metadata_props")

"""Models: prunebench's own and others by name, prunable parameters, checkpoints in and out."""

from prunebench.models.channels import Channels, Kept, Side, channels_metadata, keep_channels_, kept_channels, places
from prunebench.models.checkpoints import (
    as_safetensors,
    cut_to_,
    load_checkpoint_,
    load_state,
    load_state_,
    read_metadata,
    save_state,
)
from prunebench.models.digests import state_digest
from prunebench.models.outputs import output_of
from prunebench.models.parameters import (
    as_array,
    check_model,
    check_values,
    copied,
    in_float32,
    prunable_parameters,
    unwrapped,
)
from prunebench.models.registry import architecture_digest, build_model, model_label, model_names
from prunebench.models.vgg import VGG

__all__ = [
    "VGG",
    "Channels",
    "Kept",
    "Side",
    "architecture_digest",
    "as_array",
    "as_safetensors",
    "build_model",
    "channels_metadata",
    "check_model",
    "check_values",
    "copied",
    "cut_to_",
    "in_float32",
    "keep_channels_",
    "kept_channels",
    "load_checkpoint_",
    "load_state",
    "load_state_",
    "model_label",
    "model_names",
    "output_of",
    "places",
    "prunable_parameters",
    "read_metadata",
    "save_state",
    "state_digest",
    "unwrapped",
]

"""A policy as safetensors: its tensors, and its architecture in words beside them; nothing is unpickled."""

import json
from operator import index
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from rlprune.export.player import Bounded, Largest, Normalise, Numbers, OneHot, Player, Switches
from rlprune.safely import plain

_POLICY = "policy"  # where the architecture is
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    Normalise: ("shape", "most"),
    Numbers: ("divisor",),
    OneHot: ("counts",),
    Largest: ("counts", "several"),
    Switches: ("shape",),
    Bounded: ("shape", "squashed"),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.ReLU: (),
    nn.Tanh: (),
    nn.Sigmoid: (),
    nn.SiLU: (),
    nn.ELU: ("alpha",),
    nn.LeakyReLU: ("negative_slope",),
    nn.Hardtanh: ("min_val", "max_val"),
    nn.Identity: (),
}
"""What each kind of layer is made from, by the names of its attributes."""
_KINDS = {kind.__name__: kind for kind in _ARGUMENTS}


def refused(player: Player) -> str:
    """Return why a policy has no description, or an empty string."""
    unknown = [type(layer).__name__ for layer in (*player.layers, player.decide) if type(layer) not in _ARGUMENTS]
    return f"a {unknown[0]} cannot be described in .safetensors; .onnx takes it" if unknown else ""


def packed(player: Player) -> bytes:
    """Return the file: tensors and, in its metadata, what is built around them."""
    layers = [_described(layer) for layer in player.layers]
    policy = {**player.about, "layers": layers, "decide": _described(player.decide)}
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in player.state_dict().items()}
    return save(tensors, {"format": "pt", _POLICY: json.dumps(policy, default=index)})


def load(file: str | Path) -> Player:
    """Return the policy of a file that ``export_policy`` wrote: a module from observations to outputs and actions.

    Raises:
        ValueError: it is damaged, or none of these.
        FileNotFoundError: it is not there.
    """
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
        tensors = load_file(file)
        policy = json.loads(about[_POLICY])
        with torch.device("meta"):  # whatever sizes it tells, no memory is taken before the tensors are found to have them
            made = Player([_made(layer) for layer in policy.pop("layers")], _made(policy.pop("decide")), policy)
        made.load_state_dict(tensors, assign=True)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{file} holds no policy that export_policy wrote: {plain(str(error), 200)}") from None
    return made.eval().requires_grad_(False)


def _described(layer: nn.Module) -> dict[str, Any]:
    values = {name: getattr(layer, name) for name in _ARGUMENTS[type(layer)]}
    return {"is": type(layer).__name__, **values, **({"bias": layer.bias is not None} if "bias" in values else {})}


def _made(words: dict[str, Any]) -> nn.Module:
    return _KINDS[words.pop("is")](**words)

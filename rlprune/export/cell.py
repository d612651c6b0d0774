"""Take the network of a finished cell away: .safetensors, .onnx, a Stable-Baselines3 .zip; an agent's also as int8 or in C."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from rlprune.export import onnx
from rlprune.export.policy import export_policy, met
from rlprune.files import write
from rlprune.pruning import surgery
from rlprune.pruning.plan import Grow
from rlprune.pruning.pruner import WEIGHTS, pruners
from rlprune.rows import Row
from rlprune.safely import plain
from rlprune.task import tasks
from rlprune.training.trainer import Trainer, make
from rlprune.words import in_words

FORMATS = (".safetensors", ".onnx", ".zip", ".h")
_FEWEST = 0.9
"""Least share of the weights counted as left that must not be zero: a few are zero by chance, or are padding.

Where a network says itself which weights are kept and zero, as those of older versions do not, all are accounted for.
"""


def export(
    row: Row, networks: Path, to: Path, *, data: str | None = None, tell: Callable[[str], object] = lambda told: None
) -> None:
    """Write the final network of a cell.

    Args:
        row: the finished cell.
        networks: folder with its ``ID.safetensors``, ``OUT/checkpoints`` of the run.
        to: the file; its suffix says the format. An ``.onnx`` policy gives action logits and is checked against PyTorch;
            ``.int8.onnx`` and ``.h`` are what ``export_policy`` makes of an agent.
        data: folder of its data now; None is where it was. Most networks are made without.
        tell: is given the table of ``export_policy``.

    Raises:
        ValueError: another suffix, a format that the cell's task does not have, a file that is damaged or another cell's, or
            a network that cannot be made again.
        FileNotFoundError: the network is not there any more.
        RuntimeError: the ONNX network disagrees with the PyTorch one.
    """
    if to.suffix not in FORMATS:
        raise ValueError(f"cannot write '{to.name}': the name must end in one of {', '.join(FORMATS)}")
    if not re.fullmatch("[0-9a-f]{16}", row.id):
        raise ValueError("its id is none that a run gives")
    source = networks / f"{row.id}.safetensors"
    if not source.is_file():
        packed = networks.parent.is_file()
        where = f"{networks.parent} has rows and no networks" if packed else f"is not at {source}"
        again = f"`rlprune show {networks.parent} {row.id}` has the command that trains it again, into another folder"
        raise FileNotFoundError(f"the network of {row.pruner}, seed {row.seed}: {where}; {again}")
    tensors, about = opened(row, source)
    if to.suffix == ".safetensors":
        write(to, source.read_bytes())
        return
    task = tasks().load(row.task)
    try:
        reads = task.settings(cast(Mapping[str, Any], row.config["recipe"])).reads
    except ValidationError as error:
        told = [f"{'.'.join(map(str, keys))}: {message}" for keys, message in in_words(error, type(task.recipe))]
        raise ValueError(f"its recipe is not one of {row.task}: {'; '.join(told)}") from None
    try:
        trainer = rebuild(row, tensors, about, data)
    except ValueError as error:
        raise ValueError(f"{error}{'; --data DIR says where its data are' if reads and data is None else ''}") from None
    try:
        if to.suffix == ".zip":
            trainer.save(to)
        elif to.suffix == ".h" or to.name.endswith(".int8.onnx"):
            _write_policy(row, trainer, to, tell)
        else:
            _write_onnx(trainer, to)
    finally:
        trainer.close()


def opened(row: Row, source: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a saved network and what is written beside them.

    Raises:
        ValueError: the file is damaged, or holds another network than the cell's.
    """
    try:
        with safe_open(source, "pt") as file:
            about = file.metadata() or {}
        tensors = load_file(source)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{source} cannot be read: {error}") from None
    if (cell := about.get("cell")) != row.id:
        raise ValueError(f"{source} holds the network of {f'cell {plain(cell, 50)}' if cell else 'no cell'}, not of {row.id}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{source} is damaged: {plain(name, 100)} holds infinities or values that are not numbers")
    zeros = _zeros(tensors, about, source)
    fewest = 0 if "zeros" not in about and _grows(row) else _FEWEST
    for name, layer in row.layers.items():
        left = int(tensors[name].count_nonzero()) + len(zeros.get(name, ())) if name in tensors else 0
        if not fewest * layer["kept"] <= left <= layer["kept"]:
            counts = f"{plain(name, 100)} has {left:,} weights that are kept, the cell was stored with {layer['kept']:,.0f}"
            raise ValueError(f"{source} is damaged, or not the network that was measured: {counts}")
    return tensors, about


def _zeros(tensors: Mapping[str, Tensor], about: Mapping[str, str], source: Path) -> dict[str, list[int]]:
    """Return the places of weights that are kept and zero, as far as a file says.

    Raises:
        ValueError: it says what cannot be.
    """
    try:
        found = json.loads(about.get("zeros", "{}"))
        if all(not bool(tensors[name].flatten()[places].any()) and min(places) >= 0 for name, places in found.items()):
            return cast(dict[str, list[int]], found)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        pass
    raise ValueError(f"{source} is damaged: what it says of weights that are kept and zero cannot be")


def _grows(row: Row) -> bool:
    """Return whether weights may come back by a cell's pruner, so that many are zero that are kept."""
    try:
        pruner = pruners().load(str(row.config["pruner"]))
        settings = pruner.settings(cast(Mapping[str, Any], row.config["settings"]))
    except Exception:  # somebody's own, which is not here
        return False
    return any(isinstance(step, Grow) for step in pruner.steps(settings))


def rebuild(row: Row, tensors: Mapping[str, Tensor], about: Mapping[str, str], data: str | None = None) -> Trainer:
    """Return a trainer of the cell's task that holds the saved network, cut to its sizes."""
    outline = json.loads(about["outline"]) if "outline" in about else None
    folder = row.labels.get("folder", "") if data is None else data
    trainer = make(row.task, cast(Mapping[str, Any], row.config["recipe"]), row.seed, "cpu", folder=folder, outline=outline)
    groups = trainer.anatomy.all_groups()
    kept = {}
    for group in groups:
        maker = next(member for member in group.members if member.produces)
        size = tensors[maker.tensor].shape[maker.dim] // (maker.outer * maker.inner)
        kept[group.name] = torch.arange(group.size) % (group.size // group.blocks) < size // group.blocks
    surgery.cut(trainer.module, surgery.cuts(trainer.module, groups, kept, trainer.anatomy.copies), trainer.optimizers)
    trainer.module.load_state_dict(tensors)
    if row.cut == WEIGHTS:  # the file of a finished network has zeros where weights are pruned, and says which others are
        masks = {name: tensors[name] != 0 for name in trainer.anatomy.all_weights()}
        for name, places in json.loads(about.get("zeros", "{}")).items():
            masks[name].view(-1)[places] = True
        trainer.masked.set({name: mask for name, mask in masks.items() if not bool(mask.all())})
    trainer.resized()
    return trainer


def _write_policy(row: Row, trainer: Trainer, to: Path, tell: Callable[[str], object]) -> None:
    model = getattr(trainer, "model", None)
    if not isinstance(model, BaseAlgorithm) or (env := model.get_env()) is None:
        raise ValueError(f"{row.task} trains no agent; .h and .int8.onnx are for agents of Stable-Baselines3")
    export_policy(model, to, observations=met(model, env), tell=tell)


def _write_onnx(trainer: Trainer, to: Path) -> None:
    onnx.needed()
    network, example = trainer.deployed()
    network.eval()
    onnx.write(network, example, to)
    lots, shape = torch.Generator().manual_seed(0), (16, *example.shape[1:])
    words = not example.is_floating_point()
    inputs = torch.randint(int(example.max()) + 1, shape, generator=lots) if words else torch.randn(shape, generator=lots)
    (got,) = onnx.session(to)(inputs.numpy())
    with torch.no_grad():
        expected = network(inputs).numpy()
    if not np.allclose(got, expected, rtol=1e-4, atol=1e-5):
        raise RuntimeError(f"the ONNX network is off by {np.abs(got - expected).max():.2g}; {to} is not to be trusted")

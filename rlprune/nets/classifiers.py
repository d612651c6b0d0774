"""Image classifiers by name: our own, and torchvision's."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from torch import nn
from torchvision import models  # type: ignore[import-untyped]

from rlprune.nets import auto, resnet, resnext, vgg
from rlprune.nets.known import PUBLISHED
from rlprune.pruning.groups import Anatomy
from rlprune.words import nearest

_Make = Callable[[int], resnet.ResNet | vgg.VGG | resnext.ResNeXt]
_NETWORKS: Mapping[str, _Make] = {**resnet.NETWORKS, **vgg.NETWORKS, **resnext.NETWORKS}
NAMES = tuple(_NETWORKS)
_SIDES = (64, 224)
"""Of images that channels are followed on; some networks take only the larger."""


def classifier(name: str, classes: int) -> tuple[nn.Module, Anatomy]:
    """Return a new classifier of images [N, 3, H, W] and what of it may be pruned.

    Its weights are drawn from torch's global generator.

    Args:
        name: one of ``NAMES``, or ``torchvision/resnet34`` and the like, whose groups are found by following their channels.
        classes: outputs.

    Raises:
        ValueError: no network has this name; the message suggests the nearest one.
    """
    if name.startswith(PUBLISHED):
        known = [f"{PUBLISHED}{one}" for one in models.list_models(module=models)]
        if name not in known:
            raise ValueError(f"torchvision has no classifier '{name.removeprefix(PUBLISHED)}'{nearest(name, known)}")
        return _published(name.removeprefix(PUBLISHED), classes)
    if name not in _NETWORKS:
        ways = f"networks: {', '.join(NAMES)}, or {PUBLISHED}NAME"
        raise ValueError(f"no network is named '{name}'{nearest(name, NAMES)} ({ways})")
    made = _NETWORKS[name](classes)
    return made, made.anatomy()


def _published(name: str, classes: int) -> tuple[nn.Module, Anatomy]:
    """Return a network of torchvision, without the heads that some have for training alone."""
    try:
        net = models.get_model(name, weights=None, num_classes=classes, aux_logits=False, init_weights=True)
    except TypeError:  # it has no such heads
        net = models.get_model(name, weights=None, num_classes=classes)
    for side in _SIDES[:-1]:
        with suppress(ValueError):
            return net, auto.anatomy(net, torch.ones(2, 3, side, side))
    return net, auto.anatomy(net, torch.ones(2, 3, _SIDES[-1], _SIDES[-1]))

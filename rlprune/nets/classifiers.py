"""Image classifiers by name."""

from collections.abc import Callable, Mapping

from torch import nn

from rlprune.groups import Anatomy
from rlprune.nets import resnet, resnext, vgg
from rlprune.registry import nearest

_Make = Callable[[int], resnet.ResNet | vgg.VGG | resnext.ResNeXt]
_NETWORKS: Mapping[str, _Make] = {**resnet.NETWORKS, **vgg.NETWORKS, **resnext.NETWORKS}
NAMES = tuple(_NETWORKS)


def classifier(name: str, classes: int) -> tuple[nn.Module, Anatomy]:
    """Return a new classifier of images [N, 3, H, W] and what of it may be pruned.

    Its weights are drawn from torch's global generator.

    Raises:
        ValueError: no network has this name; the message suggests the nearest one.
    """
    if name not in _NETWORKS:
        raise ValueError(f"no network is named '{name}'{nearest(name, NAMES)} (networks: {', '.join(NAMES)})")
    net = _NETWORKS[name](classes)
    return net, net.anatomy()

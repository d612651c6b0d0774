"""Residual networks: the paper's ResNet18, ResNet50 behind a 3x3 stem, and what groups of channels any such network has.

Layers are named as in torchvision (``conv1``, ``bn1``, ``layer1`` ... ``downsample``), so that its networks have the
same anatomy.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from rlprune.pruning.groups import Anatomy, Group, stream

SLOPE = 0.05  # of LeakyReLU; Rachwan et al., 2022


class Basic(nn.Module):
    """Two 3x3 convolutions with biases, and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        inside = self.activation(self.bn1(self.conv1(maps)))
        return self.activation(self.bn2(self.conv2(inside)) + self.downsample(maps))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with biases, the last four times as wide, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        inside = self.activation(self.bn1(self.conv1(maps)))
        inside = self.activation(self.bn2(self.conv2(inside)))
        return self.activation(self.bn3(self.conv3(inside)) + self.downsample(maps))  # type: ignore[no-any-return]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A stem, stages that halve the map, a 2x2 average pool, and a head of two layers.

    Args:
        block: what stages are made of.
        blocks: how many of them in each stage.
        widths: of each stage.
        classes: outputs.
        small_images: a 3x3 stem without pooling, where ImageNet's 7x7 stem would leave little of a small image.
        hidden: units between the pool and the classes.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        classes: int,
        small_images: bool = False,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        stem = widths[0]
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False) if small_images else nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.activation = nn.LeakyReLU(SLOPE)
        self.pool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        self.stages = nn.Sequential()
        inputs = stem
        for stage, (number, width) in enumerate(zip(blocks, widths, strict=True)):
            for index in range(number):
                self.stages.append(block(inputs, width, stride=2 if stage and not index else 1))
                inputs = block.expansion * width
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(4 * inputs, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, classes),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, from torch's global generator."""
        self.apply(orthogonal)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [N, 3, H, W]."""
        maps = self.pool(self.activation(self.bn1(self.conv1(images))))
        return self.head(self.stages(maps))  # type: ignore[no-any-return]

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: all but the colours and the classes."""
        blocks = [f"stages.{index}" for index in range(len(self.stages))]
        groups = residual(self, blocks, read_by="head.3", inner=4)
        groups.append(stream(self, "head.3", ["head.3"], ["head.4"], ["head.6"]))
        return Anatomy({"network": matrices(self)}, {"network": groups}, heads=["head.6.weight"])


def residual(net: nn.Module, blocks: Sequence[str], read_by: str, inner: int = 1) -> list[Group]:
    """Return the groups of a stem ``conv1``, ``bn1`` and residual blocks up to the layer that reads the last one.

    A stream begins at the stem and at every block that has weights in its shortcut.

    Args:
        net: holds them.
        blocks: names of the blocks in order.
        read_by: the layer behind the last block.
        inner: positions of its input that belong to one channel.
    """
    groups = []
    made_by, scaled_by, readers = ["conv1"], ["bn1"], list[str]()
    for block in blocks:
        layers = dict(net.get_submodule(block).named_children())
        convolutions = [name for name in layers if name.startswith("conv")]
        for before, after in pairwise(convolutions):
            norm = before.replace("conv", "bn")
            groups.append(stream(net, f"{block}.{before}", [f"{block}.{before}"], [f"{block}.{norm}"], [f"{block}.{after}"]))
        readers.append(f"{block}.conv1")
        if isinstance(layers.get("downsample"), nn.Sequential):
            groups.append(stream(net, made_by[0], made_by, scaled_by, [*readers, f"{block}.downsample.0"]))
            made_by, scaled_by, readers = [f"{block}.downsample.0"], [f"{block}.downsample.1"], []
        made_by.append(f"{block}.{convolutions[-1]}")
        scaled_by.append(f"{block}.bn{convolutions[-1].removeprefix('conv')}")
    groups.append(stream(net, made_by[0], made_by, scaled_by, [*readers, read_by], {read_by: inner}))
    return groups


def matrices(net: nn.Module) -> list[str]:
    """Return the names of the weights of all linear layers and convolutions."""
    return [f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def orthogonal(layer: nn.Module) -> None:
    """Start a layer from orthogonal rows or columns and no bias (Rachwan et al., 2022)."""
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        nn.init.orthogonal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


NETWORKS: Mapping[str, Callable[[int], ResNet]] = {
    "resnet18": lambda classes: ResNet(Basic, (2, 2, 2, 2), (64, 128, 256, 512), classes),
    "resnet50": lambda classes: ResNet(Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), classes, small_images=True),
    "resnet-small": lambda classes: ResNet(Basic, (1, 1, 1), (16, 32, 64), classes, small_images=True, hidden=32),
}

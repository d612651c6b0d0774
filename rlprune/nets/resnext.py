"""ResNeXt as in torchvision, whose 3x3 convolutions are grouped, with its anatomy (Xie et al., 2017)."""

from collections.abc import Callable, Mapping, Sequence

from torchvision.models.resnet import Bottleneck, ResNet  # type: ignore[import-untyped]

from rlprune.nets.resnet import matrices, residual
from rlprune.pruning.groups import Anatomy


class ResNeXt(ResNet):  # type: ignore[misc]
    """torchvision's residual network.

    Args:
        blocks: bottlenecks in each of the four stages.
        groups: of every 3x3 convolution.
        width: channels a group in the first stage; twice as many in each stage that follows.
        classes: outputs.
    """

    def __init__(self, blocks: Sequence[int], groups: int, width: int, classes: int) -> None:
        super().__init__(Bottleneck, list(blocks), classes, groups=groups, width_per_group=width)

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: all but the colours and the classes."""
        blocks = [name for name, layer in self.named_modules() if isinstance(layer, Bottleneck)]
        return Anatomy({"network": matrices(self)}, {"network": residual(self, blocks, read_by="fc")}, heads=["fc.weight"])


NETWORKS: Mapping[str, Callable[[int], ResNeXt]] = {
    "resnext101-32x16d": lambda classes: ResNeXt((3, 4, 23, 3), 32, 16, classes),
    "resnext101-32x48d": lambda classes: ResNeXt((3, 4, 23, 3), 32, 48, classes),
    "resnext-small": lambda classes: ResNeXt((1, 1, 1, 1), 4, 4, classes),
}

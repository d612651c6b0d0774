"""VGG networks: the paper's VGG16 and a small one with batch normalisation, and a small one without."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from rlprune.nets.resnet import SLOPE, matrices, orthogonal
from rlprune.pruning.groups import Anatomy, stream


class VGG(nn.Module):
    """3x3 convolutions, halved where ``None`` stands, a 2x2 average pool, and linear layers.

    Args:
        maps: widths of the convolutions, None for a maximum pool.
        hidden: widths of the linear layers in front of the classes.
        classes: outputs.
        normalised: whether all but the last have BatchNorm.
    """

    def __init__(self, maps: Sequence[int | None], hidden: Sequence[int], classes: int, *, normalised: bool = True) -> None:
        super().__init__()
        self._normalised = normalised
        self.layers = nn.Sequential()
        inputs = 3
        for width in maps:
            if width is None:
                self.layers.append(nn.MaxPool2d(2))
            else:
                self.layers.append(nn.Conv2d(inputs, width, 3, padding=1))
                self.layers.extend([nn.BatchNorm2d(width)] * normalised)
                self.layers.append(nn.LeakyReLU(SLOPE))
                inputs = width
        self.layers.extend([nn.AdaptiveAvgPool2d(2), nn.Flatten()])
        inputs *= 4
        for width in hidden:
            self.layers.append(nn.Linear(inputs, width))
            self.layers.extend([nn.BatchNorm1d(width)] * normalised)
            self.layers.extend([nn.LeakyReLU(SLOPE), nn.Dropout(0.3)])
            inputs = width
        self.layers.append(nn.Linear(inputs, classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, from torch's global generator."""
        self.apply(orthogonal)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [N, 3, H, W]."""
        return self.layers(images)  # type: ignore[no-any-return]

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: all but the colours and the classes."""
        weights = matrices(self)
        groups = []
        for maker, reader in pairwise(weight.removesuffix(".weight") for weight in weights):
            before, after = self.get_submodule(maker), self.get_submodule(reader)
            norms = [f"layers.{int(maker.removeprefix('layers.')) + 1}"] * self._normalised
            flattened = isinstance(before, nn.Conv2d) and isinstance(after, nn.Linear)
            groups.append(stream(self, maker, [maker], norms, [reader], {reader: 4} if flattened else None))
        return Anatomy({"network": weights}, {"network": groups}, heads=weights[-1:])


_SIXTEEN = (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 1024)
_SMALL = (16, None, 32, None, 64)

NETWORKS: Mapping[str, Callable[[int], VGG]] = {
    "vgg16": lambda classes: VGG(_SIXTEEN, (4096, 4096), classes),
    "vgg-small": lambda classes: VGG(_SMALL, (64,), classes),
    "vgg-small-plain": lambda classes: VGG(_SMALL, (64,), classes, normalised=False),
}

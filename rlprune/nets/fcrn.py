"""Fully convolutional residual networks for depth (Laina et al., 2016): a residual encoder, up-projections, their anatomy."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck  # type: ignore[import-untyped]

from rlprune.nets.resnet import matrices, residual
from rlprune.pruning.groups import Anatomy, stream
from rlprune.words import nearest


class UpProjection(nn.Module):
    """Maps of twice the height and width: zeros between, then 5x5, ReLU and 3x3 beside a 5x5 shortcut, their sum, ReLU."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(inputs, width, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [N, width, 2H, 2W]."""
        spread = unpooled(maps)
        inside = self.activation(self.bn1(self.conv1(spread)))
        return self.activation(self.bn2(self.conv2(inside)) + self.norm(self.shortcut(spread)))  # type: ignore[no-any-return]


def unpooled(maps: Tensor) -> Tensor:
    """Return maps [N, C, 2H, 2W] with every value in the upper left of a 2x2 field of zeros."""
    count, channels, height, width = maps.shape
    return functional.pad(maps[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(count, channels, 2 * height, 2 * width)


class FCRN(nn.Module):
    """Depth in metres from an image: ImageNet's residual encoder without its head, 1x1, up-projections, 3x3.

    Args:
        block: torchvision's, what the encoder's stages are made of.
        blocks: how many of them in each stage.
        widths: of each stage.
        middle: channels between encoder and up-projections.
        up: widths of the up-projections, each twice as high and wide as the one before.
        small_images: a 3x3 stem without pooling, where ImageNet's 7x7 stem would leave little of a small image.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        middle: int,
        up: Sequence[int],
        small_images: bool = False,
    ) -> None:
        super().__init__()
        inputs, side = widths[0], 3 if small_images else 7
        self.conv1 = nn.Conv2d(3, inputs, side, 2, side // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.activation = nn.ReLU()
        self.pool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        self.stages = nn.Sequential()
        for stage, (number, width) in enumerate(zip(blocks, widths, strict=True)):
            outputs = block.expansion * width
            for index in range(number):
                stride = 2 if stage and not index else 1
                self.stages.append(block(inputs, width, stride, _shortcut(inputs, outputs, stride)))
                inputs = outputs
        self.reduce = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm = nn.BatchNorm2d(middle)
        self.up = nn.Sequential(*(UpProjection(before, after) for before, after in pairwise((middle, *up))))
        self.head = nn.Conv2d(up[-1], 1, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, from torch's global generator."""
        self.apply(_scaled)

    def forward(self, images: Tensor) -> Tensor:
        """Return the depth of images [N, 3, H, W] as [N, 1, H, W]."""
        maps = self.stages(self.pool(self.activation(self.bn1(self.conv1(images)))))
        depth = self.head(self.up(self.norm(self.reduce(maps))))
        return functional.interpolate(depth, images.shape[-2:], mode="bilinear")

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: all but the colours and the depth."""
        groups = residual(self, [f"stages.{index}" for index in range(len(self.stages))], read_by="reduce")
        made_by, scaled_by = ["reduce"], ["norm"]
        for block in (f"up.{index}" for index in range(len(self.up))):
            groups.append(stream(self, made_by[0], made_by, scaled_by, [f"{block}.conv1", f"{block}.shortcut"]))
            groups.append(stream(self, f"{block}.conv1", [f"{block}.conv1"], [f"{block}.bn1"], [f"{block}.conv2"]))
            made_by, scaled_by = [f"{block}.conv2", f"{block}.shortcut"], [f"{block}.bn2", f"{block}.norm"]
        groups.append(stream(self, made_by[0], made_by, scaled_by, ["head"]))
        return Anatomy({"network": matrices(self)}, {"network": groups}, heads=["head.weight"])


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _scaled(layer: nn.Module) -> None:
    """Start convolutions as He et al., 2015, without bias."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


_NETWORKS: Mapping[str, Callable[[], FCRN]] = {
    "fcrn": lambda: FCRN(Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), 1024, (512, 256, 128, 64)),
    "fcrn-small": lambda: FCRN(BasicBlock, (1, 1, 1), (16, 32, 64), 64, (32, 16), small_images=True),
}
NAMES = tuple(_NETWORKS)


def depth_network(name: str) -> tuple[FCRN, Anatomy]:
    """Return a new network from images to depth and what of it may be pruned.

    Its weights are drawn from torch's global generator.

    Raises:
        ValueError: no network has this name; the message suggests the nearest one.
    """
    if name not in _NETWORKS:
        raise ValueError(f"no network of depth is named '{name}'{nearest(name, NAMES)} (networks: {', '.join(NAMES)})")
    net = _NETWORKS[name]()
    return net, net.anatomy()

"""Depth from single images: all of them on the device, mirrored there a batch at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.data import depth
from rlprune.nets.fcrn import depth_network
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.probe import evaluating
from rlprune.training.recipes import DepthRecipe
from rlprune.training.supervised import Batch, SupervisedTrainer

NEAREST = 1e-3  # metres; a network may say less


class DepthTrainer(SupervisedTrainer[DepthRecipe]):
    """A network trained by the reverse Huber loss, its bias beginning at the mean depth.

    Pixels are normalised by the training images' own mean and deviation.
    """

    tempered = False

    def prepare(self, folder: Path | None) -> None:
        recipe = self.recipe
        data = depth.load(recipe.data, folder, recipe.height, recipe.width)
        pictures, depths = data.train
        if recipe.train_images is not None and recipe.train_images > len(pictures):
            raise ValueError(f"train_images asks for {recipe.train_images} images, the training data has {len(pictures)}")
        count = recipe.train_images or len(pictures)
        kept = torch.arange(count) * len(pictures) // count
        self._train = pictures[kept].to(self.device), depths[kept].to(self.device)
        self._test = data.test[0].to(self.device), data.test[1].to(self.device)
        sample = self._train[0][:: max(1, len(self._train[0]) // 1000)].float() / 255
        self._mean = sample.mean((0, 2, 3))[:, None, None]
        deviation = sample.std((0, 2, 3))[:, None, None]
        self._deviation = torch.where(deviation > 0, deviation, 1.0)  # a channel that nobody uses
        valid = self._train[1] > 0
        if not bool(valid.any()):
            raise ValueError(f"no depth is known in the {count} training images of {recipe.data}")
        self._constant = float(self._train[1].sum(dtype=torch.float64) / valid.sum())

    def sizes(self) -> dict[str, int]:
        return {}

    def recall(self, outline: Mapping[str, Any]) -> None:
        self._constant = 0.0  # a bias to begin with

    def network(self) -> tuple[nn.Module, Anatomy]:
        net, anatomy = depth_network(self.recipe.network)
        assert net.head.bias is not None
        nn.init.constant_(net.head.bias, self._constant)  # Adam at 1e-5 would take 100,000 steps for a metre
        return net, anatomy

    @property
    def steps(self) -> int:
        return max(1, len(self._train[0]) // self.recipe.batch_size)

    def batches(self, use: str, *, augmented: bool) -> Iterator[Batch]:
        """Yield whole batches; images left over wait for another pass."""
        lots = torch.Generator().manual_seed(int(self.seeds(use).generate_state(1)[0]))
        order = torch.randperm(len(self._train[0]), generator=lots).to(self.device)
        for step in range(self.steps):
            chosen = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
            pictures, depths = (part[chosen] for part in self._train)
            if augmented and self.recipe.flip:
                mirrored = (torch.rand(len(chosen), generator=lots) < 0.5).to(self.device)[:, None, None, None]
                pictures, depths = (torch.where(mirrored, part.flip(3), part) for part in (pictures, depths))
            yield self._ready(pictures), depths

    def loss(self, module: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        """Return the reverse Huber loss; a depth has no logits, and no temperature."""
        pictures, depths = batch
        return berhu(module(pictures).float(), depths)

    def measures(self) -> dict[str, float]:
        """Errors over all valid test pixels: ``rmse`` in metres, ``rel`` and ``delta1`` as shares, and the best constant's."""
        squared = constant = relative = close = pixels = torch.zeros((), dtype=torch.float64, device=self.device)
        size = self.recipe.micro_batch or self.recipe.batch_size
        for pictures, truth in zip(*(torch.split(part, size) for part in self._test), strict=True):
            valid = truth > 0
            predicted, floor = self.module(self._ready(pictures)).float(), truth.clamp(min=NEAREST)
            error = torch.where(valid, predicted - truth, 0.0).double()
            times = torch.maximum(predicted.clamp(min=NEAREST) / floor, floor / predicted.clamp(min=NEAREST))
            squared = squared + error.square().sum()
            constant = constant + torch.where(valid, truth - self._constant, 0.0).double().square().sum()
            relative = relative + (error.abs() / floor).sum()
            close = close + (valid & (times < 1.25)).sum()
            pixels = pixels + valid.sum()
        return {
            "rmse": float((squared / pixels).sqrt()),
            "rel": float(relative / pixels),
            "delta1": float(close / pixels),
            "rmse_constant": float((constant / pixels).sqrt()),
            "train_images": float(len(self._train[0])),
            "test_images": float(len(self._test[0])),
        }

    def example(self) -> Tensor:
        return self._ready(self._test[0][:1])

    def illustration(self) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]]:
        """Return two test images with their depth and what the network makes of them."""
        count = len(self._test[0])
        chosen = sorted({count // 3, 2 * count // 3})
        pictures, truth = (part[chosen] for part in self._test)
        with evaluating(self.module), torch.no_grad():
            predicted = self.module(self._ready(pictures)).float()
        return {
            "images": pictures.permute(0, 2, 3, 1).cpu().numpy(),
            "truth": truth[:, 0].cpu().numpy(),
            "predicted": predicted[:, 0].cpu().numpy(),
            "quantity": np.array("depth (m)"),
        }

    def _ready(self, pictures: Tensor) -> Tensor:
        return (pictures.float() / 255 - self._mean) / self._deviation


def berhu(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the mean reverse Huber loss over the pixels whose truth is known, above 0.

    ``|e|`` up to ``c``, ``(e² + c²) / 2c`` beyond, with ``c`` a fifth of the largest error of the batch, held fixed.

    Source: Laina et al., 2016, eq. 2.
    """
    valid = truth > 0
    error = torch.where(valid, predicted - truth, 0.0).abs()
    border = (0.2 * error.detach().max()).clamp(min=1e-6)
    large = (error.square() + border.square()) / (2 * border)
    return torch.where(error <= border, error, large).sum() / valid.sum().clamp(min=1)

"""Classification of images: bytes, on the device where they fit, augmented there a batch at a time."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlprune.data import images
from rlprune.nets.classifiers import classifier
from rlprune.pruning.groups import Anatomy
from rlprune.training.recipes import ImageRecipe
from rlprune.training.supervised import Batch, SupervisedTrainer

Pictures: TypeAlias = Tensor | images.Files


class ImageTrainer(SupervisedTrainer[ImageRecipe]):
    """A classifier trained by cross-entropy. Pixels are normalised by the training images' own mean and deviation."""

    def prepare(self, folder: Path | None) -> None:
        data = images.load(self.recipe.data, folder)
        train, test = data.train, data.test
        if self.recipe.train_images:
            kept = balanced(train[1], self.recipe.train_images)
            train = (train[0].only(kept) if isinstance(train[0], images.Files) else train[0][kept]), train[1][kept]
        self._train, self._test = self._placed(*train), self._placed(*test)
        self._classes = len(data.classes)
        sample = self._train[0][torch.arange(0, len(train[1]), max(1, len(train[1]) // 5000))].to(self.device).float() / 255
        self._mean = sample.mean((0, 2, 3))[:, None, None]
        self._deviation = sample.std((0, 2, 3))[:, None, None]
        if not bool((self._deviation > 0).any()):
            raise ValueError(f"the training images of {self.recipe.data} are all of one colour: there is nothing to learn")
        self._deviation = torch.where(self._deviation > 0, self._deviation, 1.0)  # a channel that nobody uses

    def _placed(self, pictures: Pictures, labels: Tensor) -> tuple[Pictures, Tensor]:
        """Put what is in memory on the device; files stay where they are."""
        return (pictures if isinstance(pictures, images.Files) else pictures.to(self.device)), labels.to(self.device)

    def sizes(self) -> dict[str, int]:
        return {"classes": self._classes}

    def recall(self, outline: Mapping[str, Any]) -> None:
        self._classes = int(outline["classes"])

    def network(self) -> tuple[nn.Module, Anatomy]:
        return classifier(self.recipe.network, self._classes)

    @property
    def steps(self) -> int:
        return max(1, len(self._train[0]) // self.recipe.batch_size)

    def batches(self, use: str, *, augmented: bool) -> Iterator[Batch]:
        """Yield whole batches; images left over wait for another pass."""
        pictures, labels = self._train
        lots = torch.Generator().manual_seed(int(self.seeds(use).generate_state(1)[0]))
        order = torch.randperm(len(labels), generator=lots).to(self.device)
        chosen = torch.split(order, self.recipe.batch_size)[: self.steps]
        for taken, pixels in zip(chosen, ahead(pictures, chosen), strict=True):
            batch = self._ready(pixels)
            yield (self._sized(self._augmented(batch, lots) if augmented else batch), labels[taken])

    def loss(self, module: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        pictures, labels = batch
        return functional.cross_entropy(module(pictures).float() / temperature, labels)

    def measures(self) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent, and the mean cross-entropy."""
        pictures, labels = self._test
        size = self.recipe.micro_batch or self.recipe.batch_size
        parts = ahead(pictures, torch.split(torch.arange(len(labels), device=self.device), size))
        logits = torch.cat([self.module(self._sized(self._ready(part))).float() for part in parts])
        hits = logits.topk(min(5, self._classes)).indices == labels[:, None]
        return {
            "top1": 100 * float(hits[:, 0].float().mean()),
            "top5": 100 * float(hits.any(1).float().mean()),
            "loss_test": float(functional.cross_entropy(logits, labels)),
            "train_images": float(len(self._train[0])),
            "test_images": float(len(labels)),
        }

    def example(self) -> Tensor:
        return self._sized(self._ready(self._test[0][torch.tensor([0])]))

    def _ready(self, pictures: Tensor) -> Tensor:
        return (pictures.to(self.device).float() / 255 - self._mean) / self._deviation

    def _sized(self, pictures: Tensor) -> Tensor:
        side = self.recipe.resize
        if side is None or side == pictures.shape[-1] == pictures.shape[-2]:
            return pictures
        return functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True)

    def _augmented(self, pictures: Tensor, lots: torch.Generator) -> Tensor:
        """Crop, mirror and turn each image by lots of its own."""
        recipe, count = self.recipe, len(pictures)
        if recipe.crop:
            pictures = cropped(pictures, recipe.crop, torch.randint(2 * recipe.crop + 1, (2, count), generator=lots))
        if recipe.flip:
            mirrored = (torch.rand(count, generator=lots) < 0.5).to(self.device)
            pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        if recipe.rotate:
            pictures = rotated(pictures, recipe.rotate * (2 * torch.rand(count, generator=lots) - 1))
        return pictures


def ahead(pictures: Pictures, chosen: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the images of each batch; files are read while the batch before is at work."""
    if isinstance(pictures, Tensor):
        yield from (pictures[taken] for taken in chosen)
        return
    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(pictures.__getitem__, taken) for taken in chosen[:2]]
        for number in range(len(chosen)):
            yield waiting.pop(0).result()
            if number + 2 < len(chosen):
                waiting.append(reader.submit(pictures.__getitem__, chosen[number + 2]))


def balanced(labels: Tensor, count: int) -> Tensor:
    """Return the places of ``count`` images, the first of each class in turn, in their old order.

    Raises:
        ValueError: there are fewer.
    """
    if count > len(labels):
        raise ValueError(f"train_images asks for {count} images, the training data has {len(labels)}")
    turn = torch.zeros_like(labels)
    for label in range(int(labels.max()) + 1):
        mine = labels == label
        turn[mine] = torch.arange(int(mine.sum()))
    return torch.argsort(turn, stable=True)[:count].sort().values


def cropped(pictures: Tensor, padding: int, corners: Tensor) -> Tensor:
    """Pad images [N, C, H, W] with zeros, the mean, and cut their old size out at ``corners`` [2, N], from 0 to 2·padding."""
    count, channels, height, width = pictures.shape
    padded = functional.pad(pictures, (padding,) * 4)
    rows, columns = corners.to(pictures.device)
    down = (rows[:, None] + torch.arange(height, device=pictures.device))[:, None, :, None]
    across = (columns[:, None] + torch.arange(width, device=pictures.device))[:, None, None, :]
    one = torch.arange(count, device=pictures.device)[:, None, None, None]
    return padded[one, torch.arange(channels, device=pictures.device)[None, :, None, None], down, across]


def rotated(pictures: Tensor, degrees: Tensor) -> Tensor:
    """Turn images [N, C, H, W] about their middle by ``degrees`` [N]; what comes in from outside is zero, the mean."""
    turn = torch.deg2rad(degrees).to(pictures.device)
    zero = torch.zeros_like(turn)
    matrices = torch.stack([turn.cos(), -turn.sin(), zero, turn.sin(), turn.cos(), zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, align_corners=False)

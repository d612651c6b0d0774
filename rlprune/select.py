"""Scores to what is kept: exact counts, ties to the earliest position, masks only shrink."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from rlprune.groups import Group


def quotas(sizes: Sequence[int], sparsity: float) -> list[int]:
    """Return how many weights each part keeps: each ``N_i (1 − ρ)`` to within one, their sum ``round(N (1 − ρ))`` exactly.

    Args:
        sizes: weights of each part in the dense network.
        sparsity: ρ in [0, 1).

    Raises:
        ValueError: ρ out of range.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")
    bounds, total = [0], 0
    for size in sizes:
        total += size
        bounds.append(round(total * (1 - sparsity)))
    return [stop - start for start, stop in pairwise(bounds)]


def keep_weights(scores: Mapping[str, Tensor], alive: Mapping[str, Tensor], keep: int, floor: int = 1) -> dict[str, Tensor]:
    """Return masks that keep the ``keep`` highest scores among alive weights.

    Args:
        scores: weight name to scores, ranked against one another.
        alive: masks to shrink; a name left out is all alive.
        keep: how many weights stay in all; all alive ones where there are fewer.
        floor: weights that stay in every tensor whatever their score.

    Raises:
        ValueError: a score that is not a number.
    """
    names = list(scores)
    flat = []
    for name in names:
        score = scores[name].detach().flatten()
        if not bool(score.isfinite().all()):
            raise ValueError(f"the score of {name} holds infinities or values that are not numbers")
        if name in alive:
            score = score.masked_fill(~alive[name].flatten(), -torch.inf)
        order = _highest(score, min(floor, score.numel()))
        flat.append(score.masked_fill(order & score.isfinite(), torch.inf))
    joined = torch.cat(flat)
    left = int((joined > -torch.inf).sum())
    chosen = _highest(joined, min(keep, left))
    parts = torch.split(chosen, [scores[name].numel() for name in names])
    return {name: part.view_as(scores[name]) for name, part in zip(names, parts, strict=True)}


def keep_channels(
    scores: Mapping[str, Tensor], count: Callable[[Mapping[str, int]], int], keep: int, floor: int = 1
) -> dict[str, Tensor]:
    """Return keep-masks over channels: the lowest scores go until the weights left are as near ``keep`` as one channel allows.

    Args:
        scores: group name to one score a channel, ranked against one another.
        count: weights left, given how many channels each group keeps; falls as channels go.
        keep: weights to be left.
        floor: channels that stay in every group whatever their score.

    Raises:
        ValueError: a score that is not a number.
    """
    names = list(scores)
    sizes = [scores[name].numel() for name in names]
    device = scores[names[0]].device
    joined = torch.cat([scores[name].detach().double().flatten() for name in names])
    if not bool(joined.isfinite().all()):
        raise ValueError("channel scores hold infinities or values that are not numbers")
    spared = torch.cat([_highest(scores[name].double(), min(floor, size)) for name, size in zip(names, sizes, strict=True)])
    joined = joined.masked_fill(spared, torch.inf)
    first_to_go = torch.argsort(joined, descending=True, stable=True).flip(0)[: int((~spared).sum())]
    owner = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(sizes))
    goes_from = owner[first_to_go.cpu()]

    def left(gone: int) -> int:
        lost = torch.bincount(goes_from[:gone], minlength=len(names)).tolist()
        return count({name: size - less for name, size, less in zip(names, sizes, lost, strict=True)})

    gone = bisect_left(range(len(first_to_go)), -keep, key=lambda number: -left(number))
    if gone and keep - left(gone) > left(gone - 1) - keep:
        gone -= 1
    chosen = torch.ones(len(joined), dtype=torch.bool, device=device)
    chosen[first_to_go[:gone]] = False
    return dict(zip(names, torch.split(chosen, sizes), strict=True))


def level_ranks(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return scores that rank alike in every group: the share of its channels that score lower, so each loses the same share."""
    ranks = {}
    for name, score in scores.items():
        order = torch.argsort(score, descending=True, stable=True)
        rank = torch.empty_like(score, dtype=torch.float64)
        rank[order] = torch.arange(score.numel(), 0, -1, dtype=torch.float64, device=score.device) / score.numel()
        ranks[name] = rank
    return ranks


def weights_left(shapes: Mapping[str, Sequence[int]], groups: Sequence[Group], kept: Mapping[str, int]) -> int:
    """Return how many entries tensors have once groups keep so many channels.

    Args:
        shapes: present shapes of the tensors to count.
        groups: groups with their present sizes.
        kept: group name to channels left; groups left out stay whole.
    """
    sizes = {name: list(shape) for name, shape in shapes.items()}
    for group in groups:
        gone = group.size - kept.get(group.name, group.size)
        for member in group.members:
            if member.tensor in sizes:
                sizes[member.tensor][member.dim] -= member.span(gone)
    return sum(prod(shape) for shape in sizes.values())


def _highest(values: Tensor, count: int) -> Tensor:
    """Return a mask of exactly the ``count`` highest values, ties to the earliest position, without sorting."""
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = values.kthvalue(values.numel() - count + 1).values
    chosen = values > threshold
    ties = (values == threshold).nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen

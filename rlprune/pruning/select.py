"""Scores to what is kept: exact counts, ties to the earliest position, masks only shrink."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import ceil, prod

import torch
from torch import Tensor

from rlprune.pruning.groups import Group


def quotas(
    sizes: Sequence[int], sparsity: float, least: Sequence[int] | None = None, most: Sequence[int] | None = None
) -> list[int]:
    """Return how many weights each part keeps: each ``N_i (1 − ρ)`` to within one, their sum ``round(N (1 − ρ))`` exactly.

    A part that is held back by a bound leaves the difference to the others; where all are, the sum is another.

    Args:
        sizes: weights of each part in the dense network.
        sparsity: ρ in [0, 1).
        least: weights that each part keeps at least, say its floor.
        most: weights that each part can keep, say what is alive, so that the quotas of nested rounds only fall.

    Raises:
        ValueError: ρ out of range.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")
    return _bounded(_spread(sizes, 1 - sparsity), least or [0] * len(sizes), most or sizes)


def erk(shapes: Sequence[Sequence[int]], share: float) -> list[float]:
    """Return the density of each weight of a network of which this share is kept: ``min(1, ε Σ dims / Π dims)``.

    ε is such that ``Σ density · N`` is the share of all; layers that would have more than all of their weights keep all, and ε is
    solved anew over the others.

    Source: Mocanu et al., 2018; Evci et al., 2020 (Erdős-Rényi kernel).

    Args:
        shapes: of the dense weights, a convolution's with its kernel.
        share: of all weights, in [0, 1].
    """
    sizes, sums, full = [prod(shape) for shape in shapes], [sum(shape) for shape in shapes], set[int]()
    while True:
        rest = [place for place in range(len(shapes)) if place not in full]
        wanted = share * sum(sizes) - sum(sizes[place] for place in full)
        epsilon = wanted / sum(sums[place] for place in rest) if rest else 0.0
        over = {place for place in rest if epsilon * sums[place] > sizes[place]}
        if not over:
            return [1.0 if place in full else epsilon * sums[place] / sizes[place] for place in range(len(shapes))]
        full |= over


def erk_quotas(
    shapes: Sequence[Sequence[int]], quota: int, least: Sequence[int], most: Sequence[int], end: int | None = None
) -> list[int]:
    """Return how many of ``quota`` weights each weight of a network keeps, by their ``erk`` densities as far as bounds allow.

    On the way to fewer, each is as far from its whole to its own share at the end as the network is: gradual pruning takes
    every layer along the same curve (Zhu & Gupta, 2017).

    Args:
        shapes: of the dense weights.
        quota: how many are kept in all.
        least: how many each keeps at least.
        most: how many each can keep.
        end: how many are kept in all at the end, no more than ``quota``; that many if left out.
    """
    sizes = [prod(shape) for shape in shapes]
    end = quota if end is None else end
    way = (sum(sizes) - quota) / max(1, sum(sizes) - end)
    exact = [size * (1 - way * (1 - density)) for density, size in zip(erk(shapes, end / max(1, sum(sizes))), sizes, strict=True)]
    return _bounded(_whole(accumulate(exact)), least, most)


def _bounded(free: Sequence[int], least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Return quotas inside their bounds; one that is held back leaves the difference to the others."""
    least = [min(low, high) for low, high in zip(least, most, strict=True)]
    kept = [min(max(quota, low), high) for quota, low, high in zip(free, least, most, strict=True)]
    gap = sum(free) - sum(kept)
    room = [high - own if gap > 0 else own - low for own, low, high in zip(kept, least, most, strict=True)]
    moved = _spread(room, min(1, abs(gap) / max(1, sum(room))))
    return [own + change if gap > 0 else own - change for own, change in zip(kept, moved, strict=True)]


def _spread(sizes: Sequence[int], share: float) -> list[int]:
    """Return a share of each size as whole numbers whose sums are the rounded shares of the sums."""
    return _whole(total * share for total in accumulate(sizes))


def _whole(sums: Iterable[float]) -> list[int]:
    """Return whole numbers whose running sums are these, rounded."""
    return [stop - start for start, stop in pairwise([0, *map(round, sums)])]


def keep_weights(scores: Mapping[str, Tensor], alive: Mapping[str, Tensor], quota: int, floor: int = 1) -> dict[str, Tensor]:
    """Return masks that keep the ``quota`` highest scores among alive weights.

    Args:
        scores: weight name to scores, ranked against one another.
        alive: masks to shrink; a name left out is all alive.
        quota: how many weights stay in all; all alive ones where there are fewer, and the floor's where those are more.
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
    left, spared = int((joined > -torch.inf).sum()), int((joined == torch.inf).sum())
    chosen = _highest(joined, min(max(quota, spared), left))
    parts = torch.split(chosen, [scores[name].numel() for name in names])
    return {name: part.view_as(scores[name]) for name, part in zip(names, parts, strict=True)}


def grow_weights(scores: Mapping[str, Tensor], alive: Mapping[str, Tensor], quota: int) -> dict[str, Tensor]:
    """Return masks that keep what is alive and, of the rest, the highest scores, ``quota`` weights in all.

    Args:
        scores: weight name to scores, ranked against one another.
        alive: masks to grow; a name left out is all alive.
        quota: how many weights there are in all; no fewer than are alive.

    Raises:
        ValueError: a score that is not a number.
    """
    flat = []
    for name, score in scores.items():
        if not bool(score.isfinite().all()):
            raise ValueError(f"the score of {name} holds infinities or values that are not numbers")
        whole = torch.ones_like(score, dtype=torch.bool)
        flat.append(score.detach().masked_fill(alive.get(name, whole), torch.inf).flatten())
    joined = torch.cat(flat)
    chosen = _highest(joined, min(max(quota, int((joined == torch.inf).sum())), len(joined)))
    parts = torch.split(chosen, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def keep_channels(
    scores: Mapping[str, Tensor],
    count: Callable[[Mapping[str, int]], int],
    quota: int,
    floor: int = 1,
    blocks: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Return keep-masks over channels: the lowest scores go until the weights left are as near ``quota`` as one channel allows.

    Where a group has blocks, channels go as rows: the worst of every block, then the second worst of every block, each
    row ranked by its mean score.

    Args:
        scores: group name to one score a channel, ranked against one another.
        count: weights left, given how many channels each group keeps; falls as channels go.
        quota: weights to be left.
        floor: channels that stay in every group whatever their score.
        blocks: group name to the number of blocks that keep equal counts; 1 for groups left out.

    Raises:
        ValueError: a score that is not a number.
    """
    names = list(scores)
    device = scores[names[0]].device
    blocks = dict.fromkeys(names, 1) | dict(blocks or {})
    spread = {name: scores[name].detach().double().reshape(blocks[name], -1) for name in names}
    ranked = {name: torch.sort(score, dim=1, descending=True, stable=True) for name, score in spread.items()}
    rows = {name: ranked[name].values.mean(0) for name in names}
    sizes = [row.numel() for row in rows.values()]
    joined = torch.cat(list(rows.values()))
    if not bool(joined.isfinite().all()):
        raise ValueError("channel scores hold infinities or values that are not numbers")
    spared = torch.cat([torch.arange(len(rows[name]), device=device) < ceil(floor / blocks[name]) for name in names])
    joined = joined.masked_fill(spared, torch.inf)
    first_to_go = torch.argsort(joined, descending=True, stable=True).flip(0)[: int((~spared).sum())]
    owner = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(sizes))
    goes_from = owner[first_to_go.cpu()]

    def left(gone: int) -> int:
        lost = torch.bincount(goes_from[:gone], minlength=len(names)).tolist()
        return count({name: (size - less) * blocks[name] for name, size, less in zip(names, sizes, lost, strict=True)})

    gone = bisect_left(range(len(first_to_go)), -quota, key=lambda number: -left(number))
    if gone and quota - left(gone) > left(gone - 1) - quota:
        gone -= 1
    chosen = torch.ones(len(joined), dtype=torch.bool, device=device)
    chosen[first_to_go[:gone]] = False
    kept = {}
    for name, stays in zip(names, torch.split(chosen, sizes), strict=True):
        places = ranked[name].indices
        kept[name] = torch.empty_like(places, dtype=torch.bool).scatter_(1, places, stays.expand_as(places)).flatten()
    return kept


def level_ranks(scores: Mapping[str, Tensor], blocks: Mapping[str, int] | None = None) -> dict[str, Tensor]:
    """Return scores that rank alike in every group, so each loses the same share: the share of its channels that score lower.

    Args:
        scores: group name to one score a channel.
        blocks: group name to its blocks, inside which channels are ranked; 1 for groups left out.
    """
    ranks = {}
    for name, score in scores.items():
        spread = score.reshape((blocks or {}).get(name, 1), -1)
        order = torch.argsort(spread, dim=1, descending=True, stable=True)
        share = torch.arange(spread.shape[1], 0, -1, dtype=torch.float64, device=score.device) / spread.shape[1]
        ranks[name] = torch.empty_like(spread, dtype=torch.float64).scatter_(1, order, share.expand_as(spread)).flatten()
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

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlprune.pruning import select
from rlprune.pruning.groups import chain


@given(st.lists(st.integers(1, 500), min_size=1, max_size=6), st.floats(0, 0.999))
def test_quotas_add_up_to_the_exact_count(sizes, sparsity):
    kept = select.quotas(sizes, sparsity)
    assert sum(kept) == round(sum(sizes) * (1 - sparsity))
    assert all(abs(keep - size * (1 - sparsity)) <= 1 for keep, size in zip(kept, sizes, strict=True))


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.9])
def test_a_sparsity_out_of_range_is_refused(sparsity):
    with pytest.raises(ValueError, match=str(sparsity)):
        select.quotas([10], sparsity)


@settings(deadline=None)
@given(st.data())
def test_exactly_the_highest_scores_stay_with_ties_to_the_earliest(data):
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    scores = [data.draw(st.lists(st.integers(-2, 3), min_size=size, max_size=size)) for size in sizes]
    keep = data.draw(st.integers(len(sizes), sum(sizes)))
    tensors = {str(index): torch.tensor(values, dtype=torch.float32) for index, values in enumerate(scores)}
    masks = select.keep_weights(tensors, {}, keep, floor=0 + 1)
    chosen = torch.cat(list(masks.values()))
    assert int(chosen.sum()) == keep
    joined, at = [], 0
    for values in scores:  # one weight a tensor always stays
        best = min(oracles.highest(values, 1))
        joined += [99 if position == best else value for position, value in enumerate(values)]
        at += len(values)
    assert set(chosen.nonzero().flatten().tolist()) == oracles.highest(joined, keep)


def test_pruned_weights_do_not_come_back():
    alive = {"w": torch.tensor([True, False, True, True])}
    masks = select.keep_weights({"w": torch.tensor([1.0, 9.0, 3.0, 2.0])}, alive, 2)
    assert masks["w"].tolist() == [False, False, True, True]
    everything = select.keep_weights({"w": torch.tensor([1.0, 9.0, 3.0, 2.0])}, alive, 4)
    assert everything["w"].tolist() == alive["w"].tolist()


def test_a_floor_spares_the_best_of_every_tensor():
    scores = {"small": torch.tensor([1.0, 2.0, 3.0]), "large": torch.tensor([10.0, 20.0, 30.0])}
    masks = select.keep_weights(scores, {}, 4, floor=2)
    assert masks["small"].tolist() == [False, True, True]
    assert masks["large"].tolist() == [False, True, True]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="not numbers"):
        select.keep_weights({"w": torch.tensor([1.0, bad])}, {}, 1)
    with pytest.raises(ValueError, match="not numbers"):
        select.keep_channels({"g": torch.tensor([1.0, bad])}, lambda kept: 1, 1)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.95]))
def test_channels_hit_the_weight_sparsity_to_one_channel(seed, sparsity):
    generator = torch.Generator().manual_seed(seed)
    sizes = [4, 9, 7, 3]
    net = nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 7), nn.Linear(7, 3))
    groups = chain(net, ["0", "1", "2"])
    shapes = {f"{index}.weight": tuple(net[index].weight.shape) for index in range(3)}
    scores = {group.name: torch.randint(0, 5, (group.size,), generator=generator).float() for group in groups}
    target = round(oracles.chain_weights(sizes, [9, 7]) * (1 - sparsity))
    kept = select.keep_channels(scores, lambda left: select.weights_left(shapes, groups, left), target)
    left = oracles.chain_weights(sizes, [int(kept["0"].sum()), int(kept["1"].sum())])
    spared = {(layer, min(oracles.highest(scores[str(layer)].tolist(), 1))) for layer in range(2)}
    units = [(layer, unit) for layer in range(2) for unit in range(sizes[layer + 1])]
    units.sort(key=lambda place: (-scores[str(place[0])][place[1]].item(), place))
    order = [place for place in reversed(units) if place not in spared]
    assert abs(left - target) == oracles.nearest_reachable(sizes, order, target)
    gone = {(layer, unit) for layer in range(2) for unit in range(sizes[layer + 1]) if not kept[str(layer)][unit]}
    assert gone == set(order[: len(gone)])


def test_a_group_keeps_its_floor():
    scores = {"a": torch.zeros(5), "b": torch.ones(50)}
    kept = select.keep_channels(scores, lambda left: left["a"] + left["b"], 10, floor=3)
    assert int(kept["a"].sum()) == 3
    assert int(kept["b"].sum()) == 7


def test_level_ranks_take_the_same_share_from_every_group():
    scores = {"a": torch.arange(10.0), "b": 1000 + torch.arange(20.0)}
    kept = select.keep_channels(select.level_ranks(scores), lambda left: left["a"] + left["b"], 15)
    assert [int(kept[name].sum()) for name in "ab"] == [5, 10]
    assert kept["a"].tolist() == [False] * 5 + [True] * 5


def test_blocks_keep_equal_counts_and_each_its_own_best():
    """Rows of the worst of every block: means 2.5 (b), then 3.5, 5.5, 6.5; the lone 3 of a goes between the first two."""
    scores = {"a": torch.tensor([3.0, 9.0]), "b": torch.tensor([4.0, 1.0, 3.0, 2.0, 5.0, 9.0, 4.0, 8.0])}

    def count(left):
        return left["a"] + left["b"]

    six = select.keep_channels(scores, count, 7, blocks={"b": 2})
    assert six["a"].tolist() == [False, True]
    assert six["b"].tolist() == [True, False, True, True, True, True, False, True]
    one = select.keep_channels(scores, count, 1, blocks={"b": 2})
    assert one["b"].tolist() == [True, False, False, False, False, True, False, False]
    assert one["a"].tolist() == [False, True]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4]), st.integers(1, 60), st.integers(1, 5))
def test_blocks_never_drift_apart(seed, blocks, keep, floor):
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.randint(0, 6, (size,), generator=generator).float() for name, size in (("a", 24), ("b", 36))}
    kept = select.keep_channels(scores, lambda left: sum(left.values()), keep, floor, {"a": blocks})
    for block_kept, block_scores in zip(kept["a"].chunk(blocks), scores["a"].chunk(blocks), strict=True):
        count = int(kept["a"].sum()) // blocks
        assert set(block_kept.nonzero().flatten().tolist()) == oracles.highest(block_scores.tolist(), count)
    assert all(int(mask.sum()) >= floor for mask in kept.values())
    assert abs(sum(int(mask.sum()) for mask in kept.values()) - max(keep, 2 * floor)) <= blocks


def test_level_ranks_rank_inside_blocks():
    ranks = select.level_ranks({"a": torch.tensor([1.0, 2.0, 30.0, 20.0])}, {"a": 2})
    assert ranks["a"].tolist() == [0.5, 1.0, 1.0, 0.5]


# -- Erdős-Rényi -------------------------------------------------------------------------------------------------

CARTPOLE = [(128, 4), (128, 128), (128, 128), (2, 128)]


def test_the_densities_of_cartpoles_actor_are_those_of_the_field():
    assert select.erk(CARTPOLE, 0.05) == pytest.approx([0.569, 0.0345, 0.0345, 1.0], abs=5e-4)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.05, 0.2, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("shapes", [CARTPOLE, [(64, 3, 3, 3), (64, 64, 3, 3), (10, 256)], [(7, 1)], [(2, 2), (300, 2), (2, 300)]])
def test_densities_are_those_of_a_search(shapes, share):
    assert select.erk(shapes, share) == pytest.approx(oracles.erk(shapes, share), abs=1e-9)
    kept = sum(density * np.prod(shape) for density, shape in zip(select.erk(shapes, share), shapes, strict=True))
    assert kept == pytest.approx(share * sum(np.prod(shape) for shape in shapes))


@given(
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6),
    share=st.floats(0, 1),
    floor=st.integers(0, 5),
)
def test_what_each_layer_keeps_adds_up_and_respects_its_bounds(shapes, share, floor):
    sizes = [int(np.prod(shape)) for shape in shapes]
    keep = round(share * sum(sizes))
    least = [min(floor, size) for size in sizes]
    quotas = select.erk_quotas(shapes, keep, least, sizes)
    assert all(low <= quota <= size for low, quota, size in zip(least, quotas, sizes, strict=True))
    assert sum(quotas) == max(keep, sum(least))

"""Sparse training: GMP, SET and RigL against their formulas in numpy, and plans whose steps fall inside an epoch."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from subjects import SMALL_AGENT, Tiny, bits, finish_together, seeds

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.masked import Masked
from rlprune.pruning.plan import (
    Cubic,
    Grow,
    GrowTo,
    Progress,
    Prune,
    PruneTo,
    Rewind,
    Save,
    Train,
    TrainEpoch,
    after,
    begin,
    next_action,
    trained_epochs,
)
from rlprune.pruning.probe import Probe
from rlprune.pruning.pruner import CHANNELS, WEIGHTS, Pruner, pruners
from rlprune.pruning.select import erk, grow_weights
from rlprune.task import tasks
from rlprune.training.a2c import A2CTrainer
from rlprune.training.fleet import FleetAgent
from rlprune.training.trainer import make

MOVING = ["SET", "RigL"]


def magnitude(probe):
    return {name: weight.abs() for name, weight in probe.weights.items()}


def walk(plan, epochs, parts):
    """Everything that a plan does, with where in the budget, in epochs."""
    progress, seen = begin(plan, 0.9, epochs, parts), []
    while (action := next_action(plan, 0.9, epochs, progress, parts)) is not None:
        seen.append((progress.trained + progress.part / parts, action))
        progress = after(plan, 0.9, epochs, progress, action, parts=parts)
    return seen


def follow(name, subject=None, epochs=10, parts=10, sparsity=0.8, **settings):
    subject, pruner = subject or Tiny(), pruners().load(name)
    return PlanFollower(subject, pruner, pruner.settings(settings), sparsity, epochs, "network", seeds, parts), subject


# -- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [7, 100, 208])
def test_a_fine_share_ends_where_training_can_stop_next_to_it(parts):
    plan = [Train(share=0.333, fine=True), Prune(), Train(share=0.5), Prune(), Train()]
    seen = walk(plan, 9, parts)
    first, second = (at for at, action in seen if isinstance(action, PruneTo))
    assert first == round(0.333 * 9 * parts) / parts
    assert second == round(0.5 * 9), "a share that is not fine ends an epoch"
    epochs = [action for _, action in seen if isinstance(action, TrainEpoch)]
    assert sum(epoch.last - epoch.first for epoch in epochs) == 9 * parts
    assert sum(epoch.ends for epoch in epochs) == sum(epoch.begins for epoch in epochs) == 9
    assert trained_epochs(plan, 9) == 9


@pytest.mark.parametrize("epochs", [1, 2, 3, 10])
def test_who_cannot_stop_inside_an_epoch_prunes_at_its_end_and_never_before_it(epochs):
    """GMP in a plain loop: nothing goes before a fifth of the budget is trained, least of all before any."""
    pruner = pruners().load("GMP")
    seen = [
        (at, action.sparsity) for at, action in walk(pruner.steps(pruner.settings()), epochs, 1) if isinstance(action, PruneTo)
    ]
    assert min(at for at, _ in seen) >= 0.2 * epochs
    for at, share in seen:
        at = min(max(at / epochs, 0.2), 0.8)
        assert share <= 0.9 * (1 - (1 - (at - 0.2) / 0.6) ** 3) + 1e-9
    assert seen[-1][1] == pytest.approx(0.9)


@pytest.mark.parametrize("count", [1, 5, 64])
def test_the_parts_of_an_epoch_are_its_batches_in_order(count):
    whole = [list(TrainEpoch(1, 0, first, last, 7).span(count)) for first, last in ((0, 2), (2, 6), (6, 7))]
    assert [*whole[0], *whole[1], *whole[2]] == list(range(count)) == list(TrainEpoch(1, 0).span(count))
    assert TrainEpoch(0.8, 0.4).remaining(0.25) == pytest.approx(0.7)


def test_a_plan_neither_saves_nor_rewinds_inside_an_epoch():
    for step in (Save(), Rewind()):
        with pytest.raises(ValueError, match="inside an epoch: let the Train"):
            walk([Save(), Train(share=0.55, fine=True), step, Train()], 3, 10)


def test_what_was_grown_stays_until_something_is_trained():
    moving = [Prune(by=magnitude, beyond=0.5), Grow(by=magnitude)]
    plan = [Prune(), *moving, Train(epochs=1), *moving, *moving, Train()]
    kinds = [type(action) for _, action in walk(plan, 3, 1)]
    assert kinds == [PruneTo, TrainEpoch, PruneTo, GrowTo, TrainEpoch, TrainEpoch]


def test_channels_do_not_grow():
    pruner = Pruner("Growing-S", lambda probe: probe.channel_noise(), cut=CHANNELS, plan=[Prune(), Train(), Grow(by=magnitude)])
    with pytest.raises(ValueError, match="Growing-S cuts channels and grows: what was cut cannot come back"):
        PlanFollower(Tiny(), pruner, pruner.settings(), 0.5, 3, "network", seeds)


def test_progress_of_before_has_no_parts():
    state = Progress(step=1, saved=(1, 2)).to_dict()
    del state["part"], state["still"]
    assert Progress.from_dict(state) == Progress(step=1, saved=(1, 2))


# -- the methods -----------------------------------------------------------------------------------------------------


def test_gmp_prunes_along_a_cubic_to_the_shares_of_erk():
    pruning, subject = follow("GMP", rounds=5)
    dense = {name: subject.module.get_parameter(name).shape for name in subject.anatomy.all_weights()}
    seen, ways, before = [], [], None
    while (epoch := pruning.next_epoch()) is not None:
        at = pruning.progress.epoch + pruning.progress.part / 10
        kept = {name: int(mask.sum()) for name, mask in pruning.masked.masks.items()}
        if kept != before and kept:
            seen.append((at, 1 - sum(kept.values()) / sum(math.prod(shape) for shape in dense.values())))
            ways.append(kept)
        before = kept
        subject.train_epoch(len(epoch.span(10)))
        pruning.epoch_done()
    assert [at for at, _ in seen] == [round((0.2 + 0.6 * i / 5) * 100) / 10 for i in range(1, 6)]
    expected = [0.8 * (1 - (1 - i / 5) ** 3) for i in range(1, 6)]
    assert [share for _, share in seen] == pytest.approx(expected, abs=0.002)
    for weights in subject.anatomy.weights.values():
        densities = erk([dense[name] for name in weights], 0.2)
        for name, density in zip(weights, densities, strict=True):
            size = math.prod(dense[name])
            assert before[name] == pytest.approx(density * size, abs=2)
            for (_, share), kept in zip(seen, ways, strict=True):
                assert kept[name] == pytest.approx(size * (1 - (1 - density) * share / 0.8), abs=2), "each along its own cubic"
    assert Cubic(4).sparsities(0.9) == pytest.approx([0.9 * (1 - 0.75**3), 0.9 * (1 - 0.5**3), 0.9 * (1 - 0.25**3), 0.9])


@pytest.mark.parametrize("name", MOVING)
def test_every_update_moves_the_share_of_the_cosine_and_counts_stay(name, monkeypatch):
    pruning, subject = follow(name, drop=0.4, updates=20)
    rounds = []

    def watched(action):
        masks = {key: mask.clone() for key, mask in pruning.masked.masks.items()}
        weights = {key: subject.module.get_parameter(key).detach().clone() for key in masks}
        getattr(PlanFollower, "_grow" if isinstance(action, GrowTo) else "_prune")(pruning, action)
        rounds.append((pruning.progress.epoch * 10 + pruning.progress.part, action, masks, weights, dict(pruning.masked.masks)))

    monkeypatch.setattr(pruning, "_prune", watched)
    monkeypatch.setattr(pruning, "_grow", watched)
    while (epoch := pruning.next_epoch()) is not None:
        subject.train_epoch(len(epoch.span(10)))
        pruning.epoch_done()
    (first, *moves), counts = rounds, None
    counts = {key: int(mask.sum()) for key, mask in first[4].items()}
    assert len(moves) == 2 * 19
    for number, (drop, grow) in enumerate(zip(moves[::2], moves[1::2], strict=True), start=1):
        assert drop[0] == grow[0] == round(0.75 * number / 20 * 100)
        share = 0.4 / 2 * (1 + np.cos(np.pi * number / 20))
        for key, count in counts.items():
            alive, left, there = (mask.numpy() for mask in (drop[2][key], drop[4][key], grow[4][key]))
            size = np.abs(drop[3][key].numpy())
            gone = alive & ~left
            assert gone.sum() == min(round(count * share), count - 1)
            assert not (left & ~alive).any()
            if gone.any() and left.any():
                assert size[gone].max() <= size[left].min(), "the smallest go"
            assert there.sum() == count
            assert (there | ~left).all(), "what was left stays"
    assert 1 - sum(counts.values()) / sum(layer["dense"] for layer in pruning.layers().values()) == pytest.approx(0.8, abs=1e-3)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=1e-3)


def test_rigl_grows_where_the_gradient_of_the_dense_network_is_largest():
    pruning, subject = follow("RigL", updates=2, drop=0.9, until=0.5)  # one update: half of it
    while pruning.next_epoch() is not None and pruning.progress.rounds < 2:
        before = {name: mask.clone() for name, mask in pruning.masked.masks.items()}
        subject.train_epoch()
        weights = {name: subject.module.get_parameter(name).detach().clone() for name in before}
        pruning.epoch_done()
    slopes = torch.autograd.grad(
        subject.loss(subject.module, rows=slice(10, 20)), [subject.module.get_parameter(name) for name in before]
    )
    for name, slope in zip(before, slopes, strict=True):
        # the gradient is taken with the smallest gone, which changes it a little: so that network is asked
        alive, size = before[name].numpy(), weights[name].abs().numpy()
        count = int(alive.sum())
        smallest = np.sort(size[alive])[: min(round(count * 0.45), count - 1)]
        left = alive & ~np.isin(size, smallest)
        grown = pruning.masked.masks[name].numpy() & ~left
        rest = ~left & ~grown
        assert grown.sum() == len(smallest)
        if grown.any() and rest.any():
            assert np.abs(slope.numpy())[grown].min() >= np.abs(slope.numpy())[rest].max()
        now, then = subject.module.get_parameter(name).detach(), weights[name]
        assert not now[torch.as_tensor(grown & ~alive)].any(), "new weights begin at zero"
        assert torch.equal(now[torch.as_tensor(alive)], torch.where(pruning.masked.masks[name], then, 0)[torch.as_tensor(alive)])


@pytest.mark.parametrize("name", MOVING)
def test_layers_that_stay_whole_are_left_alone(name):
    """All that was dropped there grew back at once, from zero: at 95 % a hundred updates of CartPole's policy head."""
    pruning, subject = follow(name, drop=0.4, updates=20, sparsity=0.3)
    pruning.next_epoch()
    whole = [key for key, mask in pruning.masked.masks.items() if bool(mask.all())]
    assert whole
    assert len(whole) < len(pruning.masked.masks)
    while not pruning.progress.rounds > 3:
        subject.train_epoch()
        then = {key: subject.module.get_parameter(key).detach().clone() for key in whole}
        averages = {key: copy.deepcopy(subject.optimizer.state[subject.module.get_parameter(key)]) for key in whole}
        pruning.epoch_done()
        pruning.next_epoch()
        for key in whole:
            weight = subject.module.get_parameter(key)
            assert torch.equal(weight, then[key])
            assert all(
                torch.equal(torch.as_tensor(value), subject.optimizer.state[weight][of]) for of, value in averages[key].items()
            )


def test_what_is_dropped_and_grows_again_at_once_was_never_gone():
    subject = Tiny(optimizer=torch.optim.Adam)
    masked = Masked(subject.module, subject.optimizers)
    weight = subject.module.get_parameter("actor.0.weight")
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[0] = False
    masked.set({"actor.0.weight": mask})
    subject.train_epoch()
    then, average = weight.detach().clone(), subject.optimizer.state[weight]["exp_avg_sq"].clone()
    less, grown = mask.clone(), mask.clone()
    less[1:3] = False
    held = masked.held({"actor.0.weight": less})
    masked.set({"actor.0.weight": less})
    assert not weight[1:3].any()
    grown[0], grown[2] = True, False
    masked.set({"actor.0.weight": grown}, moved=True)
    masked.put_back(held)
    assert torch.equal(weight[1], then[1])
    assert torch.equal(subject.optimizer.state[weight]["exp_avg_sq"][1], average[1])
    assert not weight[[0, 2]].any()
    assert not subject.optimizer.state[weight]["exp_avg_sq"][[0, 2]].any()


def test_grown_places_are_the_best_of_the_rest_with_exact_counts():
    lots = torch.Generator().manual_seed(0)
    scores = {"a": torch.randint(0, 4, (6, 5), generator=lots).double(), "b": torch.randint(0, 4, (7,), generator=lots).double()}
    alive = {"a": torch.rand(6, 5, generator=lots) < 0.3}
    flat = np.concatenate([np.where(alive["a"], np.inf, scores["a"]).ravel(), np.full(7, np.inf)])
    for quota in (int(np.isinf(flat).sum()), 20, 30, 37):
        found = grow_weights(scores, alive, quota)
        expected = np.zeros(37, dtype=bool)
        expected[np.argsort(-flat, kind="stable")[:quota]] = True
        assert np.array_equal(torch.cat([mask.flatten() for mask in found.values()]).numpy(), expected)
    with pytest.raises(ValueError, match="the score of a holds infinities"):
        grow_weights({"a": scores["a"].log()}, alive, 20)


@pytest.mark.parametrize(
    ("optimizer", "begins"), [(torch.optim.RMSprop, 0.0), (partial(torch.optim.Adam), 0.0), (RMSpropTFLike, 1.0)]
)
def test_the_averages_of_weights_that_come_back_begin_anew(optimizer, begins):
    subject = Tiny(optimizer=optimizer)
    masked = Masked(subject.module, subject.optimizers, starts={"square_avg": begins} if begins else {})
    weight = subject.module.get_parameter("actor.0.weight")
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[:4] = True
    masked.set({"actor.0.weight": mask})
    subject.train_epoch()
    grown = mask.clone()
    grown[4:6] = True
    masked.set({"actor.0.weight": grown}, moved=True)
    averages = [value for value in subject.optimizer.state[weight].values() if np.shape(value) == weight.shape]
    assert averages
    for average in averages:
        assert (average[4:6] == begins).all()
        assert not average[6:].any()
        assert average[:4].any()
    subject.train_epoch()
    assert weight[4:6].all()
    assert not weight[6:].any()


def test_an_agent_with_tensorflows_rmsprop_grows_as_it_began():
    agent = FleetAgent(SMALL_AGENT.model_copy(update={"optimizer": "rmsprop-tf"}), seeds, "cpu")
    agent.train_epoch(TrainEpoch(1, 1))
    weight = agent.module.action_net.weight
    mask = torch.zeros_like(weight, dtype=torch.bool)
    agent.masked.set({"action_net.weight": mask})
    agent.masked.set({"action_net.weight": ~mask}, moved=True)
    assert (agent.optimizer.state[weight]["square_avg"] == 1).all()


# -- whoever trains --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trainer",
    [
        partial(A2CTrainer, SMALL_AGENT, seeds, "cpu"),
        partial(FleetAgent, SMALL_AGENT, seeds, "cpu"),
        partial(
            make,
            "vgg-small-shapes",
            tasks().load("vgg-small-shapes").settings({}).shrunk().model_dump(exclude={"epochs"}),
            0,
            "cpu",
        ),
    ],
)
def test_an_epoch_in_parts_is_the_epoch_to_the_bit(trainer):
    whole, parted = trainer(), trainer()
    for number in range(2):
        measures = whole.train_epoch(TrainEpoch(1 - number / 3, 1 - (number + 1) / 3))
        for first, last in ((0, 1), (1, 4), (4, 5)):
            latest = parted.train_epoch(TrainEpoch(1 - number / 3, 1 - (number + 1) / 3, first, last, 5))
        assert latest == measures
    assert bits(whole.module, whole.optimizer) == bits(parted.module, parted.optimizer)
    assert whole.samples == parted.samples


def test_a_fleet_remembers_the_rollout_it_learned_from():
    """The gradient on it is what moved the weights: with RMSprop's first step, each by the same length against its sign."""
    agent = FleetAgent(
        SMALL_AGENT.model_copy(update={"budget": 20, "epochs": 1, "gae_lambda": 0.9, "entropy": 0.01}), seeds, "cpu"
    )
    before = {name: parameter.detach().clone() for name, parameter in agent.module.named_parameters()}
    agent.train_epoch(TrainEpoch(1, 1))
    after_ = {name: parameter.detach().clone() for name, parameter in agent.module.named_parameters()}
    agent.module.load_state_dict({**agent.module.state_dict(), **before})
    probe = Probe(agent.module, agent.anatomy, agent.learned(0), torch.Generator())
    assert probe.samples == 0
    moved = 0
    for name, slope in probe.gradient().items():
        clear = slope.abs() > 1e-3
        moved += int(clear.sum())
        assert torch.equal(torch.sign(before[name] - after_[name])[clear], torch.sign(slope)[clear]), name
    assert moved > 50


def agent(name, number, sparsity=0.8):
    trainer, pruner = FleetAgent(SMALL_AGENT, partial(seeds, number=number), "cpu"), pruners().load(name)
    settings = pruner.settings({"updates": 8} if name in MOVING else {"rounds": 8} if name == "GMP" else {})
    lots = partial(seeds, number=number)
    return trainer, PlanFollower(trainer, pruner, settings, sparsity, 3, "network", lots, trainer.steps)


@pytest.mark.parametrize("name", ["SET", "RigL", "GMP"])
def test_company_in_a_fleet_changes_no_bit(name):
    alone = agent(name, 1)
    finish_together(alone)
    company = [agent(name, 1), agent(name, 2), agent("Dense", 3), agent("RigL", 4), agent("SNIP", 5)]
    finish_together(*company)
    (one, one_pruning), (other, other_pruning) = alone, company[0]
    assert one_pruning.progress.rounds == other_pruning.progress.rounds > 7
    assert bits(one.module, one.optimizer) == bits(other.module, other.optimizer)
    assert one.evaluate() == other.evaluate()
    assert one_pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("kind", [A2CTrainer, FleetAgent])
@pytest.mark.parametrize("name", ["SET", "RigL", "GMP"])
def test_a_resumed_agent_goes_on_bit_identically(name, kind, tmp_path):
    def begun():
        trainer, pruner = kind(SMALL_AGENT, seeds, "cpu"), pruners().load(name)
        settings = pruner.settings({"updates": 8} if name in MOVING else {"rounds": 8})
        return trainer, PlanFollower(trainer, pruner, settings, 0.8, 3, "network", seeds, trainer.steps)

    whole = begun()
    finish_together(whole)
    trainer, pruning = begun()
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
        if epoch.ends and pruning.progress.trained < 3:
            torch.save({"trainer": trainer.state(), "pruning": pruning.state()}, tmp_path / "checkpoint")
            saved = torch.load(tmp_path / "checkpoint", weights_only=True)
            trainer, pruning = begun()
            pruning.load_state(saved["pruning"])
            trainer.load_state(saved["trainer"])
    assert bits(trainer.module, trainer.optimizer) == bits(whole[0].module, whole[0].optimizer)


def test_weights_of_a_pruner_of_ones_own_grow_by_ones_own_score():
    def first_places(probe):
        return {name: -torch.arange(weight.numel(), dtype=weight.dtype).view_as(weight) for name, weight in probe.weights.items()}

    plan = [Prune(), Train(epochs=1), Prune(by=magnitude, beyond=0.5), Grow(by=first_places), Train()]
    pruner = Pruner("Own", magnitude, cut=WEIGHTS, plan=plan, scope="layer")
    subject = Tiny()
    pruning = PlanFollower(subject, pruner, pruner.settings(), 0.5, 3, "network", seeds)
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    for name, mask in pruning.masked.masks.items():
        flat = mask.flatten()
        assert int(flat.sum()) == pytest.approx(len(flat) / 2, abs=1)
        assert flat[: len(flat) // 4].all(), f"the first places of {name} are grown"


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_nothing_moves_where_nothing_will_be_trained(epochs):
    """A loop of few epochs makes at most one update between two, and none after the last."""
    pruning, subject = follow("SET", epochs=epochs, parts=1)
    moved = 0
    while pruning.next_epoch() is not None:
        rounds = pruning.progress.rounds
        subject.train_epoch()
        pruning.epoch_done()
        moved += rounds > 1
    assert moved == epochs - 1
    before = {name: mask.clone() for name, mask in pruning.masked.masks.items()}
    assert pruning.next_epoch() is None
    assert all(torch.equal(mask, before[name]) for name, mask in pruning.masked.masks.items())
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("GMP", {"begin": 0.9, "until": 0.3}, "before the one where it ends; got 0.9 and 0.3"),
        ("SET", {"updates": 1}, "greater than or equal to 2"),
        ("RigL", {"drop": 1.0}, "less than 1"),
    ],
)
def test_settings_of_no_sense_are_refused(name, given, message):
    pruner = pruners().load(name)
    with pytest.raises(ValueError, match=message):
        pruner.steps(pruner.settings(given))


def test_a_share_beyond_all_is_refused():
    with pytest.raises(ValueError, match="beyond is a share of what is kept"):
        Prune(beyond=1.5)

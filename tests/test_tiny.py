"""Tiny: widths shrunk alike, the weights that are asked for, and a fresh network of these widths."""

import oracles
import pytest
import torch
from stable_baselines3 import A2C
from subjects import Tiny, seeds
from torch import nn

from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import Train
from rlprune.pruning.pruner import CHANNELS, WEIGHTS, Pruner, pruners
from rlprune.sb3 import PruneCallback
from rlprune.training.a2c import A2CTrainer
from rlprune.training.recipes import A2CRecipe

TINY = pruners().load("Tiny")


def follow(subject, sparsity):
    pruning = PlanFollower(subject, TINY, TINY.settings(), sparsity, 2, "network", seeds)
    pruning.next_epoch()
    return pruning


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("hidden", [(40, 40), (60, 20), (30, 50)])
def test_widths_are_shrunk_alike_to_the_weights_that_are_asked_for(hidden, sparsity):
    sizes = {"actor": (4, *hidden, 2), "critic": (4, *hidden, 1)}
    subject = Tiny(widths=sizes)
    follow(subject, sparsity)
    for network, (inputs, first, second, outputs) in sizes.items():
        one, other = (subject.module[network][index].out_features for index in (0, 2))
        assert abs(one * second - other * first) <= max(first, second), "shares of widths, within one channel"
        asked = oracles.chain_weights((inputs, first, second, outputs), hidden) * (1 - sparsity)
        now = oracles.chain_weights((inputs, one, other, outputs), (one, other))
        assert abs(now - asked) <= max(inputs + other, one + outputs)


def recipe(*widths):
    return A2CRecipe(environment="CartPole-v1", budget=960, epochs=3, environments=4, widths=widths, evaluation_games=2)


def test_its_policy_is_as_a_new_one_of_these_widths():
    """Orthogonal layers of the same gains, of which singular values tell, and the same biases."""
    trainer = A2CTrainer(recipe(40, 40), seeds, "cpu")
    follow(trainer, 0.8)
    policy = trainer.module
    found = {
        key: [layer.out_features for layer in getattr(policy.mlp_extractor, body) if isinstance(layer, nn.Linear)]
        for key, body in (("pi", "policy_net"), ("vf", "value_net"))
    }
    assert max(found["pi"]) < 25
    with torch.random.fork_rng([]):
        fresh = A2C("MlpPolicy", "CartPole-v1", seed=1, policy_kwargs={"net_arch": found}).policy
    for (name, weight), other in zip(policy.named_parameters(), fresh.parameters(), strict=True):
        assert weight.shape == other.shape
        if weight.dim() == 2:
            assert torch.allclose(torch.linalg.svdvals(weight), torch.linalg.svdvals(other), atol=1e-5)
            assert not torch.allclose(weight, other)
        else:
            assert torch.equal(weight, other), name


def test_its_weights_have_the_moments_of_new_ones():
    """A network that is drawn with the deviation 1/2, whatever its sizes, and would pass on less if old weights were kept."""
    subject = Tiny(widths={"actor": (4, 200, 200, 2), "critic": (4, 200, 200, 1)})
    with torch.no_grad():
        for name in subject.anatomy.all_weights():
            subject.module.get_parameter(name).mul_(100)
    follow(subject, 0.8)
    drawn = torch.cat([subject.module.get_parameter(name).detach().flatten() for name in subject.anatomy.all_weights()])
    assert len(drawn) > 10_000
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.02)


def test_a_callback_shrinks_an_agent():
    model = A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [32, 32]}, seed=0)
    model.learn(20, callback=PruneCallback("Tiny", 0.8, epochs=2))
    widths = model.policy.net_arch["pi"]
    assert abs(widths[0] - widths[1]) <= 1
    assert 4 * widths[0] + widths[0] * widths[1] + 2 * widths[1] == pytest.approx((4 * 32 + 32 * 32 + 2 * 32) * 0.2, abs=20)


# -- a start of a pruner's own -----------------------------------------------------------------------------------


def test_a_pruner_may_have_a_start_of_its_own():
    assert TINY.settings().start == "redrawn"
    assert TINY.settings({"start": "kept"}).start == "kept"
    assert pruners().load("SNIP").settings().start == "kept"
    with pytest.raises(
        ValueError, match=r"start of pruner Mine: got 'redrwn'; must be kept or .* or shuffled-rescaled; did you mean 'redrawn'"
    ):
        Pruner("Mine", None, cut=WEIGHTS, plan=[Train()], start="redrwn")
    assert TINY.cut == CHANNELS


def test_a_start_is_named_in_a_cells_id_where_it_is_not_kept_or_not_the_pruners_own():
    def made(*overrides):
        return cells(load_suite("cartpole", "smoke", ["pruners=['Tiny', 'Random-S']", *overrides]), "cpu")[:2]

    (tiny, random) = made("pruner.Random-S.start=kept")
    (same, kept) = made("pruning.start=kept", "pruner.Tiny.start=redrawn")
    assert "start" not in random.settings
    assert tiny.settings["start"] == "redrawn"
    assert (same.id, kept.id) == (tiny.id, random.id)
    (other, _) = made("pruner.Tiny.start=kept")
    assert other.settings["start"] == "kept"
    assert other.id != tiny.id
    assert TINY.settings(tiny.settings).start == "redrawn"
    assert TINY.settings(other.settings).start == "kept"

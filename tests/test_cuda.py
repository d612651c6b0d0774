"""What a GPU would do: on tensors that only say which device they are on, and on a real one where there is one.

Torch's fake tensors refuse arithmetic between devices and any look at a value, which would make the host wait. Whatever
passes them on ``cuda`` neither mixes devices nor waits.
"""

from dataclasses import replace
from functools import partial

import gymnasium as gym
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3.common.policies import ActorCriticPolicy
from subjects import seeds
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from rlprune.bench.cell import lacking, run_cell, run_cells
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import pruners
from rlprune.training import environments
from rlprune.training.batched import Agent, Fleet
from rlprune.training.batched_ppo import PPOFleet
from rlprune.training.depth import DepthTrainer
from rlprune.training.glue import GlueTrainer
from rlprune.training.images import ImageTrainer
from rlprune.training.language import LanguageTrainer
from rlprune.training.recipes import A2CRecipe, DepthRecipe, GlueRecipe, ImageRecipe, LanguageRecipe, PPORecipe
from rlprune.training.trainer import make

KINDS = [
    A2CRecipe(environment="CartPole-v1", budget=1, widths=(16, 16)),
    A2CRecipe(environment="Acrobot-v1", budget=1, widths=(16, 16)),
    PPORecipe(environment="CartPole-v1", budget=1, widths=(16, 16), rollout_steps=32, minibatch=8, rounds=2, entropy=0.01),
]
each_kind = pytest.mark.parametrize("recipe", KINDS, ids=lambda recipe: f"{type(recipe).__name__} {recipe.environment}")


def agents(recipe):
    """Four agents before their training."""
    env = gym.make(recipe.environment)
    spaces = env.observation_space, env.action_space
    arch = {"pi": list(recipe.widths), "vf": list(recipe.widths)}
    return [Agent(seed, ActorCriticPolicy(*spaces, lambda _: 0.0, net_arch=arch).state_dict()) for seed in range(4)]


def fleet(recipe, agents, device):
    envs = environments.make(recipe.environment, recipe.environments, device=device)
    envs.reset(torch.arange(len(agents)))
    kind = PPOFleet if isinstance(recipe, PPORecipe) else Fleet
    return kind(agents, envs, recipe, device)


def test_fake_tensors_notice_a_host_that_waits():
    with FakeTensorMode():
        numbers = torch.zeros(3, device="cuda")
        with pytest.raises(DataDependentOutputException):
            bool(numbers.any())
        with pytest.raises(RuntimeError, match="device"):
            numbers + numbers.cpu()


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7), reason="torch 2.6 asks the driver of a GPU that is not there"
)
@pytest.mark.parametrize("optimizer", ["rmsprop", "rmsprop-tf", "adam"])
@each_kind
def test_an_iteration_stays_on_the_gpu_and_does_not_wait(recipe, optimizer):
    recipe = recipe.replaced({"optimizer": optimizer, "entropy": 0.01})
    began = agents(recipe)
    with FakeTensorMode(allow_non_fake_inputs=True):
        ours = fleet(recipe, began, "cuda")
        ours.iteration()
        assert ours._weights.buffer.device.type == "cuda"


@each_kind
def test_what_lasts_from_one_iteration_to_the_next_stays_where_it_is(recipe):
    """A CUDA graph writes and reads the addresses that it recorded."""
    ours = fleet(recipe, agents(recipe), "cpu")

    def places():
        owners = [ours, ours.envs, ours.games, ours._weights, ours._gradient, *ours._moments.values()]
        return {
            (number, name): value.data_ptr()
            for number, owner in enumerate(owners)
            for name, value in vars(owner).items()
            if isinstance(value, torch.Tensor)
        }

    before = places()
    ours.train(3, [1.0] * 4, [0.0] * 4)
    assert places() == before


@pytest.mark.cuda
@each_kind
def test_a_fleet_on_the_gpu_learns_what_it_learns_on_the_cpu(recipe):
    began = agents(recipe)
    on_cpu, on_gpu = (fleet(recipe, began, device) for device in ("cpu", "cuda"))
    for each in (on_cpu, on_gpu):
        each.train(10, [1.0] * 4, [0.0] * 4)
    for name, weights in on_cpu.agent(3).weights.items():
        torch.testing.assert_close(on_gpu.agent(3).weights[name].cpu(), weights, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@each_kind
def test_a_recorded_iteration_is_the_iteration(recipe):
    began = agents(recipe)
    graph, eager = (fleet(recipe, began, "cuda") for _ in range(2))
    graph.train(10, [1.0] * 4, [1.0] * 4)
    for _ in range(10):
        eager.train(1, [1.0] * 4, [1.0] * 4)
    assert torch.equal(graph._weights.buffer, eager._weights.buffer)


CELLS = {  # suite, what makes it small, pruner
    "a2c": (
        "cartpole",
        ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2", "engine='sb3'"],
        "EarlyCroP-S",
    ),
    "fleet": ("cartpole", ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2", "solo=0"], "Random-U"),
    "alone": ("cartpole", ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"], "CroP-S"),
    "ppo": ("ppo", ["recipe.budget=1024", "recipe.rollout_steps=32", "recipe.scoring_steps=256", "engine='sb3'"], "EarlyCroP-S"),
    "ppo fleet": ("ppo", ["recipe.budget=1024", "recipe.rollout_steps=32", "recipe.scoring_steps=256"], "EarlyCroP-S"),
    "dqn": ("dqn", ["recipe.budget=1600"], "EarlyCroP-S"),
    "sac": ("sac", ["recipe.scoring_steps=64"], "CroP-U"),
    "images": ("vision", ["recipe.budget=4", "recipe.train_images=128", "recipe.scoring_batches=1"], "CroP-S"),
    "grown images": ("vision", ["recipe.budget=4", "recipe.train_images=128"], "RigL"),
    "depth": ("depth", ["recipe.budget=4", "recipe.scoring_batches=1"], "CroP-U"),
    "language": ("language", ["recipe.budget=4", "recipe.scoring_batches=1"], "SNIP"),
}


def one_cell(kind, device):
    """A cell that trains for seconds."""
    suite, small, pruner = CELLS[kind]
    options = {"pruners": pruner, "sparsities": ".9", "seeds": "1"}
    return cells(load_suite(suite, profile="smoke", overrides=small, options=options), device)[0]


@pytest.mark.cuda
def test_what_the_gpu_holds_is_of_all_of_a_fleet_and_of_no_member():
    """Each member had the memory of all that were still there for its own."""
    (alone,) = run_cells([one_cell("alone", "cuda")], [None])
    members = run_cells([replace(one_cell("fleet", "cuda"), seed=seed) for seed in range(3)], [None] * 3)
    assert alone.values["memory_static_bytes"] > 0
    assert not [one for one in members if "memory_static_bytes" in one.values]


@pytest.mark.cuda
@pytest.mark.parametrize("kind", CELLS)
def test_a_killed_cell_goes_on_where_it_was_on_the_gpu(kind, tmp_path):
    """Its generators too: dropout and the actions of Stable-Baselines3 are drawn from the GPU's own."""
    cell = one_cell(kind, "cuda")
    for number in range(2):
        run_cell(cell, checkpoint=tmp_path / f"whole{number}.pt")

    def kill(row):
        if row["trained"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, checkpoint=tmp_path / "killed.pt", tell=kill)
    torch.rand(3, device="cuda")  # another process would be elsewhere in its stream
    assert run_cell(cell, checkpoint=tmp_path / "killed.pt").values["resumed"] == 1
    one, other, resumed = (
        torch.cat([tensor.double().flatten() for tensor in load_file(tmp_path / f"{file}.safetensors").values()])
        for file in ("whole0", "whole1", "killed")
    )
    spread = (one - other).norm() / one.norm()  # a GPU adds up in another order each time, where it interpolates
    assert spread < 0.05
    assert (one - resumed).norm() / one.norm() <= max(1e-6, 3 * spread)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", CELLS)
def test_lots_are_the_same_on_every_device(kind):
    """Random-U keeps the same weights wherever it runs."""
    networks = {}
    for device in ("cpu", "cuda"):
        trainer = make(*[getattr(one_cell(kind, device), name) for name in ("task", "recipe", "seed", "device")])
        pruner = pruners().load("Random-U")
        follower = PlanFollower(trainer, pruner, pruner.settings(), 0.9, 4, "network", seeds)
        follower.next_epoch()
        networks[device] = {name: mask.cpu() for name, mask in follower.masked.masks.items()}
        trainer.close()
    assert all(torch.equal(networks["cpu"][name], mask) for name, mask in networks["cuda"].items())


# -- supervised learning: the meta device, which has shapes but no values, in the GPU's place --------------------------

TRAINERS = {
    "images": partial(ImageTrainer, ImageRecipe(budget=2, network="resnet-small", train_images=4, batch_size=2)),
    "depth": partial(
        DepthTrainer, DepthRecipe(budget=2, network="fcrn-small", height=24, width=32, train_images=4, batch_size=2)
    ),
    "language": partial(LanguageTrainer, LanguageRecipe(budget=2, hidden=6, tokens=8, vocabulary=40)),
    "glue": partial(GlueTrainer, GlueRecipe(budget=2, hidden=8, layers=1, heads=2, intermediate=6, train_texts=4)),
}


@pytest.fixture(scope="module", params=TRAINERS)
def moved(request):
    """A trainer that read its data on the CPU and then moved, with one batch."""
    trainer = TRAINERS[request.param](seeds, "cpu")
    batch, example = next(trainer.batches("test", augmented=True)), trainer.example()
    trainer.example = lambda: example
    trainer.device = torch.device("meta")
    trainer.resized()
    return trainer, tuple(tensor.to("meta") for tensor in batch)


def test_an_optimizer_step_stays_on_its_device(moved):
    trainer, batch = moved
    assert trainer._step(trainer.module.train(), trainer.optimizer, batch).is_meta


@pytest.mark.parametrize("name", [name for name in pruners().names() if pruners().load(name).score is not None])
def test_a_formula_stays_on_the_device_of_the_network(name, moved):
    if name == "SynFlow":
        pytest.skip("looks at its flow, whether it is finite and linear: see the next test")
    (trainer, batch), pruner = moved, pruners().load(name)
    if missing := lacking(pruner, trainer.module):
        pytest.skip(f"needs {', '.join(missing)}")
    scoring = Scoring(lambda: [partial(trainer._scored, batch)], len(batch[0]), trainer.outputs)
    lots = torch.Generator()  # lots are drawn on the CPU wherever the network is
    probe = Probe(trainer.module.eval(), trainer.anatomy, scoring, lots, {}, trainer.anatomy.all_groups())
    scores = pruner.formula(pruner.settings())(probe)
    assert {score.device.type for score in scores.values()} == {"meta"}


@pytest.mark.cuda
def test_the_flow_on_the_gpu_is_that_of_the_cpu():
    pruner, found = pruners().load("SynFlow"), {}
    for device in ("cpu", "cuda"):
        trainer = TRAINERS["images"](seeds, device)
        probe = Probe(trainer.module, trainer.anatomy, trainer.scoring(0), torch.Generator(), {}, [])
        found[device] = {name: score.cpu() for name, score in pruner.formula(pruner.settings())(probe).items()}
    for name, score in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name], score, rtol=1e-6, atol=0)

import pytest
import torch
from pydantic import ValidationError
from subjects import bits, seeds
from torch import nn

from rlprune.pruning.groups import Anatomy, chain
from rlprune.pruning.plan import TrainEpoch
from rlprune.training.recipes import ImageRecipe, SupervisedRecipe
from rlprune.training.supervised import SupervisedTrainer, one_cycle


class Lines(SupervisedTrainer[SupervisedRecipe]):
    """A small network fitted to a line."""

    def prepare(self, folder):
        lots = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(40, 3, generator=lots)
        self.targets = self.inputs @ torch.tensor([[1.0], [-2.0], [0.5]])

    def network(self):
        module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        return module, Anatomy({"network": ["0.weight", "3.weight"]}, {"network": chain(module, ["0", "3"])})

    @property
    def steps(self):
        return len(self.inputs) // self.recipe.batch_size

    def batches(self, use, *, augmented):
        lots = torch.Generator().manual_seed(int(self.seeds(use).generate_state(1)[0]))
        for rows in torch.randperm(len(self.inputs), generator=lots).view(self.steps, -1):
            yield self.inputs[rows], self.targets[rows]

    def loss(self, module, batch, temperature=1.0):
        return (module(batch[0]) / temperature - batch[1]).square().mean()

    def measures(self):
        return {"error": float((self.module(self.inputs) - self.targets).square().mean())}

    def example(self):
        return self.inputs[:1]


def lines(**fields):
    return Lines(SupervisedRecipe(**{"budget": 6, "batch_size": 10, "learning_rate": 0.05, **fields}), seeds, "cpu")


def train(trainer, first, last, epochs=6):
    return [trainer.train_epoch(TrainEpoch(1 - e / epochs, 1 - (e + 1) / epochs)) for e in range(first, last)]


def test_it_learns_and_says_what_it_used():
    trainer = lines(budget=20)
    before = trainer.evaluate()["error"]
    rows = train(trainer, 0, 20, epochs=20)
    assert trainer.evaluate()["error"] < before / 10
    assert rows[-1]["loss_train"] < rows[0]["loss_train"]
    assert trainer.samples == 20 * 40
    assert trainer.sample_macs() == 3 * (3 * 8 + 8)


def test_one_cycle_is_the_one_of_torch():
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))], lr=2e-3)
    steps = 3000  # torch's first phase ends a step early, which many steps make small
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps + 1)
    for step in range(steps):
        rate, beta = one_cycle(1 - step / steps)
        assert rate * 2e-3 == pytest.approx(optimizer.param_groups[0]["lr"], abs=4e-6)
        assert beta == pytest.approx(optimizer.param_groups[0]["betas"][0], abs=3e-4)
        optimizer.step()
        theirs.step()


def test_while_a_plan_waits_the_rate_is_held_at_its_peak():
    trainer = lines()
    trainer.train_epoch(TrainEpoch(1.0, 1.0))
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {0.05}
    trainer.train_epoch(TrainEpoch(1.0, 0.5))
    assert {group["lr"] for group in trainer.optimizer.param_groups} != {0.05}


def test_pieces_of_a_batch_make_the_same_step():
    whole, pieces = lines(), lines(micro_batch=5)
    for trainer in (whole, pieces):
        trainer.module[2].p = 0.0
        train(trainer, 0, 1)
    for one, other in zip(whole.module.parameters(), pieces.module.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert len(list(pieces.scoring(0).collect())) == 2 * len(list(whole.scoring(0).collect()))


def test_a_pass_depends_on_its_number_alone():
    trainer = lines()
    first = [batch[0] for batch in trainer.batches("pass/3", augmented=True)]
    torch.rand(7)
    again = [batch[0] for batch in trainer.batches("pass/3", augmented=True)]
    other = [batch[0] for batch in trainer.batches("pass/4", augmented=True)]
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_timing_leaves_the_network_alone():
    trainer = lines()
    train(trainer, 0, 1)
    network = bits(trainer.module, trainer.optimizer)
    trainer.training_step()()
    assert bits(trainer.module, trainer.optimizer) == network


def test_wrong_recipes_are_refused_in_words():
    with pytest.raises(ValidationError, match="an epoch is one pass over the data"):
        SupervisedRecipe(budget=5, epochs=30)
    with pytest.raises(ValidationError, match="micro_batch must divide batch_size, 64"):
        SupervisedRecipe(budget=5, batch_size=64, micro_batch=7)
    assert ImageRecipe(budget=5, network="resnet18").reads is None
    assert ImageRecipe(budget=5, network="resnet18", data="cifar10").reads == "cifar10"

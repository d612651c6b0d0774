"""What tests prune: the tiny network of ``rlprune.laws``, a small agent, and ways to look at them."""

import torch

from rlprune.laws.subject import Tiny, bits, outputs, seeds, silenced
from rlprune.pruning.plan import TrainEpoch
from rlprune.training.recipes import A2CRecipe

__all__ = ["SMALL_AGENT", "Tiny", "bits", "finish_together", "goes_on", "outputs", "seeds", "silenced"]

SMALL_AGENT = A2CRecipe(
    environment="CartPole-v1",
    budget=960,
    epochs=3,
    environments=4,
    widths=(20, 20),
    scoring_steps=40,
    evaluation_games=3,
    reward_scale=0.1,
)
"""Alone or in a fleet, three epochs of a few updates."""


def finish_together(*pairs):
    """Train trainers with their followers side by side to the ends of their plans."""
    pairs = list(pairs)
    while pairs:
        epochs = [pruning.next_epoch() for _, pruning in pairs]
        pairs = [pair for pair, epoch in zip(pairs, epochs, strict=True) if epoch is not None]
        if pairs:
            trainers = [trainer for trainer, _ in pairs]
            type(trainers[0]).train_together(trainers, [epoch for epoch in epochs if epoch is not None])
        for _, pruning in pairs:
            pruning.epoch_done()


def goes_on(whole, begun, resumed, file):
    """Hold three equal trainers to this: one goes on from another's checkpoint as one that never stopped."""
    epochs = [TrainEpoch(1, 0.6), TrainEpoch(0.6, 0.3), TrainEpoch(0.3, 0)]
    for epoch in epochs:
        whole.train_epoch(epoch)
    begun.train_epoch(epochs[0])
    torch.save(begun.state(), file)
    resumed.load_state(torch.load(file, weights_only=True))
    for epoch in epochs[1:]:
        resumed.train_epoch(epoch)
    assert bits(resumed.module, resumed.optimizer) == bits(whole.module, whole.optimizer)
    assert resumed.evaluate() == whole.evaluate()

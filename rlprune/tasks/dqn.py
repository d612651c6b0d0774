"""DQN on classic control, with the numbers of Stable-Baselines3's zoo."""

from dataclasses import replace

from rlprune.api import DQNRecipe, Task
from rlprune.tasks.cartpole import RETURN, TRAINING

# recipes: hyperparams/dqn.yml of DLR-RM/rl-baselines3-zoo; anchors: its benchmark.md, one agent each
CARTPOLE = Task(
    "dqn-cartpole-v1",
    title="DQN, CartPole-v1",
    recipe=DQNRecipe(
        environment="CartPole-v1",
        budget=50_000,
        learning_rate=2.3e-3,
        minibatch=64,
        target_every=10,
        play_steps=256,
        updates=128,
        exploring=0.16,
        exploration=0.04,
    ),
    metric=replace(RETURN, span=500),
    also=(TRAINING,),
    scope="network",
    anchors={"random": 22.0, "dense": 500.0},
)

ACROBOT = Task(
    "dqn-acrobot-v1",
    title="DQN, Acrobot-v1",
    recipe=DQNRecipe(
        environment="Acrobot-v1",
        budget=100_000,
        learning_rate=6.3e-4,
        replay=50_000,
        learning_starts=0,
        target_every=250,
        play_steps=4,
        updates=4,
        exploring=0.12,
        exploration=0.1,
    ),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": -500.0, "dense": -76.6},
)

MOUNTAINCAR = Task(
    "dqn-mountaincar-v0",
    title="DQN, MountainCar-v0",
    recipe=DQNRecipe(
        environment="MountainCar-v0",
        budget=120_000,
        learning_rate=4e-3,
        discount=0.98,
        replay=10_000,
        target_every=600,
        play_steps=16,
        updates=8,
        exploring=0.2,
        exploration=0.07,
    ),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": -200.0, "dense": -100.8},
)

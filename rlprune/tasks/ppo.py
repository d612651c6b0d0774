"""PPO on classic control, LunarLander and MuJoCo, with the numbers of Stable-Baselines3's zoo."""

from dataclasses import replace

from rlprune.api import PPORecipe, Task
from rlprune.tasks.cartpole import RETURN, SAMPLED, TRAINING

# recipes: hyperparams/ppo.yml of DLR-RM/rl-baselines3-zoo; dense: its benchmark.md, one agent each, MuJoCo's of -v3;
# random: 20 games of -v5
CARTPOLE = Task(
    "ppo-cartpole-v1",
    title="PPO, CartPole-v1",
    recipe=PPORecipe(
        environment="CartPole-v1",
        budget=100_000,
        environments=8,
        rollout_steps=32,
        minibatch=256,
        rounds=20,
        learning_rate=1e-3,
        annealing="linear",
        discount=0.98,
        gae_lambda=0.8,
    ),
    metric=replace(RETURN, span=500),
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 22.0, "dense": 500.0},
)

ACROBOT = Task(
    "ppo-acrobot-v1",
    title="PPO, Acrobot-v1",
    recipe=PPORecipe(
        environment="Acrobot-v1", budget=1_000_000, environments=16, rollout_steps=256, rounds=4, gae_lambda=0.94, normalise=True
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -500.0, "dense": -73.5},
)

LUNARLANDER = Task(
    "ppo-lunarlander-v3",
    title="PPO, LunarLander-v3",
    recipe=PPORecipe(
        environment="LunarLander-v3",
        budget=1_000_000,
        environments=16,
        rollout_steps=1024,
        rounds=4,
        discount=0.999,
        gae_lambda=0.98,
        entropy=0.01,
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -180.0, "dense": 242.1},  # of -v2
)

HALFCHEETAH = Task(
    "ppo-halfcheetah-v5",
    title="PPO, HalfCheetah-v5",
    recipe=PPORecipe(
        environment="HalfCheetah-v5",
        budget=1_000_000,
        rollout_steps=512,
        widths=(256, 256),
        activation="relu",
        rounds=20,
        learning_rate=2.0633e-5,
        discount=0.98,
        gae_lambda=0.92,
        entropy=0.000401762,
        value_weight=0.58096,
        clip=0.8,
        clip_range=0.1,
        normalise=True,
        log_deviation=-2.0,
        orthogonal=False,
        evaluation_games=20,
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -271.8, "dense": 5819.1},
)

HOPPER = Task(
    "ppo-hopper-v5",
    title="PPO, Hopper-v5",
    recipe=PPORecipe(
        environment="Hopper-v5",
        budget=1_000_000,
        rollout_steps=512,
        widths=(256, 256),
        activation="relu",
        minibatch=32,
        rounds=5,
        learning_rate=9.80828e-5,
        discount=0.999,
        gae_lambda=0.99,
        entropy=0.00229519,
        value_weight=0.835671,
        clip=0.7,
        normalise=True,
        log_deviation=-2.0,
        orthogonal=False,
        evaluation_games=20,
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 24.8, "dense": 2410.4},
)

WALKER2D = Task(
    "ppo-walker2d-v5",
    title="PPO, Walker2d-v5",
    recipe=PPORecipe(
        environment="Walker2d-v5",
        budget=1_000_000,
        rollout_steps=512,
        minibatch=32,
        rounds=20,
        learning_rate=5.05041e-5,
        entropy=0.000585045,
        value_weight=0.871923,
        clip=1.0,
        clip_range=0.1,
        normalise=True,
        evaluation_games=20,
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 2.2, "dense": 3478.8},
)

ANT = Task(
    "ppo-ant-v5",
    title="PPO, Ant-v5",
    recipe=PPORecipe(environment="Ant-v5", budget=1_000_000, normalise=True, evaluation_games=20),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -62.1, "dense": 1327.2},
)

"""SAC on a pendulum and on MuJoCo, with the numbers of Stable-Baselines3's zoo."""

from rlprune.api import SACRecipe, Task
from rlprune.tasks.cartpole import RETURN, SAMPLED, TRAINING

# recipe: hyperparams/sac.yml of DLR-RM/rl-baselines3-zoo; dense: its benchmark.md, one agent each, MuJoCo's of -v3;
# random: 20 games
PENDULUM = Task(
    "sac-pendulum-v1",
    title="SAC, Pendulum-v1",
    recipe=SACRecipe(environment="Pendulum-v1", budget=20_000, learning_rate=1e-3, learning_starts=100),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -1245.9, "dense": -157.0},
)

HALFCHEETAH = Task(
    "sac-halfcheetah-v5",
    title="SAC, HalfCheetah-v5",
    recipe=SACRecipe(environment="HalfCheetah-v5", budget=1_000_000, evaluation_games=20),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -271.8, "dense": 9535.5},
)

HOPPER = Task(
    "sac-hopper-v5",
    title="SAC, Hopper-v5",
    recipe=SACRecipe(environment="Hopper-v5", budget=1_000_000, evaluation_games=20),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 24.8, "dense": 2325.5},
)

WALKER2D = Task(
    "sac-walker2d-v5",
    title="SAC, Walker2d-v5",
    recipe=SACRecipe(environment="Walker2d-v5", budget=1_000_000, evaluation_games=20),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 2.2, "dense": 3863.2},
)

ANT = Task(
    "sac-ant-v5",
    title="SAC, Ant-v5",
    recipe=SACRecipe(environment="Ant-v5", budget=1_000_000, evaluation_games=20),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -62.1, "dense": 4615.8},
)

"""DQN on MinAtar's five games, with the numbers of its authors."""

from rlprune.api import DQNRecipe, Task
from rlprune.tasks.cartpole import RETURN, TRAINING

# recipe: examples/dqn.py of kenjyoung/MinAtar (Young and Tian, 2019), but Adam for its centred RMSprop, no action that does
# nothing, and a time limit, twice what a game of Freeway takes; random: 100 games
_RECIPE = DQNRecipe(
    environment="CartPole-v1",
    budget=5_000_000,
    widths=(128,),
    filters=16,
    learning_rate=2.5e-4,
    learning_starts=5_000,
    minibatch=32,
    target_every=1_000,
    exploring=0.02,
    exploration=0.1,
    max_episode_steps=5_000,
    evaluation_games=30,
)

ASTERIX = Task(
    "dqn-minatar-asterix",
    title="DQN, MinAtar Asterix",
    recipe=_RECIPE.replaced({"environment": "rlprune/MinAtar-Asterix-v1"}),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": 0.4},
)

BREAKOUT = Task(
    "dqn-minatar-breakout",
    title="DQN, MinAtar Breakout",
    recipe=_RECIPE.replaced({"environment": "rlprune/MinAtar-Breakout-v1"}),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": 0.4},
)

FREEWAY = Task(
    "dqn-minatar-freeway",
    title="DQN, MinAtar Freeway",
    recipe=_RECIPE.replaced({"environment": "rlprune/MinAtar-Freeway-v1"}),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": 0.4},
)

SEAQUEST = Task(
    "dqn-minatar-seaquest",
    title="DQN, MinAtar Seaquest",
    recipe=_RECIPE.replaced({"environment": "rlprune/MinAtar-Seaquest-v1"}),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": 0.1},
)

SPACEINVADERS = Task(
    "dqn-minatar-spaceinvaders",
    title="DQN, MinAtar SpaceInvaders",
    recipe=_RECIPE.replaced({"environment": "rlprune/MinAtar-SpaceInvaders-v1"}),
    metric=RETURN,
    also=(TRAINING,),
    scope="network",
    anchors={"random": 4.3},
)

"""Acrobot: swing a two-link arm above the bar; minus one point a step."""

from rlprune.api import A2CRecipe, Task
from rlprune.tasks.cartpole import RETURN, SAMPLED, TRAINING

ACROBOT_V1 = Task(
    "acrobot-v1",
    title="Acrobot-v1",
    # widths: table 4; rewards of −1 drown the policy's gradient in the critic's, and 2 of 10 dense agents never swing up
    recipe=A2CRecipe(environment="Acrobot-v1", budget=300_000, widths=(256, 256, 256), reward_scale=0.1),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -500.0, "dense": -83.4},
)

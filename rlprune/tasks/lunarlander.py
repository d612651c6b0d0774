"""LunarLander: land between two flags; about 250 points for a soft landing, minus 100 for a crash."""

from rlprune.api import A2CRecipe, Task
from rlprune.tasks.cartpole import RETURN, SAMPLED, TRAINING

# The paper's v2 is gone from Gymnasium. Widths: table 4. The rest is the best of the recipes searched (docs/results.md):
# long rollouts and a discount near 1 see the landing, small rewards keep the critic from drowning the policy's gradient.
LUNARLANDER_V3 = Task(
    "lunarlander-v3",
    title="LunarLander-v3",
    recipe=A2CRecipe(
        environment="LunarLander-v3",
        budget=2_000_000,
        widths=(256, 256, 256),
        rollout_steps=32,
        discount=0.999,
        gae_lambda=0.98,
        entropy=0.001,
        reward_scale=0.03,
    ),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": -180.0, "dense": 200.0},
)

"""CartPole: balance a pole on a cart; one point a step."""

from rlprune.task import Metric, Task
from rlprune.training.recipes import A2CRecipe

RETURN = Metric("return_greedy", "return (greedy games)")
SAMPLED = Metric("return_sampled", "return (sampled games)")
TRAINING = Metric("return_train", "return (last 100 training games)")

CARTPOLE_V1 = Task(
    "cartpole-v1",
    title="CartPole-v1",
    trainer="rlprune.training.a2c:A2CTrainer",
    fleet="rlprune.training.fleet:FleetAgent",
    recipe=A2CRecipe(environment="CartPole-v1", budget=500_000, reward_scale=0.1),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 22.0, "dense": 500.0},
)

# The paper trained on v0, which ends a game after 200 steps; v1 with that limit is the same environment.
CARTPOLE_V0 = Task(
    "cartpole-v0",
    title="CartPole-v0 (200 steps)",
    trainer="rlprune.training.a2c:A2CTrainer",
    fleet="rlprune.training.fleet:FleetAgent",
    recipe=A2CRecipe(environment="CartPole-v1", max_episode_steps=200, budget=500_000, reward_scale=0.1),
    metric=RETURN,
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 22.0, "dense": 200.0},
)

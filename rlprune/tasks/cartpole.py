"""CartPole: balance a pole on a cart; one point a step."""

from dataclasses import replace

from rlprune.api import A2CRecipe, Measure, Task

RETURN = Measure("return_greedy", "return (greedy games)")
SAMPLED = Measure("return_sampled", "return (sampled games)")
TRAINING = Measure("return_train", "return (last 100 training games)")

CARTPOLE_V1 = Task(
    "cartpole-v1",
    title="CartPole-v1",
    recipe=A2CRecipe(environment="CartPole-v1", budget=500_000, reward_scale=0.1),
    metric=replace(RETURN, span=500),
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 22.0, "dense": 500.0},
)

# The paper trained on v0, which ends a game after 200 steps; v1 with that limit is the same environment.
CARTPOLE_V0 = Task(
    "cartpole-v0",
    title="CartPole-v0 (200 steps)",
    recipe=A2CRecipe(environment="CartPole-v1", max_episode_steps=200, budget=500_000, reward_scale=0.1),
    metric=replace(RETURN, span=200),
    also=(SAMPLED, TRAINING),
    scope="network",
    anchors={"random": 22.0, "dense": 200.0},
)

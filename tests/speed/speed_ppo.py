"""Agent-steps a second of a fleet of PPO against Stable-Baselines3, one thread each, as ``speed_fleet.py`` has them for A2C."""

import gymnasium as gym
import torch
from speed_fleet import against, line, median, rounds
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from threadpoolctl import threadpool_limits

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import tasks
from rlprune.training.fleet import PPOFleetAgent
from rlprune.training.trainer import make

CASES = [("ppo-cartpole-v1", 8, (1, 16)), ("ppo-lunarlander-v3", 1, (1, 4))]  # task, rollouts, sizes of fleets


def solo(recipe, rollouts):
    """Stable-Baselines3's own ``learn``."""
    envs = DummyVecEnv([lambda: gym.make(recipe.environment)] * recipe.environments)
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=recipe.rollout_steps,
        learning_rate=recipe.learning_rate,
        gamma=recipe.discount,
        gae_lambda=recipe.gae_lambda,
        ent_coef=recipe.entropy,
        device="cpu",
        **recipe.arguments,
    )
    steps = rollouts * recipe.rollout_steps * recipe.environments
    return steps, lambda: model.learn(steps), "cpu"


def together(task, recipe, rollouts, count):
    """A fleet's training."""
    steps = rollouts * recipe.rollout_steps * recipe.environments
    agents = [make(task, {"budget": 2 * steps, "epochs": 2}, seed, "cpu", fleet=True) for seed in range(count)]
    return count * steps, lambda: PPOFleetAgent.train_together(agents, [TrainEpoch(1.0, 0.5)] * count), "cpu"


def main():
    torch.set_num_threads(1)
    threadpool_limits(1)
    print(line("task", "agents", "steps/s", "× SB3"))
    for task, rollouts, counts in CASES:
        recipe = tasks().load(task).recipe
        alone, *measured = rounds([solo(recipe, rollouts), *(together(task, recipe, rollouts, count) for count in counts)])
        print(line(task, "SB3", f"{median(alone):,.0f}", "1"))
        for count, rates in zip(counts, measured, strict=True):
            print(line(task, str(count), *against(rates, alone)))


if __name__ == "__main__":
    main()

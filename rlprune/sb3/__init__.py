"""Prune your own Stable-Baselines3 agent while it learns.

from rlprune.sb3 import PruneCallback

model = A2C("MlpPolicy", env)
model.learn(100_000, callback=PruneCallback("EarlyCroP-S", sparsity=0.9))
model.save("small")     # A2C.load("small") builds the small agent
"""

from rlprune.sb3.agents import resume_pruning
from rlprune.sb3.callback import PruneCallback
from rlprune.sb3.summary import Summary

__all__ = ["PruneCallback", "Summary", "resume_pruning"]

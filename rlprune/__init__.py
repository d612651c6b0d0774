"""rlprune: a reinforcement-learning-first benchmark suite for neural-network pruning."""

__version__ = "0.1.0"

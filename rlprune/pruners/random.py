"""Random pruning: the sanity check every method has to pass (Frankle et al., 2021; Liu et al., 2022).

Pruning Neural Networks at Initialization: Why Are We Missing the Mark?, ICLR 2021; The Unreasonable Effectiveness of Random
Pruning: Return of the Most Naive Baseline for Sparse Training, ICLR 2022.
"""

from rlprune.api import CHANNELS, WEIGHTS, LazyRegime, Plan, Probe, Prune, Pruner, Scores, Train


def weights(probe: Probe) -> Scores:
    """Uniform noise a weight."""
    return probe.noise()


def channels(probe: Probe) -> Scores:
    """Uniform noise a channel."""
    return probe.channel_noise()


def early(until: LazyRegime = LazyRegime()) -> Plan:
    """Train until the lazy regime, prune, train on: EarlyCroP's moment without its choice, to tell the two apart."""
    return [Train(until=until), Prune(), Train()]


RANDOM_U = Pruner("Random-U", weights, cut=WEIGHTS, plan=[Prune(), Train()])
RANDOM_S = Pruner("Random-S", channels, cut=CHANNELS, plan=[Prune(), Train()])
EARLY_RANDOM_U = Pruner("EarlyRandom-U", weights, cut=WEIGHTS, plan=early)
EARLY_RANDOM_S = Pruner("EarlyRandom-S", channels, cut=CHANNELS, plan=early)

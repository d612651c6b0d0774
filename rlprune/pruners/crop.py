"""CroP and EarlyCroP: remove what least affects the gradient flow (Rachwan et al., 2022, eq. 4; Lubana & Dick, 2021).

Winning the Lottery Ahead of Time: Efficient Early Network Pruning, ICML 2022; A Gradient Flow Framework for Analyzing Network
Pruning, ICLR 2021.
"""

from rlprune.api import CHANNELS, WEIGHTS, Count, Halving, LazyRegime, Plan, Probe, Prune, Pruner, Scores, Train


def weights(probe: Probe) -> Scores:
    """``|θ ⊙ H(m ⊙ g)|``: how much the squared gradient norm moves, to first order, when the weight goes to zero."""
    hg, _ = probe.hessian_gradient()
    return {name: (w * hg[name]).abs() for name, w in probe.weights.items()}


def channels(probe: Probe) -> Scores:
    """``|∂⟨stop(g), g⟩/∂c| = |θ_f · (Hg)_f + ‖g_f‖² + b_f (Hg)_b|`` a channel, c its gate."""
    gates = probe.channel_hessian_gradient(lambda name, w, hg, g: w * hg + g**2 if name in probe.weights else w * hg)
    return {name: c.abs() for name, c in gates.items()}


def iterative(rounds: Count = 7) -> Plan:
    """Prune before training in rounds that halve what is missing, each scored anew."""
    return [Prune(Halving(rounds)), Train()]


def early_weights(rounds: Count = 7, until: LazyRegime = LazyRegime()) -> Plan:
    """Train until the lazy regime, prune in rounds, train on."""
    return [Train(until=until), Prune(Halving(rounds)), Train()]


def early_channels(rounds: Count = 1, until: LazyRegime = LazyRegime()) -> Plan:
    """Train until the lazy regime, prune at once, train on."""
    return early_weights(rounds, until)


CROP_U = Pruner("CroP-U", weights, cut=WEIGHTS, plan=[Prune(), Train()])
CROP_S = Pruner("CroP-S", channels, cut=CHANNELS, plan=[Prune(), Train()])
CROPIT_U = Pruner("CroPit-U", weights, cut=WEIGHTS, plan=iterative)
CROPIT_S = Pruner("CroPit-S", channels, cut=CHANNELS, plan=iterative)
EARLY_CROP_U = Pruner("EarlyCroP-U", weights, cut=WEIGHTS, plan=early_weights)
EARLY_CROP_S = Pruner("EarlyCroP-S", channels, cut=CHANNELS, plan=early_channels)

"""The mathematics by another road: numpy and loops, written from the papers. Imports nothing of rlprune."""

import itertools

import numpy as np


def unpack(theta, sizes):
    """A flat vector to [(weight [out, in], bias [out]), ...] of a fully connected network."""
    layers, at = [], 0
    for inputs, outputs in itertools.pairwise(sizes):
        weight = theta[at : at + inputs * outputs].reshape(outputs, inputs)
        at += inputs * outputs
        layers.append((weight, theta[at : at + outputs]))
        at += outputs
    return layers


def mse_loss(theta, sizes, inputs, targets):
    """Mean squared error of a tanh network; works for complex theta."""
    hidden = inputs.astype(theta.dtype)
    layers = unpack(theta, sizes)
    for index, (weight, bias) in enumerate(layers):
        hidden = hidden @ weight.T + bias
        if index < len(layers) - 1:
            hidden = np.tanh(hidden)
    return ((hidden - targets) ** 2).mean()


def gradient(function, theta, step=1e-30):
    """Complex-step derivative: exact to rounding."""
    result = np.zeros(len(theta))
    for index in range(len(theta)):
        moved = theta.astype(complex)
        moved[index] += 1j * step
        result[index] = function(moved).imag / step
    return result


def hessian(function, theta, step=1e-5):
    """Central differences of the exact gradient, column by column."""
    columns = []
    for index in range(len(theta)):
        plus, minus = theta.copy(), theta.copy()
        plus[index] += step
        minus[index] -= step
        columns.append((gradient(function, plus) - gradient(function, minus)) / (2 * step))
    return np.stack(columns, axis=1)


def highest(scores, count):
    """Positions of the ``count`` highest scores, ties to the earliest position."""
    order = sorted(range(len(scores)), key=lambda position: (-scores[position], position))
    return set(order[:count])


def synflow(weights):
    """|θ ∂R/∂θ| by enumerating every path from an input to an output of a bias-free chain of [out, in] matrices."""
    scores = [np.zeros(w.shape) for w in weights]
    units = [range(weights[0].shape[1]), *(range(w.shape[0]) for w in weights)]
    for path in itertools.product(*units):
        steps = [(layer, path[layer + 1], path[layer]) for layer in range(len(weights))]
        flow = np.prod([abs(weights[layer][out, into]) for layer, out, into in steps])
        for layer, out, into in steps:
            scores[layer][out, into] += flow
    return scores


def narrowed(array, keeps):
    """The kept part of an array, entry by entry.

    ``keeps`` holds a boolean vector for each dimension that is cut, or a matrix where the first dimension falls into equal
    blocks: row ``b`` is for the entries of block ``b``.
    """
    if not array.shape:
        return array

    def positions(dim, first):
        keep = keeps.get(dim, np.ones(array.shape[dim], dtype=bool))
        row = keep if keep.ndim == 1 else keep[first // (len(array) // len(keep))]
        return [place for place in range(array.shape[dim]) if row[place]]

    def part(index):
        if len(index) == array.ndim:
            return array[index]
        return [part((*index, place)) for place in positions(len(index), index[0] if index else 0)]

    return np.array(part(()), dtype=array.dtype)


def halving(target, rounds=7):
    """ρ_i = ρ − (ρ − ρ_s)/2^i, the last round at ρ."""
    start = min(0.5, target / 2)
    result, gap = [], target - start
    for _ in range(rounds - 1):
        result.append(target - gap)
        gap /= 2
    return [*result, target]


def chain_weights(sizes, kept):
    """Weights of a fully connected chain once hidden layer i keeps ``kept[i]`` units."""
    left = [sizes[0], *kept, sizes[-1]]
    total = 0
    for inputs, outputs in itertools.pairwise(left):
        for _ in range(outputs):
            for _ in range(inputs):
                total += 1
    return total


def nearest_reachable(sizes, order, target):
    """Fewest weights away from ``target`` when hidden units go one after another in ``order`` [(layer, unit), ...]."""
    kept = list(sizes[1:-1])
    best = abs(chain_weights(sizes, kept) - target)
    for layer, _ in order:
        kept[layer] -= 1
        best = min(best, abs(chain_weights(sizes, kept) - target))
    return best


def erk(shapes, share):
    """Densities ``min(1, e Σ/Π)`` with e found by bisection: the sum only grows with it."""
    sizes = [np.prod(shape) for shape in shapes]

    def densities(e):
        return [min(1.0, e * sum(shape) / size) for shape, size in zip(shapes, sizes, strict=True)]

    low, high = 0.0, float(max(sizes))
    for _ in range(200):
        middle = (low + high) / 2
        kept = sum(density * size for density, size in zip(densities(middle), sizes, strict=True))
        low, high = (middle, high) if kept < share * sum(sizes) else (low, middle)
    return densities(high)


def dormant(layers, threshold):
    """Share of units whose score, mean |h| over the layer's mean of these, is at most the threshold."""
    silent = total = 0
    for layer in layers:
        means = [sum(abs(value) for value in layer[:, unit]) / len(layer) for unit in range(layer.shape[1])]
        for mean in means:
            silent += mean / (sum(means) / len(means)) <= threshold
            total += 1
    return silent / total


def effective_rank(matrix, share):
    """The smallest k such that the k largest singular values make this share of the sum of all."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return next(k for k in range(1, len(values) + 1) if values[:k].sum() >= share * values.sum())


def barrier(first, second, error, points=11):
    """The largest error on the straight line between two flat vectors of weights, over the mean of its ends."""
    errors = [error(first + step / (points - 1) * (second - first)) for step in range(points)]
    return max(errors) - (errors[0] + errors[-1]) / 2

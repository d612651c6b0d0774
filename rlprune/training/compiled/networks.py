"""The arithmetic of a fleet on a CPU, one agent after another, so that all of an agent's numbers stay in the cache.

What lies in the flat buffers of a ``Stack`` is found by the place where each layer begins. Hidden layers are all ``width``
wide. Products of hidden layers are the library's (``products.py``), all else are loops that the compiler makes vectors of.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from rlprune.training.compiled import physics
from rlprune.training.compiled.noise import gumbel, word
from rlprune.training.compiled.products import product

_plain: Any = njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
_summed: Any = njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})  # a sum's order is the compiler's

_0, _1 = np.float32(0), np.float32(1)
# x P(x²) / Q(x²), fitted to tanh on ±8 with the least relative error, 6e-9 before rounding
_END = np.float32(8)
_P = tuple(np.float32(c) for c in (1, 0.13444487750530243, 0.00357158575206995, 2.1894453311688267e-05, 1.5230112282438313e-08))
_Q = tuple(np.float32(c) for c in (1, 0.46777814626693726, 0.026164395734667778, 0.000341127160936594, 8.522325174453727e-07))

_DECAY, _REST, _EPSILON = np.float32(0.99), np.float32(1 - 0.99), np.float32(1e-5)
_SMALLEST = np.float32(1e-6)
_MEAN_REST, _SQUARE_DECAY, _SQUARE_REST = np.float32(1 - 0.9), np.float32(0.999), np.float32(1 - 0.999)


@_plain
def tanh(x):
    """Return tanh of a float32, within 4e-7."""
    x = min(max(x, -_END), _END)
    s = x * x
    above = _P[0] + s * (_P[1] + s * (_P[2] + s * (_P[3] + s * _P[4])))
    return x * above / (_Q[0] + s * (_Q[1] + s * (_Q[2] + s * (_Q[3] + s * _Q[4]))))


# -- networks: of an agent's pair the first is the actor, the second the critic; ``pair`` is 2 · agent, plus 1 for the critic --


@_plain
def _part(buffer, begin, pair, rows, columns):
    """Return the matrix of one network in a layer that begins there."""
    begin += pair * rows * columns
    return buffer[begin : begin + rows * columns].reshape(rows, columns)


@_plain
def _activate(values, bias, saturating):
    """Add the bias to [N, W] and apply the activation."""
    for row in range(len(values)):
        if saturating:
            for unit in range(len(bias)):
                values[row, unit] = tanh(values[row, unit] + bias[unit])
        else:
            for unit in range(len(bias)):
                values[row, unit] = max(values[row, unit] + bias[unit], _0)


@_plain
def _slope(errors, outputs, total, saturating):
    """Multiply errors [N, W] by the slope of the activation where it gave ``outputs``, and sum them into ``total``."""
    total[:] = _0
    for row in range(len(errors)):
        if saturating:
            for unit in range(len(total)):
                errors[row, unit] *= _1 - outputs[row, unit] * outputs[row, unit]
                total[unit] += errors[row, unit]
        else:
            for unit in range(len(total)):
                errors[row, unit] = errors[row, unit] if outputs[row, unit] > _0 else _0
                total[unit] += errors[row, unit]


@_plain
def _forward(inputs, hidden, begin, outputs, weights, starts, pair, actions, saturating):
    """Write the activations [L, begin : begin + N, W] and the outputs [N, A or 1] of inputs [N, D]."""
    depth, _, width = hidden.shape
    rows, inner = inputs.shape
    for layer in range(depth):
        here = hidden[layer, begin : begin + rows]
        product(inputs, False, _part(weights, starts[2 * layer], pair, inner, width), False, here, inner)
        _activate(here, _part(weights, starts[2 * layer + 1], pair, 1, width)[0], saturating)
        inputs, inner = here, width
    product(inputs, False, _part(weights, starts[2 * depth], pair, actions, width), True, outputs, width)
    bias = _part(weights, starts[2 * depth + 1], pair, 1, actions)[0]
    for row in range(rows):
        for output in range(outputs.shape[1]):
            outputs[row, output] += bias[output]


@_plain
def _backward(inputs, hidden, errors, below, weights, gradient, starts, pair, actions, saturating):
    """Write the gradient that errors [N, A or 1] of the outputs make; ``below`` [2, N, W] is room for those of layers."""
    depth, rows, width = len(hidden), len(errors), hidden.shape[2]
    used, here = errors.shape[1], below[0]
    product(errors, True, hidden[depth - 1, :rows], False, _part(gradient, starts[2 * depth], pair, actions, width)[:used], rows)
    product(errors, False, _part(weights, starts[2 * depth], pair, actions, width), False, here, used)
    bias = _part(gradient, starts[2 * depth + 1], pair, 1, actions)[0]
    bias[:] = _0
    for row in range(rows):
        for output in range(used):
            bias[output] += errors[row, output]
    for layer in range(depth - 1, -1, -1):
        under = hidden[layer - 1, :rows] if layer else inputs
        inner = under.shape[1]
        _slope(here, hidden[layer], _part(gradient, starts[2 * layer + 1], pair, 1, width)[0], saturating)
        product(under, True, here, False, _part(gradient, starts[2 * layer], pair, inner, width), rows)
        if layer:
            there = below[(depth - layer) % 2]
            product(here, False, _part(weights, starts[2 * layer], pair, width, width), True, there, width)
            here = there


# -- an iteration of all agents ----------------------------------------------------------------------------------------


@_plain
def outputs(observations, hidden, logits, weights, starts, saturating):
    """Write the actors' logits [P, N, A] for observations [P, N, D]; ``hidden`` [L, N, W] is room for their activations."""
    for agent in range(len(logits)):
        _forward(observations[agent], hidden, 0, logits[agent], weights, starts, 2 * agent, logits.shape[2], saturating)


@_plain
def act(agent, step, observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts):
    """Draw the actions of an agent in one step of a rollout.

    Args:
        agent: its number; ``step`` is the step's.
        observations: [P, ·, rows, D], E rows a step.
        hidden: [P, L, T E, W], to write to, as ``logits`` [P, T, E, A] and ``actions`` [P, T, E].
        weights: the stack's buffer; ``starts`` says where its layers' weights and biases begin.
        saturating: whether the activation is tanh, not ReLU.
        keys: of the agents' noise [P]; ``rollouts`` [P] says how many were played before.
    """
    _, steps, environments, choices = logits.shape
    begin, mine = step * environments, logits[agent, step]
    inputs = observations[agent, 0, begin : begin + environments]
    _forward(inputs, hidden[agent], begin, mine, weights, starts, 2 * agent, choices, saturating)
    counter = (rollouts[agent] * steps + step) * environments * choices
    for environment in range(environments):
        best, most = 0, -np.float32(np.inf)
        for choice in range(choices):
            value = mine[environment, choice] + gumbel(word(keys[agent], counter + environment * choices + choice))
            if value > most:
                best, most = choice, value
        actions[agent, step, environment] = best


@_plain
def act_all(step, observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts):
    """Draw the actions of all agents in one step; arguments as ``act``'s."""
    for agent in range(len(logits)):
        act(agent, step, observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts)


@_plain
def play(
    kind, state, clock, drawn, streams, limit, rewards, ended, truncated, final, over,
    observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts,
):  # fmt: skip
    """Let all agents play a rollout of simulated games; the last arguments are ``act``'s.

    Args:
        kind: 0 CartPole, 1 Acrobot.
        state: of the games, as ``physics.cartpole``'s, and so are ``clock``, ``drawn``, ``streams`` (keys) and ``limit``.
        rewards: to write to [P, T, E], as ``ended`` and what was ``truncated`` alone.
        final: room for last observations [E, D]; ``over`` for ends [2, E].
    """
    agents, steps, environments, _ = logits.shape
    for agent in range(agents):
        seen, begin = observations[agent, 0], agent * environments
        seen[:environments] = seen[steps * environments : (steps + 1) * environments]
        for step in range(steps):
            act(agent, step, observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts)
            chosen, earned = actions[agent, step], rewards[agent, step]
            ahead = seen[(step + 1) * environments : (step + 2) * environments]
            if kind == 0:
                physics.cartpole(begin, state, chosen, clock, drawn, streams, limit, ahead, final, earned, over[0], over[1])
            else:
                physics.acrobot(begin, state, chosen, clock, drawn, streams, limit, ahead, final, earned, over[0], over[1])
            cut = (steps + 1 + step // limit) * environments
            for environment in range(environments):
                ended[agent, step, environment] = over[0, environment] or over[1, environment]
                truncated[agent, step, environment] = over[1, environment] and not over[0, environment]
                if truncated[agent, step, environment]:
                    seen[cut + environment] = final[environment]


@_plain
def _estimate(values, rewards, ended, truncated, limit, scale, discount, gae, advantages, returns):
    """Write generalised advantage estimates and the returns that values are fitted to [T, E], as ``Fleet`` does."""
    steps, environments = rewards.shape
    for environment in range(environments):
        ahead = _0
        for step in range(steps - 1, -1, -1):
            value = values[step * environments + environment, 0]
            reward = rewards[step, environment] * scale
            if truncated[step, environment]:
                cut = steps + 1 + step // limit
                reward += values[cut * environments + environment, 0] * discount
            going_on = _0 if ended[step, environment] else discount
            found = values[(step + 1) * environments + environment, 0] * going_on + reward - value
            if step < steps - 1:
                found += going_on * gae * ahead
            ahead = found
            advantages[step, environment] = found
            returns[step, environment] = found + value  # rounded as Stable-Baselines3 rounds


@_plain
def _actor_errors(logits, actions, advantages, entropy, errors):
    """Write what −mean(A log π) − entropy · H makes of logits [N, A]."""
    rows, choices = logits.shape
    for row in range(rows):
        most, total, spread = logits[row].max(), _0, _0
        for choice in range(choices):
            total += np.float32(math.exp(logits[row, choice] - most))
        total = np.float32(math.log(total))
        for choice in range(choices):
            log = logits[row, choice] - most - total
            spread += np.float32(math.exp(log)) * log
        for choice in range(choices):
            log = logits[row, choice] - most - total
            chance = np.float32(math.exp(log))
            taken = _1 if choice == actions[row] else _0
            errors[row, choice] = ((chance - taken) * advantages[row] + entropy * chance * (log - spread)) / np.float32(rows)


@_summed
def _squared_norm(gradient, masks, starts, lengths, agent):
    """Mask an agent's gradient and return its squared norm."""
    total = _0
    for part in range(len(starts)):
        begin = starts[part] + agent * lengths[part]
        if len(masks):
            for number in range(begin, begin + lengths[part]):
                gradient[number] *= masks[number]
        for number in range(begin, begin + lengths[part]):
            total += gradient[number] * gradient[number]
    return total


@_plain
def _rmsprop(weights, gradient, square, shrink, rate, inside):
    for number in range(len(weights)):
        slope = gradient[number] * shrink
        square[number] = square[number] * _DECAY + slope * slope * _REST
        root = np.sqrt(square[number] + _EPSILON) if inside else np.sqrt(square[number]) + _EPSILON
        weights[number] -= rate * (slope / root)


@_plain
def _adam(weights, gradient, mean, square, shrink, rate, correction):
    for number in range(len(weights)):
        slope = gradient[number] * shrink
        mean[number] += (slope - mean[number]) * _MEAN_REST
        square[number] = square[number] * _SQUARE_DECAY + slope * slope * _SQUARE_REST
        weights[number] -= rate * (mean[number] / (np.sqrt(square[number]) / correction + _EPSILON))


@_plain
def learn(
    observations, hidden, logits, actions, rewards, ended, truncated, advantages, returns, weights, gradient, first, second,
    masks, starts, lengths, rates, updates, limit, saturating, optimizer, numbers, seen, below, values, errors,
):  # fmt: skip
    """Let all agents learn from the rollout that they played.

    Args:
        observations: [P, ·, rows, D]: the steps of the rollout, its end, and the ends of games cut short.
        hidden: the actors' activations [P, L, T E, W]; ``logits`` [P, T, E, A]; what they did and met, [P, T, E] each.
        advantages: [P, T, E], to write to, as ``returns``.
        weights: a stack's buffer, as ``gradient``, the ``first`` and ``second`` moment, and ``masks``, which may be empty.
        starts: where each layer's weights and biases begin; an agent has ``lengths`` of them.
        rates: learning rates [P, 1]; ``updates`` [P] counts those made.
        optimizer: 0 RMSprop, 1 RMSprop with its epsilon inside the root, 2 Adam.
        numbers: reward scale, discount, GAE's lambda, entropy's weight, the value's, largest norm.
        seen: room for the critic's activations [L, rows, W]; ``below`` [2, T E, W], ``values`` [rows, 1] and ``errors``
            [T E (A + 1)] are room, too.
    """
    scale, discount, gae, entropy, value_weight, clip = numbers
    agents, steps, environments, choices = logits.shape
    samples = steps * environments
    wrong = errors[samples * choices :].reshape(samples, 1)
    missed = errors[: samples * choices].reshape(samples, choices)
    for agent in range(agents):
        met, gain, wanted = observations[agent, 0], advantages[agent].reshape(samples), returns[agent].reshape(samples)
        if not truncated[agent].any():
            met = met[: samples + environments]
        _forward(met, seen, 0, values[: len(met)], weights, starts, 2 * agent + 1, choices, saturating)
        _estimate(
            values, rewards[agent], ended[agent], truncated[agent], limit, scale, discount, gae, advantages[agent], returns[agent]
        )
        _actor_errors(logits[agent].reshape(samples, choices), actions[agent].reshape(samples), gain, entropy, missed)
        for sample in range(samples):
            wrong[sample, 0] = (values[sample, 0] - wanted[sample]) * (_1 + _1) * value_weight / np.float32(samples)
        met = met[:samples]
        _backward(met, hidden[agent], missed, below, weights, gradient, starts, 2 * agent, choices, saturating)
        _backward(met, seen, wrong, below, weights, gradient, starts, 2 * agent + 1, choices, saturating)
        norm = np.sqrt(_squared_norm(gradient, masks, starts, lengths, agent))
        shrink = min(clip / (norm + _SMALLEST), _1)
        updates[agent] += 1
        made = updates[agent]
        for part in range(len(starts)):
            some = slice(starts[part] + agent * lengths[part], starts[part] + (agent + 1) * lengths[part])
            if optimizer == 2:
                rate, correction = np.float32(rates[agent, 0] / (1 - 0.9**made)), np.float32(math.sqrt(1 - 0.999**made))
                _adam(weights[some], gradient[some], first[some], second[some], shrink, rate, correction)
            else:
                _rmsprop(weights[some], gradient[some], first[some], shrink, rates[agent, 0], optimizer == 1)

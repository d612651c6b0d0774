"""The arithmetic of a fleet on a CPU, one agent after another, so that all of an agent's numbers stay in the cache.

What lies in the flat buffers of a ``Stack`` is found by the place where each layer begins. Hidden layers are all ``width``
wide. Products are a library's (``products.py``), all else are loops that the compiler makes vectors of.

All of it is one file, as what Numba keeps of it on the disk is renewed when this file changes, and no other.
"""

import math
from typing import Any

import llvmlite.binding
import numpy as np
from numba import njit, types

from rlprune.training.compiled.products import library


def _compiled(fastmath: Any) -> Any:
    """Return a decorator that compiles with such licences; one that is not given would be inherited from the first caller."""

    def compiled(function: Any) -> Any:
        try:
            return njit(cache=True, error_model="numpy", fastmath=fastmath)(function)
        except RuntimeError:  # nowhere to keep it on the disk
            return njit(error_model="numpy", fastmath=fastmath)(function)

    return compiled


_exact = _compiled(False)
_plain = _compiled({"contract", "nsz"})
_summed = _compiled({"contract", "nsz", "reassoc"})  # a sum's order is the compiler's

llvmlite.binding.add_symbol("rlprune_sgemm", library()[1])  # by name, as what is kept outlives the address
_sgemm: Any = types.ExternalFunction("rlprune_sgemm", types.void(*[types.intp] * 13))

_0, _1 = np.float32(0), np.float32(1)
# x P(x²) / Q(x²), fitted to tanh on ±8 with the least relative error, 6e-9 before rounding; at _END it is surely beyond 1
_END = np.float32(8.75)
_P = tuple(np.float32(c) for c in (1, 0.13444487750530243, 0.00357158575206995, 2.1894453311688267e-05, 1.5230112282438313e-08))
_Q = tuple(np.float32(c) for c in (1, 0.46777814626693726, 0.026164395734667778, 0.000341127160936594, 8.522325174453727e-07))

_DECAY, _REST, _EPSILON = np.float32(0.99), np.float32(1 - 0.99), np.float32(1e-5)
_SMALLEST = np.float32(1e-6)
_MEAN_REST, _SQUARE_DECAY, _SQUARE_REST = np.float32(1 - 0.9), np.float32(0.999), np.float32(1 - 0.999)
_GAMMA, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


# -- the numbers of ``training/noise.py``, one by one ------------------------------------------------------------------


@_exact
def word(key, counter):
    """Return 64 random bits: output ``counter`` of the key's SplitMix64."""
    z = np.uint64(counter + 1) * _GAMMA + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@_exact
def uniform(word):
    """Return a float64 inside (0, 1)."""
    return (np.float64(word >> np.uint64(12)) + 0.5) * 2.0**-52


@_exact
def gumbel(word):
    """Return a float32: added to logits, the largest is a draw from their softmax."""
    u = (np.float32(word >> np.uint64(41)) + np.float32(0.5)) * np.float32(2.0**-23)
    return -np.float32(math.log(-np.float32(math.log(u))))


@_exact
def _copy(row, to):
    """Write a row's numbers to another; ``to[:] = row`` takes Numba seconds to compile, for it makes words of shapes."""
    for number in range(len(row)):
        to[number] = row[number]


# -- networks: of an agent's pair the first is the actor, the second the critic; ``pair`` is 2 · agent, plus 1 for the critic --


@_plain
def tanh(x):
    """Return tanh of a float32, within 4e-7; beyond ``_END`` it is ±1, so that its slope there is 0."""
    x = min(max(x, -_END), _END)
    s = x * x
    above = _P[0] + s * (_P[1] + s * (_P[2] + s * (_P[3] + s * _P[4])))
    found = x * above / (_Q[0] + s * (_Q[1] + s * (_Q[2] + s * (_Q[3] + s * _Q[4]))))
    return min(max(found, -_1), _1)


@_exact
def product(a, a_transposed, b, b_transposed, out, inner):
    """Write ``out [M, N] = a b`` of row-major matrices; ``a`` [M, K] and ``b`` [K, N] may lie transposed."""
    letters = 84 if b_transposed else 78, 84 if a_transposed else 78  # T, N
    one = 0x3F800000  # as a float32's bits
    call = np.array([letters[0], letters[1], out.shape[1], len(out), inner, b.shape[1], a.shape[1], one, 0], dtype=np.int32)
    at = call.ctypes.data
    # Fortran reads all matrices transposed
    _sgemm(
        at, at + 4, at + 8, at + 12, at + 16, at + 28,
        b.ctypes.data, at + 20, a.ctypes.data, at + 24, at + 32, out.ctypes.data, at + 8,
    )  # fmt: skip
    return call[0]  # so that it lives until here


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


# -- games: operation by operation, with the C library's sine and cosine, which are NumPy's and so Gymnasium's -------------


@_exact
def _turn(game, state, clock, drawn, keys, limit, spread, terminated):
    """Count a step of a game, begin the next one where it is over, within ``spread`` around zero; say whether time was over."""
    clock[game] += 1
    late = clock[game] >= limit
    if terminated or late:
        for number in range(4):
            state[number, game] = (uniform(word(keys[game], drawn[game] + number)) - 0.5) * spread
        clock[game] = 0
        drawn[game] += 4
    return late


@_exact
def _cartpole_seen(state, game, row):
    for number in range(4):
        row[number] = state[number, game]


@_exact
def cartpole(begin, state, actions, clock, drawn, keys, limit, observations, final, rewards, terminated, truncated):
    """Take a step of N games.

    Args:
        begin: the first one's column in ``state``, float64 [4, ...], and its place in ``clock``, ``drawn`` and ``keys``,
            int64, which tell where games and their streams stand.
        actions: int64 [N].
        observations: to write to, as all that follow, what a ``Transition`` has, flat.
    """
    for here in range(len(actions)):
        game = begin + here
        x, x_dot, theta, theta_dot = state[0, game], state[1, game], state[2, game], state[3, game]
        cos, sin = math.cos(theta), math.sin(theta)
        force = 10.0 if actions[here] == 1 else -10.0
        push = (force + 0.05 * (theta_dot * theta_dot) * sin) / 1.1
        theta_acc = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * (cos * cos) / 1.1))
        x_acc = push - 0.05 * theta_acc * cos / 1.1
        state[0, game], state[1, game] = x + 0.02 * x_dot, x_dot + 0.02 * x_acc
        state[2, game], state[3, game] = theta + 0.02 * theta_dot, theta_dot + 0.02 * theta_acc
        rewards[here] = 1
        terminated[here] = abs(state[0, game]) > 2.4 or abs(state[2, game]) > 12 * 2 * math.pi / 360
        _cartpole_seen(state, game, final[here])
        truncated[here] = _turn(game, state, clock, drawn, keys, limit, 0.1, terminated[here])
        _cartpole_seen(state, game, observations[here])


@_exact
def _acrobot_slope(theta1, theta2, speed1, speed2, torque):
    """``ds/dt`` for links of length 1, mass 1, centre of mass 1/2 and moment of inertia 1, g = 9.8."""
    cos2, sin2 = math.cos(theta2), math.sin(theta2)
    d1, d2 = cos2 + 3.5, cos2 * 0.5 + 1.25
    phi2 = math.sin(theta1 + theta2) * 4.9
    phi1 = math.sin(theta1) * 14.7 + phi2 - (speed2 * 0.5 + speed1) * speed2 * sin2
    share = d2 / d1
    second = (share * phi1 + torque - sin2 * speed1 * speed1 * 0.5 - phi2) / (1.25 - share * d2)
    return speed1, speed2, -(d2 * second + phi1) / d1, second


@_exact
def _acrobot_seen(state, game, row):
    row[0], row[1] = math.cos(state[0, game]), math.sin(state[0, game])
    row[2], row[3] = math.cos(state[1, game]), math.sin(state[1, game])
    row[4], row[5] = state[2, game], state[3, game]


@_exact
def acrobot(begin, state, actions, clock, drawn, keys, limit, observations, final, rewards, terminated, truncated):
    """Take a step of N games; arguments as ``cartpole``'s."""
    step = 0.2
    for here in range(len(actions)):
        game = begin + here
        a, b, u, v = state[0, game], state[1, game], state[2, game], state[3, game]
        torque = float(actions[here] - 1)
        a1, b1, u1, v1 = _acrobot_slope(a, b, u, v, torque)
        h = step / 2
        a2, b2, u2, v2 = _acrobot_slope(a + h * a1, b + h * b1, u + h * u1, v + h * v1, torque)
        a3, b3, u3, v3 = _acrobot_slope(a + h * a2, b + h * b2, u + h * u2, v + h * v2, torque)
        a4, b4, u4, v4 = _acrobot_slope(a + step * a3, b + step * b3, u + step * u3, v + step * v3, torque)
        h = step / 6
        a, b = a + h * (a1 + 2 * (a2 + a3) + a4), b + h * (b1 + 2 * (b2 + b3) + b4)
        u, v = u + h * (u1 + 2 * (u2 + u3) + u4), v + h * (v1 + 2 * (v2 + v3) + v4)
        a, b = a - 2 * math.pi * round(a / (2 * math.pi)), b - 2 * math.pi * round(b / (2 * math.pi))
        state[0, game], state[1, game] = a, b
        state[2, game] = min(max(u, -4 * math.pi), 4 * math.pi)
        state[3, game] = min(max(v, -9 * math.pi), 9 * math.pi)
        terminated[here] = -math.cos(a) - math.cos(a + b) > 1
        rewards[here] = 0 if terminated[here] else -1
        _acrobot_seen(state, game, final[here])
        truncated[here] = _turn(game, state, clock, drawn, keys, limit, 0.2, terminated[here])
        if terminated[here] or truncated[here]:
            _acrobot_seen(state, game, observations[here])
        else:
            _copy(final[here], observations[here])


@_exact
def count(running, returns, counts, rewards, ended, window):
    """Add T steps of E games of P agents, [P, T, E], to the record of each agent's last ``window`` games."""
    agents, steps, environments = rewards.shape
    for agent in range(agents):
        for step in range(steps):
            for environment in range(environments):
                running[agent, environment] += rewards[agent, step, environment]
                if ended[agent, step, environment]:
                    returns[agent, counts[agent] % window] = running[agent, environment]
                    counts[agent] += 1
                    running[agent, environment] = 0


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
        state: of the games, as ``cartpole``'s, and so are ``clock``, ``drawn``, ``streams`` (keys) and ``limit``.
        rewards: to write to [P, T, E], as ``ended`` and what was ``truncated`` alone.
        final: room for last observations [E, D]; ``over`` for ends [2, E].
    """
    agents, steps, environments, _ = logits.shape
    for agent in range(agents):
        seen, begin = observations[agent, 0], agent * environments
        for environment in range(environments):
            _copy(seen[steps * environments + environment], seen[environment])
        for step in range(steps):
            act(agent, step, observations, hidden, logits, actions, weights, starts, saturating, keys, rollouts)
            chosen, earned = actions[agent, step], rewards[agent, step]
            ahead = seen[(step + 1) * environments : (step + 2) * environments]
            if kind == 0:
                cartpole(begin, state, chosen, clock, drawn, streams, limit, ahead, final, earned, over[0], over[1])
            else:
                acrobot(begin, state, chosen, clock, drawn, streams, limit, ahead, final, earned, over[0], over[1])
            cut = (steps + 1 + step // limit) * environments
            for environment in range(environments):
                ended[agent, step, environment] = over[0, environment] or over[1, environment]
                truncated[agent, step, environment] = over[1, environment] and not over[0, environment]
                if truncated[agent, step, environment]:
                    _copy(final[environment], seen[cut + environment])


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
def _judge(agent, observations, rewards, ended, truncated, advantages, returns, weights, starts, choices, limit, saturating,
           numbers, seen, values):  # fmt: skip
    """Write an agent's values of all that it saw in a rollout, its advantages, and the returns that values are fitted to."""
    steps, environments = rewards.shape[1:]
    met = observations[agent, 0]
    if not truncated[agent].any():
        met = met[: (steps + 1) * environments]
    _forward(met, seen, 0, values[: len(met)], weights, starts, 2 * agent + 1, choices, saturating)
    _estimate(
        values, rewards[agent], ended[agent], truncated[agent], limit, numbers[0], numbers[1], numbers[2],
        advantages[agent], returns[agent],
    )  # fmt: skip


@_plain
def _step(agent, weights, gradient, first, second, masks, starts, lengths, rates, updates, optimizer, clip):
    """Clip an agent's gradient by its norm over both networks, and let the optimizer step."""
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
    entropy, value_weight, clip = numbers[3:]
    agents, steps, environments, choices = logits.shape
    samples = steps * environments
    wrong = errors[samples * choices :].reshape(samples, 1)
    missed = errors[: samples * choices].reshape(samples, choices)
    for agent in range(agents):
        met, gain, wanted = observations[agent, 0, :samples], advantages[agent].reshape(samples), returns[agent].reshape(samples)
        _judge(
            agent, observations, rewards, ended, truncated, advantages, returns, weights, starts, choices, limit, saturating,
            numbers, seen, values,
        )  # fmt: skip
        _actor_errors(logits[agent].reshape(samples, choices), actions[agent].reshape(samples), gain, entropy, missed)
        for sample in range(samples):
            wrong[sample, 0] = (values[sample, 0] - wanted[sample]) * (_1 + _1) * value_weight / np.float32(samples)
        _backward(met, hidden[agent], missed, below, weights, gradient, starts, 2 * agent, choices, saturating)
        _backward(met, seen, wrong, below, weights, gradient, starts, 2 * agent + 1, choices, saturating)
        _step(agent, weights, gradient, first, second, masks, starts, lengths, rates, updates, optimizer, clip)


@_plain
def _log_chance(logits, action):
    """Return the logarithm of an action's probability."""
    most, total = logits.max(), _0
    for logit in logits:
        total += np.float32(math.exp(logit - most))
    return logits[action] - most - np.float32(math.log(total))


@_plain
def _normalised(values):
    """Bring values to mean 0 and deviation 1, as Stable-Baselines3 does each minibatch's advantages."""
    mean, squares = 0.0, 0.0
    for value in values:
        mean += value / len(values)
    for value in values:
        squares += (value - mean) ** 2
    spread = np.sqrt(squares / (len(values) - 1))
    for number in range(len(values)):
        values[number] = np.float32((values[number] - mean) / (spread + 1e-8))


@_plain
def learn_ppo(
    observations, logits, actions, rewards, ended, truncated, advantages, returns, weights, gradient, first, second,
    masks, starts, lengths, rates, clips, updates, orders, rollouts, rounds, limit, saturating, optimizer, numbers,
    seen, values, below, before, some, inside, judged, missed, wrong, gains,
):  # fmt: skip
    """Let all agents learn from the rollout that they played by PPO, in minibatches; arguments as ``learn``'s, and these.

    Args:
        clips: how far an agent's ratios may go from 1 [P, 1].
        orders: of the noise by which an agent's samples are shuffled [P]; ``rollouts`` [P] says how many were played.
        rounds: how often the rollout is learned from.
        before: room for what actions were as likely as [T E]; ``some`` for a minibatch's observations [B, D], ``inside``
            [2, L, B, W] for activations, ``judged`` [B, A] for logits, ``missed`` [B, A] and ``wrong`` [B, 1] for errors,
            ``gains`` [B] for advantages; ``below`` is [2, B, W].
    """
    entropy, value_weight, clip = numbers[3:]
    agents, steps, environments, choices = logits.shape
    samples, batch = steps * environments, len(gains)
    words, chosen = np.empty(samples, np.int64), np.empty(batch, np.int64)
    for agent in range(agents):
        _judge(
            agent, observations, rewards, ended, truncated, advantages, returns, weights, starts, choices, limit, saturating,
            numbers, seen, values,
        )  # fmt: skip
        met, wanted = observations[agent, 0], returns[agent].reshape(samples)
        taken, gained = actions[agent].reshape(samples), advantages[agent].reshape(samples)
        played = logits[agent].reshape(samples, choices)
        for sample in range(samples):
            before[sample] = _log_chance(played[sample], taken[sample])
        for turn in range(rounds):
            counter = (rollouts[agent] * rounds + turn) * samples
            for sample in range(samples):
                words[sample] = np.int64(word(orders[agent], counter + sample))
            order = np.argsort(words)
            for begin in range(0, samples, batch):
                for row in range(batch):
                    sample = order[begin + row]
                    _copy(met[sample], some[row])
                    chosen[row], gains[row] = taken[sample], gained[sample]
                _normalised(gains)
                _forward(some, inside[0], 0, judged, weights, starts, 2 * agent, choices, saturating)
                _forward(some, inside[1], 0, wrong, weights, starts, 2 * agent + 1, choices, saturating)
                for row in range(batch):
                    sample = order[begin + row]
                    ratio = np.float32(math.exp(_log_chance(judged[row], chosen[row]) - before[sample]))
                    far = ratio > _1 + clips[agent, 0] if gains[row] > _0 else ratio < _1 - clips[agent, 0]
                    gains[row] *= _0 if far else ratio
                    wrong[row, 0] = (wrong[row, 0] - wanted[sample]) * (_1 + _1) * value_weight / np.float32(batch)
                _actor_errors(judged, chosen, gains, entropy, missed)
                _backward(some, inside[0], missed, below, weights, gradient, starts, 2 * agent, choices, saturating)
                _backward(some, inside[1], wrong, below, weights, gradient, starts, 2 * agent + 1, choices, saturating)
                _step(agent, weights, gradient, first, second, masks, starts, lengths, rates, updates, optimizer, clip)

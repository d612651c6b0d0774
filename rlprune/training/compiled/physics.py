"""CartPole and Acrobot, operation by operation, and the record of games, for compiled code.

Sine and cosine are the C library's, as NumPy's and so Gymnasium's are.
"""

import math
from typing import Any

from numba import njit

from rlprune.training.compiled.noise import uniform, word

_exact: Any = njit(cache=True, error_model="numpy")  # every operation is rounded, as Gymnasium rounds


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
            observations[here] = final[here]


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

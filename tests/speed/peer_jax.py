"""The fastest peer we know: A2C on CartPole for many agents in JAX, all of it one compiled program (``jit(vmap(scan))``).

It does what a fleet does, with the same networks, rollouts, loss, clipping and RMSprop, and may be less exact: physics in
float32, no value for games that the clock ends, a second pass forward for the gradient.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import optax
from jax import lax, random

LIMIT = 500


def start(key):
    """A game's first state and its clock."""
    return random.uniform(key, (4,), minval=-0.05, maxval=0.05), 0


def move(state, clock, action, key):
    """One step of CartPole: the next state and clock, and whether the game was over."""
    _, v, angle, spin = state
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    push = (20.0 * action - 10.0 + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    after = state + 0.02 * jnp.array([v, push - 0.05 * turn * cos / 1.1, spin, turn])
    over = (jnp.abs(after[0]) > 2.4) | (jnp.abs(after[2]) > 0.2094) | (clock + 1 >= LIMIT)
    fresh, zero = start(key)
    return jnp.where(over, fresh, after), jnp.where(over, zero, clock + 1), over


def network(key, widths, outputs, gain):
    """Orthogonal weights and zero biases, layer by layer."""
    sizes = [4, *widths, outputs]
    gains = [2**0.5] * len(widths) + [gain]
    keys = random.split(key, len(gains))
    return [
        (jax.nn.initializers.orthogonal(g)(k, (i, o)), jnp.zeros(o))
        for k, g, i, o in zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
    ]


def outputs(layers, x):
    *hidden, (weights, bias) = layers
    for w, b in hidden:
        x = jnp.tanh(x @ w + b)
    return x @ weights + bias


def contestant(recipe, agents):
    """Agent-steps of a call, the call, and where it runs: what ``speed_fleet.rounds`` takes."""
    environments, steps = recipe.environments, recipe.rollout_steps
    optimizer = optax.chain(optax.clip_by_global_norm(recipe.clip), optax.rmsprop(recipe.learning_rate, decay=0.99, eps=1e-5))
    iterations = max(2, 1_600_000 // (agents * environments * steps * (recipe.widths[0] // 16) ** 2))

    def begin(key):
        first, second, third, key = random.split(key, 4)
        weights = network(first, recipe.widths, 2, 0.01), network(second, recipe.widths, 1, 1.0)
        states, clocks = jax.vmap(start)(random.split(third, environments))
        return weights, optimizer.init(weights), states, clocks, key

    def iteration(carry, _):
        weights, averages, states, clocks, key = carry

        def step(carry, _):
            states, clocks, key = carry
            key, drawn, *fresh = random.split(key, 2 + environments)
            actions = random.categorical(drawn, outputs(weights[0], states))
            after, clocks, over = jax.vmap(move)(states, clocks, actions, jnp.stack(fresh))
            return (after, clocks, key), (states, actions, over)

        (states, clocks, key), (seen, actions, over) = lax.scan(step, (states, clocks, key), length=steps)

        def back(ahead, over):
            ahead = recipe.reward_scale + recipe.discount * ahead * ~over
            return ahead, ahead

        _, returns = lax.scan(back, outputs(weights[1], states)[:, 0], over, reverse=True)

        def loss(weights):
            logs = jnp.take_along_axis(jax.nn.log_softmax(outputs(weights[0], seen)), actions[..., None], -1)[..., 0]
            values = outputs(weights[1], seen)[..., 0]
            gain = lax.stop_gradient(returns - values)
            return -(gain * logs).mean() + recipe.value_weight * ((values - returns) ** 2).mean()

        change, averages = optimizer.update(jax.grad(loss)(weights), averages, weights)
        return (optax.apply_updates(weights, change), averages, states, clocks, key), None

    train = jax.jit(jax.vmap(lambda carry: lax.scan(iteration, carry, length=iterations)[0]))
    carry = [jax.vmap(begin)(random.split(random.PRNGKey(0), agents))]

    def call():
        carry.append(jax.block_until_ready(train(carry.pop())))

    return agents * environments * steps * iterations, call, "cpu"

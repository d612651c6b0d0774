"""Agent-steps a second of the fleet against Stable-Baselines3 and, on CartPole, JAX, one thread each, in the same minute.

Times are those of the process on its processor, so that other programs change a run little and EnvPool's thread counts. All
contestants of a case take turns for some rounds; steps a second are medians over rounds, and so are the ratios to
Stable-Baselines3 in the same round. Nothing is asserted: the ratios are for reading.
"""

import time
from importlib.util import find_spec
from itertools import pairwise
from statistics import median

import gymnasium as gym
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv
from threadpoolctl import threadpool_limits

from rlprune.task import tasks
from rlprune.training import environments
from rlprune.training.batched import Agent, Fleet
from rlprune.training.compiled import products
from rlprune.training.compiled.fleet import CompiledFleet

CASES = [  # task, width of three hidden layers, sizes of fleets
    ("cartpole-v1", 128, (1, 4, 16, 64)),
    ("cartpole-v1", 256, (16, 64)),
    ("cartpole-v1", 16, (64, 256)),  # about what a policy is cut to by removing 95 % of its weights
    ("acrobot-v1", 256, (16, 64)),
    ("lunarlander-v3", 256, (16, 32)),
]
POOLED = {"lunarlander-v3"}  # what EnvPool may play
PEERS = ("cartpole-v1",)  # what peer_jax.py plays
ROUNDS = 5


def seconds(function, device="cpu"):
    """Time of a call: of this process on the processor, or on the clock until a GPU is done."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def rounds(contestants):
    """Steps a second of every contestant, a list over rounds; each is (steps of a call, call, device)."""
    for _, call, _ in contestants:
        call()  # warms up
    turns = [[steps / seconds(call, device) for steps, call, device in contestants] for _ in range(ROUNDS)]
    return list(zip(*turns, strict=True))


def recipe(task, width, simulator="gymnasium"):
    """The task's own recipe in another width."""
    return tasks().load(task).settings({"widths": [width] * 3, "simulator": simulator})


def solo(recipe):
    """Stable-Baselines3's own ``learn``."""
    envs = DummyVecEnv([lambda: gym.make(recipe.environment)] * recipe.environments)
    arch = {"pi": list(recipe.widths), "vf": list(recipe.widths)}
    numbers = {
        "n_steps": recipe.rollout_steps,
        "gamma": recipe.discount,
        "gae_lambda": recipe.gae_lambda,
        "ent_coef": recipe.entropy,
    }
    model = A2C("MlpPolicy", envs, **numbers, policy_kwargs={"net_arch": arch}, device="cpu")
    steps = -(-100 // recipe.rollout_steps) * recipe.rollout_steps * recipe.environments
    return steps, lambda: model.learn(steps), "cpu"


def fleet(recipe, count, device):
    """Agents as they begin, and a function that trains them for some iterations."""
    envs = environments.make(recipe.environment, recipe.environments, device=device, simulator=recipe.simulator)
    envs.reset(torch.arange(count))
    spaces = gym.spaces.Box(-1, 1, (envs.features,)), gym.spaces.Discrete(envs.actions)
    arch = {"pi": list(recipe.widths), "vf": list(recipe.widths)}
    weights = ActorCriticPolicy(*spaces, lambda _: 0.0, net_arch=arch).state_dict()  # alike at first; their games are not
    kind = CompiledFleet if device == "cpu" else Fleet
    return kind([Agent(seed, weights) for seed in range(count)], envs, recipe, device)


def together(recipe, count, device):
    """A fleet's training."""
    ours = fleet(recipe, count, device)
    samples = recipe.rollout_steps * recipe.environments * count
    iterations = max(2, 30_000 // (samples * (recipe.widths[0] // 16) ** 2 // 16))
    return iterations * samples, lambda: ours.train(iterations, [1] * count, [1] * count), device


def operations(recipe):
    """Floating-point operations of the matrix products of one agent-step.

    The actor forward on every observation; the critic on those, on the last ones and on those of games cut short; the
    gradient by weights, and by inputs above the first layer.
    """
    envs = environments.make(recipe.environment, 1)
    sizes = [envs.features, *recipe.widths, envs.actions]
    whole = sum(a * b for a, b in pairwise(sizes))
    first = sizes[0] * sizes[1]
    forward = whole * (1 + (recipe.rollout_steps + 2) / recipe.rollout_steps)
    return 2 * (forward + 2 * whole + 2 * (whole - first))


def moved(recipe):
    """Bytes that pass between memory and processor in one agent-step if the cache keeps nothing between two operations.

    An iteration reads the actor's weights at every step, the critic's once and both for the gradient; it writes the
    gradient, reads it for its norm and for the optimizer, which reads and writes one moment and the weights. An activation
    is written, activated (read and written) and read by the layer above, by the gradient and by its slope; its error is
    written, multiplied by the slope (read and written) and read twice.
    """
    envs = environments.make(recipe.environment, 1)
    sizes = [envs.features, *recipe.widths, envs.actions]
    whole, steps = sum(a * b for a, b in pairwise(sizes)), recipe.rollout_steps
    weights = whole * (steps + 1) + 2 * whole * (1 + 3 + 4)
    return 4 * (weights / (steps * recipe.environments) + 2 * sum(recipe.widths) * 11)


def ceiling(device, side=1024):
    """Operations a second of float32 matrix products, of one large one and of many of a rollout's size, and bytes a second."""
    a, b, c = (torch.randn(side, side, device=device) for _ in range(3))
    x, w, y = (torch.randn(64, rows, 128, device=device) for rows in (80, 128, 80))
    there, here = (torch.zeros(1 << 25, device=device) for _ in range(2))
    often = 1 if device == "cpu" else 20  # until a GPU has begun takes as long as the smaller two

    def repeated(work, function, *tensors, **into):
        return often * work, lambda: [function(*tensors, **into) for _ in range(often)], device

    calls = [
        repeated(2 * side**3, torch.mm, a, b, out=c),
        repeated(2 * 64 * 80 * 128**2, torch.bmm, x, w, out=y),
        repeated(2 * 4 * len(here), here.copy_, there),
    ]
    return [median(rates) for rates in rounds(calls)]


def main():
    torch.set_num_threads(1)
    threadpool_limits(1)
    jax = find_spec("jax") is not None and find_spec("optax") is not None
    if jax:
        import peer_jax
    print("the fleet multiplies by", products.library()[0])
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        large, small, memory = ceiling(device)
        print(f"{device}: matrix products {large / 1e9:.0f} GFLOP/s at 1024³, {small / 1e9:.0f} GFLOP/s at 64 times 80·128·128;")
        print(f"memory {memory / 1e9:.0f} GB/s. The last columns are shares of the second and of the third")
        print(line("task", "network", "agents", "steps/s", "× SB3", "products", "memory"))
        for task, width, counts in CASES:
            counts = counts if device == "cpu" else (*counts, 1024)
            simulators = ["gymnasium", "envpool"] if task in POOLED and find_spec("envpool") else ["gymnasium"]
            fleets = [(simulator, count) for simulator in simulators for count in counts]
            ours = [together(recipe(task, width, simulator), count, device) for simulator, count in fleets]
            peers = [count for count in counts if count > 1] if task in PEERS and jax and device == "cpu" else []
            theirs = [peer_jax.contestant(recipe(task, width), count) for count in peers]
            alone, *measured = rounds([solo(recipe(task, width)), *ours, *theirs])
            print(line(task, f"{width}³", "SB3", f"{median(alone):,.0f}", "1"))
            work = recipe(task, width)
            for (simulator, count), rates in zip(fleets, measured, strict=False):
                shares = [
                    f"{median(rates) * need / most:.0%}" for need, most in ((operations(work), small), (moved(work), memory))
                ]
                note = "  EnvPool" * (simulator == "envpool")
                print(line(task, f"{width}³", str(count), *against(rates, alone), *shares) + note)
            for count, rates in zip(peers, measured[len(fleets) :], strict=True):
                _, times = against(measured[counts.index(count)], rates)
                peer = line(task, f"{width}³", str(count), *against(rates, alone), "", "")
                print(f"{peer}  JAX: the fleet is {times} times as fast")
    if not jax:
        print("JAX was not measured: python3 -m pip install 'jax[cpu]' optax")


def against(rates, others):
    """The median rate, and how many times the others' of the same rounds it is."""
    return f"{median(rates):,.0f}", f"{median(rate / other for rate, other in zip(rates, others, strict=True)):.1f}"


def line(name, *cells):
    return f"{name:16}" + "".join(f"{cell:>10}" for cell in cells)


if __name__ == "__main__":
    main()

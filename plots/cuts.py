"""What a cut in training leaves of what an agent has learned: its policy and values before the cut, and after it from each start.

    python plots/cuts.py start --task acrobot-v1 --sparsity .99 --pruners "EarlyRandom-S kept,EarlyRandom-S measured"

Agents of a suite are trained until they are pruned for the first time, and no further; those that are pruned before training are
left out. Both networks are shown the states that the agent's score is taken on. Medians over seeds.
"""

import argparse
import copy
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, TypeAlias

import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from rlprune.bench.cell import Trainee
from rlprune.bench.matrix import Cell
from rlprune.pruning.plan import Rewind, TrainEpoch
from rlprune.pruning.probe import Loss
from rlprune.pruning.pruner import pruners
from rlprune.report.scripts import ended, planned
from rlprune.report.tables import markdown, number

HEADS = ("action_net", "value_net")
"""The layers of an actor-critic policy that put out logits and values."""

States: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Of a plan and of a trainer, as checkpoints hold them."""


def shown(policy: nn.Module, losses: Sequence[Loss]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [states, actions] and values [states]."""
    made: dict[str, list[Tensor]] = {name: [] for name in HEADS}
    with ExitStack() as hooks:
        for name, to in made.items():
            layer = policy.get_submodule(name)
            hooks.enter_context(layer.register_forward_hook(lambda layer, inputs, output, to=to: to.append(output.detach())))
        for loss in losses:
            loss(policy, 1.0)
    logits, values = (torch.cat(made[name]).double() for name in HEADS)
    return logits.log_softmax(1), values.flatten()


def left(then: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Return what is told of a cut, by the headings of the table."""
    (was, worth), (logs, values) = then, now
    return {
        "spread of logits before": _spread(was),
        "spread of logits after": _spread(logs),
        "entropy before (nats)": _entropy(was),
        "entropy after (nats)": _entropy(logs),
        "likeliest action the same (%)": 100 * float((was.argmax(1) == logs.argmax(1)).double().mean()),
        "error of values (% of their size)": 100 * float((values - worth).square().mean().sqrt() / worth.square().mean().sqrt()),
    }


def _spread(logs: Tensor) -> float:
    """Return how far logits of one state lie apart: their standard deviation over actions, root mean square over states."""
    return float(logs.var(1, correction=0).mean().sqrt())


def _entropy(logs: Tensor) -> float:
    return float(-(logs.exp() * logs).sum(1).mean())


def cuts(cells: Sequence[Cell]) -> Iterator[tuple[str, dict[str, float]]]:
    """Train agents until they are pruned; yield a cell's method, and when it was pruned with what is left.

    Cells that differ in where training starts are one agent until then, which is trained once.
    """
    alike: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        others = sorted((key, str(value)) for key, value in cell.settings.items() if key != "start")
        alike[cell.pruner, cell.seed, cell.sparsity, *others].append(cell)
    agents = [(some, Trainee(some[0], None)) for some in alike.values()]
    for _, agent in agents:
        policy = agent.trainer.module
        if not all(hasattr(policy, name) for name in HEADS) or not isinstance(policy.action_space, Discrete):
            raise ValueError(f"{cells[0].task} has no actor-critic policy that chooses among actions")
    while agents:
        waiting: list[tuple[list[Cell], Trainee]] = []
        due: list[TrainEpoch] = []
        for some, agent in agents:
            then = copy.deepcopy((agent.pruning.state(), agent.trainer.state()))
            epoch = agent.pruning.next_epoch()
            if agent.pruning.pruning_epoch is None and epoch is not None:
                waiting.append((some, agent))
                due.append(epoch)
                continue
            if agent.pruning.pruning_epoch:
                yield from ((cell.method, _cut(cell, then)) for cell in some)
            agent.trainer.close()
        agents = waiting
        if agents:
            type(agents[0][1].trainer).train_together([agent.trainer for _, agent in agents], due)
        for _, agent in agents:
            agent.pruning.epoch_done()


def _cut(cell: Cell, then: States) -> dict[str, float]:
    """Cut an agent as a cell does it, and return what is left of the policy that it had."""
    agent, (plan, state) = Trainee(cell, None), copy.deepcopy(then)
    policy = agent.trainer.module
    try:
        agent.pruning.load_state(plan)
        agent.trainer.load_state(state)
        losses = agent.trainer.scoring(0).collect()
        was = shown(policy, losses)
        agent.pruning.next_epoch()
        return {"pruned after epoch": float(agent.pruning.pruning_epoch or 0), **left(was, shown(policy, losses))}
    finally:
        agent.trainer.close()


def _rewinds(cell: Cell) -> bool:
    """Return whether a pruner goes back to earlier weights, so that what it cut is not what trains on."""
    pruner = pruners().load(cell.pruner)
    return any(isinstance(step, Rewind) for step in pruner.steps(pruner.settings(cell.settings)))


def main() -> None:
    """Train agents, print the table."""
    parser = argparse.ArgumentParser(description="what a cut in training leaves of an agent")
    parser.add_argument("suite", help="of A2C or PPO, say start_lunarlander")
    parser.add_argument("--task", required=True, help="one of the suite's")
    parser.add_argument("--sparsity", required=True, help="share of weights removed")
    parser.add_argument("--pruners", required=True, help="names, with commas between them")
    parser.add_argument("--seeds", default="10", help="how many")
    parser.add_argument("--profile", default="paper", help="of the suite")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {"tasks": given.task, "sparsities": given.sparsity, "seeds": given.seeds, "pruners": given.pruners}
    cells = planned(given.suite, given.profile, "solo=0", **options)
    for key in ("task", "sparsity"):
        if len(several := {str(getattr(cell, key)) for cell in cells if getattr(cell, key)}) > 1:
            raise ValueError(f"one {key} at a time; got {', '.join(sorted(several))}")
    found: dict[str, list[dict[str, float]]] = {cell.method: [] for cell in cells}
    for method, told in cuts([cell for cell in cells if not _rewinds(cell)]):
        found[method].append(told)
    rows = {method: {key: median(one[key] for one in told) for key in told[0]} for method, told in found.items() if told}
    if not rows:
        raise ValueError("none of these is pruned once training has begun")
    headings = ["pruner", "seeds", *next(iter(rows.values()))]
    print(markdown([headings, *([method, str(len(found[method])), *map(number, row.values())] for method, row in rows.items())]))
    if left_out := [method for method in found if method not in rows]:
        print(f"\nNot cut once, in training, for good: {', '.join(left_out)}.")


if __name__ == "__main__":
    sys.exit(ended(main))

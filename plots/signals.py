"""What reaches a network's last layer before training, from kept, rescaled and measured weights: shares of the dense network's.

    python plots/signals.py start_elsewhere --task vgg-small-plain-shapes --sparsity .95

Trains nothing: cells of a suite that prune before training are built, pruned and shown the data that their scores are taken on.
A number is the standard deviation over these inputs of what the last layer is given (of an agent, its actor's), root mean square
over units, in per cent of that of the dense network of the same seed; the median over seeds.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import torch
from torch import nn

from rlprune.bench.cell import Trainee
from rlprune.bench.matrix import Cell
from rlprune.pruning.plan import Prune
from rlprune.pruning.probe import normalising_by_batch
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.reason import NotApplicable
from rlprune.report.curves import order
from rlprune.report.scripts import ended, planned
from rlprune.report.tables import MISSING, markdown, number

STARTS = ("kept", "rescaled", "measured")


def signal(cell: Cell) -> float:
    """Return what reaches the last layer of a cell's network once it is pruned."""
    trainee = Trainee(replace(cell, fleet=False), None)
    trainer = trainee.trainer
    try:
        trainee.pruning.next_epoch()
        if not trainer.anatomy.heads:
            raise ValueError(f"which layer of {cell.task} is the last is not known")
        first, *_ = trainer.anatomy.heads
        head, seen = trainer.module.get_submodule(first.rpartition(".")[0]), list[torch.Tensor]()

        def look(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            units = inputs[0].detach().movedim(1 if hasattr(layer, "kernel_size") else -1, -1)
            seen.append(units.flatten(0, -2))

        with head.register_forward_pre_hook(look), torch.no_grad(), normalising_by_batch(trainer.module):
            for loss in trainer.scoring(0).collect():
                loss(trainer.module, 1.0)
        return float(torch.cat(seen).var(0).mean().sqrt())
    finally:
        trainer.close()


def found(cells: list[Cell]) -> Iterator[tuple[str, str, float]]:
    """Yield pruner, start and share of the dense network's signal, of each seed in turn."""
    dense = {cell.seed: signal(cell) for cell in cells if pruners().load(cell.pruner).cut == NOTHING}
    if not dense:
        raise ValueError("there is no dense network to compare with: Dense is not among the suite's pruners")
    for cell in cells:
        pruner, start = pruners().load(cell.pruner), cell.method.rpartition(" ")[2]
        if start in STARTS and isinstance(pruner.steps(pruner.settings(cell.settings))[0], Prune):
            try:
                yield cell.method.removesuffix(f" {start}"), start, 100 * signal(cell) / dense[cell.seed]
            except NotApplicable:  # the network has not what the pruner needs
                continue


def main() -> None:
    """Build cells, print the table."""
    parser = argparse.ArgumentParser(description="what reaches the last layer before training")
    parser.add_argument("suite", help="start, or start_elsewhere")
    parser.add_argument("--task", required=True, help="one of the suite's")
    parser.add_argument("--sparsity", type=float, required=True, help="share of weights removed")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--profile", default="paper", help="of the suite")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {"tasks": given.task, "sparsities": str(given.sparsity), "seeds": str(given.seeds)}
    shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pruner, start, share in found(planned(given.suite, given.profile, **options)):
        shares[pruner][start].append(share)
    if not shares:
        raise ValueError(f"no pruner of {given.suite}, profile {given.profile}, prunes before training, {' or '.join(STARTS)}")
    lines = [["pruner", *STARTS]]
    for pruner in sorted(shares, key=order):
        ends = (shares[pruner].get(start) for start in STARTS)
        lines.append([pruner, *(MISSING if some is None else f"{number(median(some))} %" for some in ends)])
    print(markdown(lines))


if __name__ == "__main__":
    sys.exit(ended(main))

"""Laws tried on registered entries, as ``rlprune check --pruner NAME`` and ``--task NAME`` print them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from rlprune import laws
from rlprune.laws import Verdict
from rlprune.laws import pruners as of_pruners
from rlprune.laws import tasks as of_tasks
from rlprune.pruning.pruner import pruners
from rlprune.safely import plain
from rlprune.task import tasks

WORDS = {True: "holds", False: "BROKEN", None: "not tried"}


class Check:
    """Lines about what holds, each as soon as it is known; ``kept`` says whether all that could be tried holds."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # more make networks as small as these slower
        self._counts: Counter[bool | None] = Counter()

    @property
    def kept(self) -> bool:
        return bool(self._counts[True]) and not self._counts[False]

    def pruner(self, name: str) -> Iterator[str]:
        """Try a pruner."""
        entry, place = pruners().load(name), pruners().place(name)
        yield f"{entry.name}, of {plain(place)}"
        yield from self._told(laws.tried(of_pruners.of(entry), entry, place.partition(":")[0]))

    def task(self, name: str, folder: Path | None) -> Iterator[str]:
        """Try a task, alone and in fleets where it can be both, with data of a folder where it reads any."""
        entry, place = tasks().load(name), tasks().place(name)
        for fleet in of_tasks.ways(entry):
            yield f"{entry.name}, {'in a fleet' if fleet else 'alone'}, of {plain(place)}"
            with TemporaryDirectory() as files:
                trial = of_tasks.Trial(entry, fleet=fleet, place=Path(files), folder=folder)
                yield from self._told(laws.tried(of_tasks.of(fleet=fleet), trial, place.partition(":")[0]))

    def _told(self, verdicts: Iterable[Verdict]) -> Iterator[str]:
        for one in verdicts:
            self._counts[one.holds] += 1
            yield plain(f"  {WORDS[one.holds]:9}  {one.law}")
            if one.why:
                yield plain(f"             {one.why}")

"""Imported before workers have cells, by what they fork from where they fork: what takes seconds and is no cell's cost."""

from contextlib import suppress

import torch._dynamo  # noqa: F401 (torch imports its compiler when the first optimizer is made: three seconds, in every worker)

import rlprune.bench.cell
import rlprune.bench.worker  # noqa: F401
from rlprune.costs import energy, provenance
from rlprune.task import tasks

provenance.versions()  # remembered, so that a commit made during a run is not taken for the one that runs
for name in tasks().names():  # the same of tasks in files of their own, whose trainers are imported next
    with suppress(Exception):  # whoever needs one that is broken meets it again
        tasks().code(name)
energy.prepare()

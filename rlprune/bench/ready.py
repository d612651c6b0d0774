"""Imported before workers have cells, by what they fork from where they fork: what takes seconds and is no cell's cost."""

import torch._dynamo  # noqa: F401 (torch imports its compiler when the first optimizer is made: three seconds, in every worker)

import rlprune.bench.cell
import rlprune.bench.worker  # noqa: F401
from rlprune.costs import energy, provenance

provenance.versions()  # remembered, so that a commit made during a run is not taken for the one that runs
energy.prepare()

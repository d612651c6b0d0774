"""What several files of tests share."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from rlprune.report import draw

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("untimed")


def pytest_configure():
    """One thread for each worker and what it begins; Ctrl-C as in a terminal, though a shell has it ignored in the background."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Skip what is marked cuda where there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture(autouse=True)
def _sketched(request, monkeypatch):
    """Draw figures as SVG alone, a third of the work, but where a test is marked drawn: their files are its subject."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr(draw, "rendered", partial(_sketch, draw.rendered))


def _sketch(rendered, figure):
    return dict.fromkeys(draw.UNDATED, b"") | rendered(figure, ["svg"])


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster of a machine without workers, where this process is, and two with workers."""
    pytest.importorskip("ray", reason="Ray is missing: python3 -m pip install 'rlprune[ray]'", exc_type=ImportError)
    import ray
    from ray.cluster_utils import Cluster

    from rlprune.executors import executors

    executors().load("ray")  # before Ray is begun: it says what Ray is to leave undone
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])  # machines find the tests' modules
    small = {"object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        made.add_node(num_cpus=1, **small)
        made.add_node(num_cpus=2, num_gpus=1, **small)  # it need not have the GPU: Ray only counts
        ray.init(made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()

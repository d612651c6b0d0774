"""What is measured: one kind of thing for a task's metric, a learning curve and a column of costs; and a catalogue of these."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A number that is recorded, and how people read it: shown is ``value * scale`` in ``unit``.

    Args:
        name: key of the recorded value, say ``return_greedy``.
        title: what figures and tables call it.
        unit: of what is shown; empty for a count or a share.
        better: which values are better; None where nothing is won.
        scale: from the recorded value to the one that is shown.
        solo: whether it means something only for a cell that had its worker to itself.
        column: whether the table of costs has a column for it.
        drawn: whether the figure of costs has a panel for it.
        about: what it is, in a sentence without its end.
        span: the largest value that it can have less the smallest; None where it has no bounds, or nobody asked.
    """

    name: str
    title: str
    unit: str = ""
    better: Better | None = "higher"
    scale: float = 1.0
    solo: bool = False
    column: bool = False
    drawn: bool = False
    about: str = ""
    span: float | None = field(default=None, compare=False)  # a row does not store it

    @property
    def heading(self) -> str:
        """Return title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def sign(self) -> int:
        """Return what makes higher values the better ones: −1 where lower are, else 1."""
        return -1 if self.better == "lower" else 1


CATALOGUE = (
    # how alike games are
    Measure(
        "return_greedy_std",
        "deviation of greedy games",
        "",
        None,
        about="standard deviation of the return over the evaluation games of a cell, their number in the denominator",
    ),
    Measure("return_sampled_std", "deviation of sampled games", "", None, about="the same, actions drawn from the policy"),
    # how much is left
    Measure(
        "sparsity_weights", "weights removed", "%", None, 100, column=True, about="share of the dense network's prunable weights"
    ),
    Measure("sparsity_nodes", "nodes removed", "%", None, 100, column=True, about="share of its hidden units"),
    Measure("empty_layers", "layers emptied", "", None, column=True, about="with at most one weight left (one always stays)"),
    Measure("pruning_epoch", "epoch of pruning", "", None, column=True, about="epochs trained before the last cut"),
    # what finding and training it took
    Measure(
        "wall_seconds",
        "training time",
        "s",
        "lower",
        solo=True,
        column=True,
        drawn=True,
        about="from the cell's start until its final network is evaluated",
    ),
    Measure("cpu_seconds", "CPU time", "s", "lower", solo=True, about="of the same, by all threads of the process"),
    Measure(
        "worker_seconds",
        "worker time",
        "s",
        "lower",
        about="the worker's wall time, shared among the cells it had at once; of one that was `resumed` what came since",
    ),
    Measure("training_seconds", "time in epochs", "s", "lower", solo=True, about="of `wall_seconds`, what trained"),
    Measure("training_macs", "training MACs", "", "lower", about="multiply-accumulates as done, zeros included"),
    Measure(
        "training_macs_nonzero",
        "training MACs, zeros left out",
        "",
        "lower",
        about="of `training_macs`, those with weights that were not pruned yet",
    ),
    Measure("training_samples", "training samples", "", "lower", about="environment steps, images or texts trained on"),
    Measure("trained_epochs", "epochs trained", "", "lower", about="rewound ones included"),
    Measure("resumed", "resumed", "", None, about="1 for a cell that went on from a checkpoint: its clock has a gap"),
    Measure("scoring_seconds", "scoring time", "s", "lower", solo=True, column=True, about="of `wall_seconds`, what scored"),
    Measure("scoring_samples", "scoring samples", "", "lower", about="environment steps, images or texts scored on"),
    # what the final network takes
    Measure(
        "batch_seconds", "batch time", "ms", "lower", 1e3, solo=True, column=True, drawn=True, about="median of up to 50 updates"
    ),
    Measure("latency_seconds", "latency", "ms", "lower", 1e3, solo=True, column=True, about="median of as many forward passes"),
    Measure(
        "memory_peak_bytes", "peak memory", "MB", "lower", 1e-6, solo=True, column=True, drawn=True, about="most held at once"
    ),
    Measure("memory_static_bytes", "static memory", "MB", "lower", 1e-6, about="held while nothing runs"),
    Measure("disk_dense_mb", "disk, dense", "MB", "lower", column=True, about="every parameter, pruned or not, in 32 bits"),
    Measure("disk_csr_mb", "disk, CSR 16:1", "MB", "lower", column=True, drawn=True, about="the paper's formula"),
    Measure(
        "disk_file_mb",
        "disk, file",
        "MB",
        "lower",
        column=True,
        about="as safetensors with its header, masked weights as CSR where that is smaller; what a cell saves holds its zeros",
    ),
    Measure("parameters", "parameters", "", "lower", column=True, about="kept weights, other parameters; no target networks"),
    Measure("macs", "MACs", "", "lower", column=True, about="multiply-accumulates of a forward pass, zeros included"),
    Measure("macs_nonzero", "MACs, zeros left out", "", "lower", column=True, about="of `macs`, those with weights not pruned"),
    # what it all used up
    Measure("energy_joules", "energy, CPU + GPU", "J", "lower", solo=True, column=True, drawn=True, about="added up by reports"),
    Measure(
        "energy_cpu_joules",
        "energy, CPU",
        "J",
        "lower",
        solo=True,
        about="by CodeCarbon: CPU seconds at rated watts or, where it may read RAPL, all that the machine used meanwhile",
    ),
    Measure(
        "energy_gpu_joules",
        "energy, GPU",
        "J",
        "lower",
        solo=True,
        about="of the whole board; absent where no GPU was used, or its energy is unknown",
    ),
    Measure("energy_ram_joules", "energy, RAM", "J", "lower", solo=True, about="rated watts of the whole memory by wall seconds"),
    Measure("co2_grams", "CO₂", "g", "lower", solo=True, column=True, about="`energy_joules` by the country's grams a kWh"),
    Measure("price_usd", "price", "$", "lower", solo=True, column=True, about="`wall_seconds` by the suite's `price_per_hour`"),
    # between two copies of a network
    Measure(
        "barrier", "barrier", "%", "lower", 100, about="of a branched cell: share of the metric's range lost between its copies"
    ),
    Measure("line_ends", "metric of the copies", "", None, about="of a branched cell: the mean of its two copies"),
    # where an epoch stands
    Measure("trained", "epochs trained", "", None, about="of an epoch: its number, rewound ones counted again"),
    Measure("epoch", "epoch", "", None, about="of an epoch: its place in the budget"),
    Measure("samples", "samples", "", None, about="of an epoch: `training_samples` so far"),
    Measure("sparsity", "weights removed", "%", None, 100, about="of an epoch: `sparsity_weights` at its end"),
    Measure("distance", "distance travelled", "", None, about="of an epoch: Euclidean, of all parameters from where they began"),
    Measure("trigger", "trigger", "", None, about="of an epoch: what the plan compares with its threshold to prune"),
    *(
        Measure(f"{name}_{network}", f"{title}, {network}", unit, None, scale, about=f"of an epoch: {about}")
        for name, title, unit, scale, about in (
            (
                "dormant",
                "dormant units",
                "%",
                100,
                "share of its hidden units whose mean output, signs aside, is at most .025 of their layer's",
            ),
            ("rank", "effective rank", "", 1, "largest singular values of its last hidden layer's outputs that make 99 % of all"),
            ("norm", "parameter norm", "", 1, "Euclidean, of all its parameters"),
        )
        for network in ("actor", "critic")
    ),
    Measure("of", "epochs at most", "", None, about="of an epoch: how many the cell trains at most; told, and not stored"),
)
"""All that cells and their epochs record but for what their trainer measures quality by, in the order of tables and figures."""

MEASURES = {measure.name: measure for measure in CATALOGUE}
COLUMNS = tuple(measure for measure in CATALOGUE if measure.column)
SOLO = frozenset(measure.name for measure in CATALOGUE if measure.solo)


def alone(config: Mapping[str, object], values: Mapping[str, float]) -> bool:
    """Return whether a finished cell had its worker to itself: a fleet of one that had it measured its time.

    One that was resumed knows none of its own, and has measured that of its network's updates.
    """
    return not config.get("fleet") or "wall_seconds" in values or {"resumed", "batch_seconds"} <= values.keys()


def described() -> str:
    """Return the catalogue as the Markdown table of docs/measures.md."""
    lines = [f"| `{it.name}` | {it.heading} | {it.better or '–'} | {it.about} |\n" for it in CATALOGUE]
    return "".join(["| measure | as figures and tables show it | better | what it is |\n", "|---|---|---|---|\n", *lines])


if __name__ == "__main__":
    sys.stdout.write(described())

"""Rows such as a sweep would have stored, made up: for looking at reports and testing them without training anything."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import numpy as np

from rlprune.costs.judged import Judged
from rlprune.costs.measures import Measure
from rlprune.rows import Row

# Pruner: what it cuts, and how well it stands high sparsity (1: like dense).
PRUNERS = {
    "Dense": ("nothing", 1.0),
    "Random-U": ("weights", 0.42),
    "Random-S": ("channels", 0.72),
    "Magnitude-Before": ("weights", 0.12),
    "Magnitude-After": ("weights", 0.06),
    "SNIP": ("weights", 0.70),
    "GraSP": ("weights", 0.52),
    "SynFlow": ("weights", 0.60),
    "SNAP": ("channels", 0.85),
    "CroP-U": ("weights", 0.68),
    "CroP-S": ("channels", 0.92),
    "CroPit-U": ("weights", 0.66),
    "CroPit-S": ("channels", 0.90),
    "EarlyCroP-U": ("weights", 0.25),
    "EarlyCroP-S": ("channels", 0.58),
    "LTR": ("weights", 0.10),
    "IMP": ("weights", 0.30),
}
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
LAYERS = {
    f"mlp_extractor.{side}_net.{index}.weight": size
    for side in ("policy", "value")
    for index, size in ((0, 512), (2, 16384), (4, 16384))
}
LAYERS |= {"action_net.weight": 256, "value_net.weight": 128}
LABELS = {"task_title": "CartPole-v1", "device": "cpu"}
JUDGED = Judged(
    metric=Measure("return_greedy", "return (greedy games)"),
    curve=Measure("return_train", "return (training games)"),
    unit="steps",
    also=(Measure("return_sampled", "return (sampled games)"),),
    anchors={"random": 22.0, "dense": 500.0},
)
LOWER = replace(JUDGED, metric=replace(JUDGED.metric, better="lower"))


def row(pruner: str = "Dense", sparsity: float = 0.95, seed: int = 0, **changes: object) -> Row:
    """Return one finished cell of CartPole; ``changes`` replace fields of the row."""
    cut, strength = PRUNERS[pruner]
    sparsity = 0.0 if cut == "nothing" else sparsity
    noise = np.random.default_rng([seed, len(pruner), round(1000 * sparsity)])
    quality = 1 / (1 + exp(-6 * (strength - 0.12) + 1.4 * (-np.log10(1 - sparsity)) * 1.7)) if sparsity else 1.0
    final = float(np.clip(22 + 520 * quality + 45 * noise.standard_normal(), 9, 500))
    rounds = 11 if pruner in ("LTR", "IMP") else 1
    epochs = tuple(
        {
            "trained": float(trained),
            "epoch": float((trained - 1) % 30 + 1),
            "samples": trained * 16_667.0,
            "return_train": max(9.0, final * (1 - exp(-((trained - 1) % 30 + 1) / 8)) + 12 * float(noise.standard_normal())),
        }
        for trained in range(1, 30 * rounds + 1)
    )
    kept = {name: max(2, round(dense * (1 - sparsity) * float(noise.uniform(0.3, 1.7)))) for name, dense in LAYERS.items()}
    if pruner.startswith("Magnitude") or pruner == "LTR":
        kept["action_net.weight"] = 1  # selection spares one weight a tensor
    nodes = sparsity**0.6 if cut == "channels" else 0.1 * sparsity
    speed = 1 - 0.6 * sparsity if cut == "channels" else 1.0
    left = 33_410 * (1 - sparsity)
    values = {
        "return_greedy": final,
        "return_sampled": 0.97 * final,
        "return_train": epochs[-1]["return_train"],
        "sparsity_weights": sparsity,
        "sparsity_nodes": nodes,
        "trained_epochs": float(len(epochs)),
        "empty_layers": float(sum(not weights for weights in kept.values())),
        "wall_seconds": rounds * (70 * speed + float(noise.uniform(0, 5))),
        "cpu_seconds": rounds * 70 * speed,
        "scoring_samples": 4096.0 * bool(sparsity),
        "batch_seconds": 0.0011 * speed + float(noise.uniform(0, 1e-4)),
        "latency_seconds": 0.00006 * speed + float(noise.uniform(0, 1e-5)),
        "memory_peak_bytes": 2.1e6 * speed + seed,
        "macs": left if cut == "channels" else 33_410.0,
        "parameters": left + 390,
        "disk_dense_mb": 0.135 * ((1 - sparsity) if cut == "channels" else 1.0),
        "disk_csr_mb": left * 34 / 8e6,
        "disk_file_mb": 0.137 * (1 - sparsity) + 0.004,
        "energy_cpu_joules": rounds * 300 * speed,
        "energy_ram_joules": rounds * 90.0,
        "co2_grams": rounds * 0.031 * speed,
        "price_usd": rounds * 0.0021 * speed,
    }
    if sparsity:
        values["scoring_seconds"] = 0.9 * (40 if pruner == "SynFlow" else 1) + float(noise.uniform(0, 0.2))
    made = Row(
        id=f"{pruner}-{sparsity}-{seed}",
        suite="cartpole",
        profile="quick",
        task="cartpole-v1",
        pruner=pruner,
        cut=cut,
        sparsity=sparsity,
        seed=seed,
        config={"recipe": {"budget": 500_000}, "settings": {"floor": 1}, "seed": seed},
        labels=LABELS,
        judged=JUDGED,
        status="done",
        error=None,
        started="2026-11-21T10:00:00+00:00",
        ended="2026-11-21T10:02:00+00:00",
        versions={"rlprune": "0.1.0", "commit": "5d3890a", "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
        machine={
            "cpu": "AMD EPYC 7763",
            "cores": "2",
            "memory_method": "process peak",
            "energy_method": "estimate, 4 W a busy thread",
        },
        values=values,
        epochs=epochs,
        layers={
            name: {"kept": float(kept[name] if sparsity else dense), "dense": float(dense)} for name, dense in LAYERS.items()
        },
    )
    return replace(made, **changes)


def rows(seeds: int = 10, pruners: Sequence[str] = tuple(PRUNERS), sparsities: Sequence[float] = SPARSITIES) -> list[Row]:
    """Return a full sweep."""
    return [
        row(pruner, sparsity, seed)
        for pruner in pruners
        for sparsity in (sparsities if PRUNERS[pruner][0] != "nothing" else [0.0])
        for seed in range(seeds)
    ]


def as_task(sweep: Sequence[Row], task: str, title: str, offset: float, factor: float) -> list[Row]:
    """Return the same sweep as another task: returns become ``offset + factor * return``, anchors too."""

    def moved(value: float) -> float:
        return offset + factor * value

    anchors = {name: moved(value) for name, value in JUDGED.anchors.items()}
    return [
        replace(
            one,
            id=f"{task}-{one.id}",
            suite=task.partition("-")[0],
            task=task,
            labels={**one.labels, "task_title": title},
            judged=replace(one.judged, anchors=anchors),
            values={name: moved(value) if name.startswith("return") else value for name, value in one.values.items()},
            epochs=tuple({**epoch, "return_train": moved(epoch["return_train"])} for epoch in one.epochs),
        )
        for one in sweep
    ]


FAILED = row(
    "IMP",
    0.98,
    0,
    status="failed",
    error='Traceback (most recent call last):\n  File "cell.py", line 12, in train\nValueError: the loss is <nan> after epoch 3',
    values={},
    epochs=(),
    layers={},
)
SKIPPED = row("SynFlow", 0.98, 0, status="skipped", error="needs batchnorm, and mlp has none", values={}, epochs=(), layers={})

INSIDE = tuple(
    Measure(f"{name}_{network}", f"{title}, {network}", unit, None, scale)
    for name, title, unit, scale in (
        ("dormant", "dormant units", "%", 100),
        ("rank", "effective rank", "", 1),
        ("norm", "parameter norm", "", 1),
    )
    for network in ("actor", "critic")
)


def sparse_training(sweep: Sequence[Row]) -> list[Row]:
    """Return the rows with what papers on sparse training print: MACs without zeros, and insides of actor and critic."""
    return [
        replace(
            one,
            values={
                **one.values,
                "macs_nonzero": 33_410 * (1 - one.sparsity),
                "training_macs": 1e12 * (1 - one.sparsity * (one.cut == "channels")),
                "training_macs_nonzero": 1e12 * (1 - one.sparsity),
            },
            epochs=tuple({**epoch, **_inside(one, epoch["epoch"] / 30)} for epoch in one.epochs),
        )
        for one in sweep
    ]


def _inside(one: Row, done: float) -> dict[str, float]:
    found = {}
    for network, pace in (("actor", 1.0), ("critic", 0.6)):
        found[f"dormant_{network}"] = 0.05 + 0.5 * one.sparsity * done * pace + 0.001 * one.seed
        found[f"rank_{network}"] = float(round(60 * (1 - 0.7 * one.sparsity) * (1 - 0.4 * done * pace)))
        found[f"norm_{network}"] = 14 * (1 - one.sparsity) ** 0.5 + 6 * done / pace
    return found

"""What a GPU makes of rlprune, in ten minutes: ``python tests/gpu/check.py --out gpu`` after ``pip install -e .``.

Each step is a process with a time limit of its own, so a hang costs one step, and writes a row the moment it is measured. The
folder gets ``check.json``, ``check.md`` (the tables, for docs) and a log a step. Without a GPU the same steps run in miniature on
the processor, which shows that they work and measures nothing.

Exit code: 0 if every step ended and nothing in it failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeAlias

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "speed")]

Row: TypeAlias = Mapping[str, object]
"""One line of a step's table; ``failed`` is there when it is a failure, and says why."""


@dataclass(frozen=True)
class Where:
    """What a step measures on.

    Args:
        device: ``cuda``, or ``cpu`` for the miniature.
        data: a folder with CIFAR-10 in a layout that ``--data`` takes; None draws shapes instead.
    """

    device: str
    data: Path | None

    @property
    def whole(self) -> bool:
        return self.device == "cuda"


# -- steps: what is said in DESIGN and docs of a GPU, one after the other ----------------------------------------------


def machine(where: Where) -> Iterator[Row]:
    """The board, and what its float32 products and its memory reach."""
    import torch
    from speed_fleet import ceiling

    from rlprune.costs import provenance

    side = 8192 if where.whole else 1024
    large, small, memory = ceiling(where.device, side)
    row = {"torch": torch.__version__, "commit": provenance.versions().get("commit", ""), "cpu": provenance.machine()["cpu"]}
    if where.whole:
        row |= {"board": torch.cuda.get_device_name(), "CUDA": torch.version.cuda}
    yield {**row, f"TFLOP/s at {side}³": large / 1e12, "TFLOP/s at 64 × 80·128·128": small / 1e12, "GB/s": memory / 1e9}


def tests(where: Where) -> Iterator[Row]:
    """The tests marked cuda; skipped without a GPU."""
    from importlib.util import find_spec

    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-rfE", "--durations=5"]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark"]  # which takes -n for an error
    command += ["-n", "4"] if where.whole and find_spec("xdist") else []
    files = [str(file) for file in sorted((ROOT / "tests").glob("test_*.py")) if "mark.cuda" in file.read_text(encoding="utf-8")]
    lines = []
    with subprocess.Popen([*command, *files], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:  # as they come: what was not reached can be told from what failed
            print(line, end="", flush=True)
            lines += [line.strip()] if line.strip() else []
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    last = lines[-1] if lines else "nothing was printed"
    yield {"outcome": last.strip("= "), **({"failed": "; ".join(failures) or last} if running.returncode else {})}


def fleets(where: Where) -> Iterator[Row]:
    """Agent-steps a second of simulated environments, with iterations recorded as a CUDA graph and without."""
    import torch
    from speed_fleet import ceiling, fleet, moved, operations, recipe

    products, _, memory = ceiling(where.device, 8192 if where.whole else 1024)
    wanted = (("cartpole-v1", 128), ("cartpole-v1", 16), ("acrobot-v1", 256)) if where.whole else (("cartpole-v1", 16),)
    for task, width in wanted:
        work = recipe(task, width)
        floor = max(operations(work) / products, moved(work) / memory)
        for count in (64, 256, 1024, 4096) if where.whole else (4,):
            if where.whole:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            ours = fleet(work, count, where.device)
            iterations, samples = 100 if where.whole else 10, work.rollout_steps * work.environments * count
            eager = _rate(partial(_iterate, ours, iterations // 10), iterations // 10 * samples, where)
            recorded = _rate(partial(ours.train, iterations, [1.0] * count, [1.0] * count), iterations * samples, where)
            yield {
                "task": task,
                "network": f"{work.widths[0]}³",
                "agents": count,
                "steps/s, no graph": eager,
                "steps/s": recorded,
                "of the roofline": recorded * floor,
                "memory (GB)": torch.cuda.max_memory_allocated() / 1e9 if where.whole else None,
            }


def _iterate(ours, times: int) -> None:
    for _ in range(times):
        ours.iteration()


def _rate(call, samples: int, where: Where) -> float:
    call()  # warms up
    return median(samples / _seconds(call, where) for _ in range(3))


def _seconds(call, where: Where) -> float:
    import torch

    began = time.perf_counter()
    call()
    if where.whole:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peers(where: Where) -> Iterator[Row]:
    """The fleet and JAX, the fastest peer, on the same GPU: in float32, as the fleet is, and in JAX's own default, TF32 there."""
    from importlib.util import find_spec

    from speed_fleet import fleet, recipe

    if find_spec("jax") is None or find_spec("optax") is None:
        yield {"task": "JAX was not measured: python3 -m pip install jax optax"}
        return
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    import jax
    import peer_jax
    import torch

    for width, count in ((128, 64), (128, 1024), (128, 4096)) if where.whole else ((16, 4),):
        work = recipe("cartpole-v1", width)
        ours = fleet(work, count, where.device)
        iterations = 100 if where.whole else 10
        samples = iterations * work.rollout_steps * work.environments * count
        rates = {"fleet (steps/s)": _rate(partial(ours.train, iterations, [1.0] * count, [1.0] * count), samples, where)}
        del ours
        if where.whole:
            torch.cuda.empty_cache()
        for title, precision in (("JAX, float32 (steps/s)", "highest"), ("JAX, as it comes (steps/s)", "default")):
            steps, call, _ = peer_jax.contestant(work, count)
            with jax.default_matmul_precision(precision):
                rates[title] = _rate(call, steps, where)
        fleets_rate, theirs, _ = rates.values()
        platform = jax.devices()[0].platform
        yield {
            "task": "cartpole-v1",
            "network": f"{width}³",
            "agents": count,
            **rates,
            "×": fleets_rate / theirs,
            "JAX on": platform,
        }


def landers(where: Where) -> Iterator[Row]:
    """LunarLander: games on the processor, networks on the GPU; what share of the time the games are."""
    from importlib.util import find_spec

    from speed_fleet import fleet, recipe

    for simulator in ["gymnasium", *(["envpool"] if find_spec("envpool") else [])]:
        work = recipe("lunarlander-v3", 256 if where.whole else 16, simulator)
        for count in (16, 64) if where.whole else (2,):
            ours = fleet(work, count, where.device)
            playing, step = [0.0], ours.envs.step

            def timed(actions, step=step, playing=playing):
                began = time.perf_counter()
                moved = step(actions)
                playing[0] += time.perf_counter() - began
                return moved

            ours.envs.step = timed
            iterations = 6 if where.whole else 1
            ours.iteration()
            playing[0] = 0.0
            taken = _seconds(partial(_iterate, ours, iterations), where)
            samples = iterations * work.rollout_steps * work.environments * count
            yield {
                "games by": simulator,
                "agents": count,
                "steps/s": samples / taken,
                "share of the games": playing[0] / taken,
            }


def scores(where: Where) -> Iterator[Row]:
    """What a score takes over the plain gradients of the same batches, float32 without TF32."""
    from speed_vision import follower, seconds, trainer

    from rlprune.pruning.probe import in_full
    from rlprune.pruning.pruner import pruners

    for network in ("resnet18", "vgg16") if where.whole else ("resnet-small",):
        probe = follower(trainer(network, where.device), "CroP-S")._probe(0)
        assert probe.batches
        with in_full(probe.module):
            plain = seconds(probe.gradient, where.device)
            for name in ("SNIP", "GraSP", "SNAP", "CroP-U", "CroP-S"):
                pruner = pruners().load(name)
                formula = pruner.formula(pruner.settings())
                taken = seconds(lambda formula=formula, probe=probe: formula(probe), where.device)
                yield {"network": network, "score": name, "× plain gradients": taken / plain, "plain (ms)": 1000 * plain}


def cuts(where: Where) -> Iterator[Row]:
    """How much faster a cut network trains, and what its MACs promise."""
    from speed_vision import follower, seconds, trainer

    for network in ("resnet18", "vgg16") if where.whole else ("resnet-small",):
        dense = trainer(network, where.device)
        before, promised = seconds(dense.training_step(), where.device), dense.sample_macs()
        for name in ("Random-S", "CroP-S"):
            cut = trainer(network, where.device)
            follower(cut, name).next_epoch()
            faster, fewer = before / seconds(cut.training_step(), where.device), promised / cut.sample_macs()
            row = {"network": network, "cut to 95 % by": name, "× faster": faster, "× fewer MACs": fewer}
            yield {**row, "of the promise": faster / fewer}


def agents(where: Where) -> Iterator[Row]:
    """The suite cartpole, profile smoke, as a user runs it."""
    wanted = ["--pruners", "Dense,Random-S,SNIP,CroP-U,EarlyCroP-S,LTR", "--sparsities", ".9", "--set", "recipe.budget=20_000"]
    yield from _suite("cartpole", [*wanted, "--profile", "smoke"], where)


def algorithms(where: Where) -> Iterator[Row]:
    """PPO, DQN and SAC by Stable-Baselines3, profile smoke, as a user runs them."""
    for suite in ("ppo", "dqn", "sac"):
        yield from _suite(suite, ["--profile", "smoke", "--pruners", "Dense,SNIP,CroP-U,CroP-S,EarlyCroP-S,RigL"], where)


def sweeps(where: Where) -> Iterator[Row]:
    """Fifteen agents of CartPole in a fleet, profile quick, on the GPU and on one core of the processor at once."""
    names = "Dense,Random-S,SNIP,CroP-S,EarlyCroP-S" if where.whole else "Dense,SNIP"
    wanted = ["--profile", "quick", "--set", "solo=0", "--pruners", names, "--sparsities", ".95"]
    small = [] if where.whole else ["--set", "recipe.budget=20_000"]

    def on(device: str) -> Row:
        *rows, command = _suite("cartpole", [*wanted, *small], Where(device, None))
        returns = {name: [row.get("return", 0) for row in rows if row["pruner"] == name] for name in names.split(",")}
        means = {f"return of {name}": sum(found) / max(1, len(found)) for name, found in returns.items()}
        failures = [row["failed"] for row in (*rows, command) if "failed" in row]
        told = {"failed": "; ".join(failures)} if failures else {}
        return {"device": device, "cells": len(rows), "the whole command (s)": command["whole cell (s)"], **means, **told}

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(on, ["cuda", "cpu"] if where.whole else ["cpu"])


def classifiers(where: Where) -> Iterator[Row]:
    """ResNet18 for two epochs in bfloat16 and channels_last: every kind of score, and what measures time, memory and joules."""
    names = "Dense,SNIP,GraSP,SNAP,SynFlow,CroP-U,CroP-S,EarlyCroP-U,EarlyCroP-S,EarlyBird,GateDecorators,RigL"
    wanted = ["--pruners", names if where.whole else "Dense,CroP-S", "--sparsities", ".9", "--seeds", "1", "--profile", "smoke"]
    small = ["--set", "recipe.budget=2", "--set", f"recipe.train_images={5120 if where.whole else 64}"]
    if where.data and where.whole:
        yield from _suite("resnet18_cifar10", [*wanted, *small, "--data", str(where.data)], where)
    else:
        tasks = [
            "--set",
            "tasks=['resnet-small-shapes']",
            "--set",
            f"recipe.network='{'resnet18' if where.whole else 'resnet-small'}'",
        ]
        yield from _suite("vision", [*wanted, *small, *tasks], where)


def others(where: Where) -> Iterator[Row]:
    """Depth and language, profile smoke: convolutions that grow, a recurrent network, second derivatives of both."""
    for suite in ("depth", "language"):
        yield from _suite(suite, ["--profile", "smoke", "--pruners", "Dense,SNIP,CroP-U,CroP-S,EarlyCroP-S"], where)


def large(where: Where) -> Iterator[Row]:
    """A network of 194 million weights, scored and cut on the CPU, trained on the GPU."""
    network = "resnext101-32x16d" if where.whole else "resnext-small"
    wanted = ["--profile", "smoke", "--set", "tasks=['resnext-small-shapes']", "--set", f"recipe.network='{network}'"]
    wanted += ["--set", "recipe.score_on_cpu=true", "--set", "recipe.scoring_batches=1", "--set", "recipe.micro_batch=16"]
    yield from _suite("large", [*wanted, "--pruners", "Random-S,CroP-S", "--sparsities", ".985" if where.whole else ".9"], where)


MEASURES = {  # of a cell: name in the store to title in the table and factor
    "sparsity_weights": ("weights removed", 1),
    "top1": ("top-1 (%)", 1),
    "return_greedy": ("return", 1),
    "batch_seconds": ("batch (ms)", 1e3),
    "latency_seconds": ("latency (ms)", 1e3),
    "scoring_seconds": ("scoring (s)", 1),
    "training_seconds": ("training (s)", 1),
    "memory_static_bytes": ("static (MB)", 1e-6),
    "memory_peak_bytes": ("peak (MB)", 1e-6),
    "energy_gpu_joules": ("GPU (J)", 1),
    "energy_cpu_joules": ("CPU (J)", 1),
    "wall_seconds": ("whole cell (s)", 1),
}


def _suite(suite: str, words: list[str], where: Where) -> Iterator[Row]:
    """Run a suite as a user does and yield a row a cell, as each is stored."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rlprune.run", suite, *words, "--device", where.device, "--jobs", "1", "--out", folder]
        began, shown = time.perf_counter(), set()
        running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": _path()})
        while running.poll() is None:
            time.sleep(0.5)
            yield from _cells(Path(folder), suite, shown)
        yield from _cells(Path(folder), suite, shown)
        row = {"suite": suite, "task": "the whole command", "pruner": f"{len(shown)} cells"}
        failed = {} if running.returncode == 0 else {"failed": f"exit code {running.returncode}; the step's log says why"}
        yield {**row, "whole cell (s)": time.perf_counter() - began, **failed}


def _cells(folder: Path, suite: str, shown: set) -> Iterator[Row]:
    """Yield what is stored and not yet ``shown``."""
    from rlprune.store import Store

    if not (folder / "checkpoints").exists():  # before the first epoch there is nothing to read
        return
    with Store(folder / "results.sqlite", create=False) as store:
        rows = [row for row in store.rows() if row.id not in shown]
    for row in rows:
        shown.add(row.id)
        found = {title: row.values[name] * factor for name, (title, factor) in MEASURES.items() if name in row.values}
        why = {} if row.status == "done" else {"failed": f"{row.status}: {(row.error or '').strip().splitlines()[-1]}"}
        yield {"suite": suite, "task": row.task, "pruner": row.pruner, **found, **why}


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))


BESIDE = {tests: 200, agents: 120, algorithms: 200, sweeps: 120, others: 160, large: 200}
"""Steps whose times nobody compares, side by side; seconds at most, on a GPU."""
ALONE = {machine: 40, fleets: 90, scores: 60, cuts: 60, peers: 150, landers: 60, classifiers: 150}
STEPS = {step.__name__: (step, limit) for step, limit in (*BESIDE.items(), *ALONE.items())}

# -- running them ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the steps, write what they found, print it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of the results")
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10; without it, shapes are drawn")
    parser.add_argument("--steps", help=f"these only, with commas: {', '.join(STEPS)}")
    parser.add_argument("--seconds", type=float, default=570, help="for all steps; what does not fit is named")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the tables of an earlier check, and nothing else")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.show:
        print(tables(json.loads(asked.show.read_text(encoding="utf-8"))["steps"]))
        return 0
    import torch

    where = Where("cuda" if torch.cuda.is_available() else "cpu", asked.data and asked.data.resolve())
    if asked.child:
        return _child(asked.child, where, asked.out)
    asked.out.mkdir(parents=True, exist_ok=True)
    wanted = asked.steps.split(",") if asked.steps else list(STEPS)
    if unknown := sorted(set(wanted) - set(STEPS)):
        parser.error(f"no step is named {', '.join(unknown)}")
    began, found = time.perf_counter(), {}

    def step(name: str) -> None:
        limit = min(STEPS[name][1] * (1 if where.whole else 4), asked.seconds - (time.perf_counter() - began))
        found[name] = _guarded(name, limit, asked) if limit > 5 else _unfinished(0, "no time was left")
        print(table(name, found[name]), flush=True)

    with ThreadPoolExecutor(len(BESIDE) if where.whole else 1) as pool:
        list(pool.map(step, [each.__name__ for each in BESIDE if each.__name__ in wanted]))
    for name in (each.__name__ for each in ALONE if each.__name__ in wanted):
        step(name)
    (asked.out / "check.json").write_text(json.dumps({"device": where.device, "steps": found}, indent=1), encoding="utf-8")
    (asked.out / "check.md").write_text(tables(found), encoding="utf-8")
    failures = [f"{name}: {row['failed']}" for name, step in found.items() for row in step["rows"] if "failed" in row]
    print(f"{len(failures)} failed\n" + "\n".join(failures))
    return 1 if failures else 0


def _child(name: str, where: Where, file: Path) -> int:
    """Run one step in this process and add each of its rows to ``file`` at once."""
    import torch

    torch.set_num_threads(1 if not where.whole else max(1, (os.cpu_count() or 1) // 2))
    for row in STEPS[name][0](where):
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
    return 0


def _guarded(name: str, limit: float, asked: argparse.Namespace) -> dict:
    """Run one step in a process of its own for at most ``limit`` seconds."""
    rows, log = asked.out / f"{name}.jsonl", asked.out / f"{name}.log"
    rows.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--child", name, "--out", str(rows)]
    command += ["--data", str(asked.data)] if asked.data else []
    threads = {"OMP_NUM_THREADS": "1"} if STEPS[name][0] in BESIDE else {}
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **threads}
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = None
    seconds = time.perf_counter() - began
    measured = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []
    if code == 0:
        return {"seconds": seconds, "rows": measured}
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]
    why = f"ended after its {limit:.0f} s" if code is None else f"exit code {code}: {last}"
    return _unfinished(seconds, why, measured)


def _unfinished(seconds: float, why: str, rows: list | None = None) -> dict:
    return {"seconds": seconds, "rows": [*(rows or []), {"failed": why}]}


def tables(found: Mapping[str, Mapping]) -> str:
    """Return the tables of all steps."""
    return "\n".join(table(name, step) for name, step in found.items())


def table(name: str, step: Mapping) -> str:
    """Return a step's rows as Markdown."""
    names = list(dict.fromkeys(key for row in step["rows"] for key in row))
    lines = [
        f"### {name}: {STEPS[name][0].__doc__} ({step['seconds']:.0f} s)",
        "",
        f"| {' | '.join(names)} |",
        "|" + "---|" * len(names),
    ]
    lines += ["| " + " | ".join(_text(row.get(key)) for key in names) + " |" for row in step["rows"]]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())

"""Take the policy of somebody's own Stable-Baselines3 agent away, and say what each format takes and how true it is."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rlprune.export import c99, onnx, tensors, trial
from rlprune.export.player import Bounded, Player, normaliser, player, statistics
from rlprune.files import write
from rlprune.training import rehearsal
from rlprune.training.trainer import Generators
from rlprune.words import nearest

Array: TypeAlias = np.ndarray[Any, Any]
Found: TypeAlias = tuple[Array, Array, float]
"""Outputs, actions, and the median seconds of a decision."""

ENDINGS = (".onnx", ".int8.onnx", ".safetensors", ".h")
_MEASURED = 1000
_TIMED = 200
_TRUE = 0.99  # least agreement in float32: scores may be as good as equal
_NEAR = 0.01
"""Share of an action's range within which it counts as the same."""


@dataclass(frozen=True)
class Exported:
    """One format of a policy, as found on observations.

    Args:
        format: what it is; the agent's own ``predict`` comes first.
        file: where it was written.
        bytes: of the file; of a C header what its numbers take in a program.
        seconds: median of one decision on one thread; None where there is no compiler.
        agreement: share of observations whose action is ``predict``'s, or within 1 % of the action's range; None like seconds.
        off: largest difference of an action from ``predict``'s, where actions are numbers.
    """

    format: str
    file: Path | None
    bytes: int | None
    seconds: float | None
    agreement: float | None
    off: float | None


def export_policy(
    model: BaseAlgorithm,
    *files: str | Path,
    observations: "Array | Sequence[Any] | None" = None,
    vec_normalize: VecNormalize | None = None,
    tell: Callable[[str], object] = print,
) -> list[Exported]:
    """Write what an agent's ``predict(..., deterministic=True)`` computes, and tell what each file takes and how true it is.

    What VecNormalize does to observations is inside: policies are shown what the environment shows.

    Args:
        model: an A2C, PPO, DQN, SAC or TD3 agent with ``MlpPolicy`` or ``CnnPolicy``.
        *files: their endings say the format: ``.onnx``, ``.int8.onnx``, ``.safetensors`` (``rlprune.export.load`` reads it), or
            ``.h``, a C99 header for MLPs whose functions are named like it.
        observations: to measure on, one a row, as the environment shows them; every second one calibrates int8. Left out, the
            agent plays 1,000 in its environments, twice as many for int8, which nothing counts; without environments they are
            drawn from its space.
        vec_normalize: the statistics of an agent that was loaded without its environments.
        tell: is given the table.

    Returns:
        What the table has, the agent's own ``predict`` first.

    Raises:
        ValueError: an ending, or something about the agent, that is not known; nothing is written.
        RuntimeError: what would be written disagrees with the agent, and is not.
    """
    places = [_place(file) for file in files]
    if not places:
        raise ValueError(f"name a file to write, whose ending is one of {', '.join(ENDINGS)}")
    if twice := next((str(place) for place, _ in places if [one for one, _ in places].count(place) > 1), ""):
        raise ValueError(f"{twice} is named twice")
    if nowhere := next((place.parent for place, _ in places if not place.parent.is_dir()), None):
        raise ValueError(f"{nowhere} is no folder: make it first")
    known = vec_normalize if vec_normalize is not None else normaliser(model.get_env())
    taken = player(model, known)
    endings = [ending for _, ending in places]
    if refusal := _refusal(taken, endings):
        raise ValueError(refusal)
    calibrated = ".int8.onnx" in endings
    shown, whence = _shown(model, known, taken, observations, 2 * _MEASURED if calibrated else _MEASURED)
    measured, calibrating = (shown[::2], shown[1::2]) if calibrated else (shown, shown[:0])
    theirs, first = _predicted(model, known, measured)
    measured, calibrating = (part.astype(taken.about["kind"]) for part in (measured, calibrating))
    with torch.inference_mode():
        outputs, actions = (found.numpy() for found in taken(torch.as_tensor(measured)))
    judge = _Judge(taken, theirs, outputs)
    judge.heard("what was read of the agent", (outputs, actions, 0.0))
    rows, contents = [first], list[bytes]()
    with TemporaryDirectory() as folder:
        whole = Path(folder, "policy.onnx")
        if any(ending.endswith(".onnx") for ending in endings):
            onnx.write(taken, taken.example(), whole, ["observation"], ["output", "action"])
        for place, ending in places:
            match ending:
                case ".onnx":
                    content = whole.read_bytes()
                    row = judge.heard("ONNX float32", _ran(onnx.session(whole), measured))
                case ".int8.onnx":
                    small = Path(folder, "int8.onnx")
                    kind = onnx.quantised(whole, small, calibrating, lambda run: judge.worse(*run(measured)))
                    content = small.read_bytes()
                    row = judge.heard(f"ONNX int8, {kind}", _ran(onnx.session(small), measured), exactly=False)
                case ".safetensors":
                    content = tensors.packed(taken)
                    row = judge.heard("safetensors, in PyTorch", _loaded(content, Path(folder, "policy.safetensors"), measured))
                case _:
                    header = c99.Header(taken, place.stem)
                    content = header.text.encode()
                    row = replace(judge.heard("C99", trial.tried(header, measured)), bytes=header.constants)
            contents.append(content)
            rows.append(replace(row, file=place, bytes=row.bytes or len(content)))
    for (place, _), content in zip(places, contents, strict=True):
        write(place, content)
    tell("\n".join([*_table(rows), f"On {len(measured):,} observations{whence}."]))
    return rows


def _place(file: str | Path) -> tuple[Path, str]:
    place = Path(file)
    ending = next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if place.name.endswith(ending)), "")
    if not ending or place.name == ending:
        raise ValueError(
            f"cannot write '{place.name}': a name ends in one of {', '.join(ENDINGS)}{nearest(place.suffix, ENDINGS)}"
        )
    return place, ending


def _refusal(taken: Player, endings: Sequence[str]) -> str:
    if any(ending.endswith(".onnx") for ending in endings):
        onnx.needed()
    return (".safetensors" in endings and tensors.refused(taken)) or (".h" in endings and c99.refused(taken)) or ""


# -- observations --------------------------------------------------------------------------------------------------


def _shown(model: BaseAlgorithm, known: VecNormalize | None, taken: Player, given: Any, count: int) -> tuple[Array, str]:
    """Return observations as the environment shows them, in double where it does, and whence they are."""
    kind, shape = np.dtype(taken.about["kind"]), tuple(taken.about["shape"])
    if given is not None:
        found = np.asarray(given, None if kind == np.float32 else kind)
        if found.shape[1:] != shape or len(found) < 2:
            raise ValueError(f"observations are at least two of shape {shape}, one a row; these have shape {found.shape}")
        return found, ""
    env = model.get_env()
    if env is None:
        why = "it has no environment"
        why += "" if known else "; if it learned under VecNormalize, hand that over, too (vec_normalize=env)"
    elif known is not None and normaliser(env) is None:
        why = "its environment has no VecNormalize"
    else:
        try:
            return _played(model, env, count), " that the agent played, half of them with its own noise"
        except ValueError:
            why = "its environments cannot be copied"
    return _drawn(model, known, (count, *shape)).astype(kind), f" drawn from the agent's space, for {why}"


def _played(model: BaseAlgorithm, env: VecEnv, count: int) -> Array:
    """Return observations that an agent meets, of which nothing counts them.

    Raises:
        ValueError: the environments would notice.
    """
    space = model.action_space
    with rehearsal.of(env, "export_policy") as restored:
        model.action_space = copy.deepcopy(space)  # which DQN draws from
        try:
            found = met(model, env, count)
        finally:
            model.action_space = space
    if not restored:
        model._last_obs = env.reset()  # type: ignore[assignment]
        model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
        if (known := model.get_vec_normalize_env()) is not None:
            model._last_original_obs = known.get_original_obs()
    return found


def met(model: BaseAlgorithm, env: VecEnv, count: int = 2 * _MEASURED) -> Array:
    """Play; return what the environments showed, half of it to an agent that plays greedily."""
    known, found = normaliser(env), list[Array]()
    if known is not None:
        known.training = False
    with Generators.seeded(np.random.SeedSequence(0)).owned():
        observations = env.reset()
        for step in range(-(-count // env.num_envs)):
            found.append(np.array(observations if known is None else known.get_original_obs()))
            actions, _ = model.predict(observations, deterministic=step // 100 % 2 == 0)  # type: ignore[arg-type]
            observations, *_ = env.step(actions)
    return np.concatenate(found)[:count]


def _drawn(model: BaseAlgorithm, known: VecNormalize | None, shape: tuple[int, ...]) -> Array:
    """Return observations of the agent's space; where it has no bounds, of a normal distribution."""
    lots = np.random.default_rng(0)
    if known is not None and known.norm_obs:
        mean, var = statistics(known)
        return np.asarray(mean + np.sqrt(var) * lots.normal(size=shape))
    assert model.observation_space is not None
    match model.observation_space:
        case spaces.Box(low=low, high=high) as box if box.is_bounded() and float(np.max(high.astype(float) - low)) < 1e6:
            values = lots.uniform(low, high, shape)
            return np.round(values) if np.issubdtype(box.dtype, np.integer) else values
        case spaces.Box(low=low, high=high):
            return np.clip(lots.normal(size=shape), low, high)
        case spaces.MultiBinary():
            return lots.integers(2, size=shape)
        case spaces.Discrete(n=count):
            return lots.integers(count, size=shape)
        case spaces.MultiDiscrete(nvec=counts):
            return lots.integers(counts, size=shape)
        case space:
            raise AssertionError(space)


# -- what each format does -----------------------------------------------------------------------------------------


def _predicted(model: BaseAlgorithm, known: VecNormalize | None, shown: Array) -> tuple[Array, Exported]:
    seen = shown if known is None else np.asarray(known.normalize_obs(shown))
    actions = np.concatenate([model.predict(part, deterministic=True)[0] for part in np.array_split(seen, -(-len(seen) // 250))])
    with _one_thread():
        seconds = _timed(lambda one: model.predict(one[0], deterministic=True), seen)
    return actions, Exported("Stable-Baselines3's predict", None, None, seconds, 1.0, None)


def _loaded(content: bytes, file: Path, shown: Array) -> Found:
    file.write_bytes(content)
    loaded = tensors.load(file)

    def run(values: Array) -> list[Array]:
        with torch.inference_mode():
            return [found.numpy() for found in loaded(torch.as_tensor(values))]

    with _one_thread():
        return _ran(run, shown)


def _ran(run: onnx.Run, shown: Array) -> Found:
    outputs, actions = run(shown)
    return outputs, actions, _timed(run, shown)


def _timed(decide: Callable[[Array], object], shown: Array) -> float:
    """Return the median seconds of a decision on one observation."""
    took = []
    for index in range(_TIMED):
        one = shown[index % len(shown)][None]
        begun = perf_counter()
        decide(one)
        took.append(perf_counter() - begun)
    return float(np.median(took))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Judge:
    """Compares what a format does with the agent.

    Args:
        taken: the agent's policy.
        theirs: the actions that ``predict`` returns.
        outputs: the network's.
    """

    def __init__(self, taken: Player, theirs: Array, outputs: Array) -> None:
        self._decide, self._theirs, self._outputs = taken.decide, theirs.reshape(len(theirs), -1).astype(np.float64), outputs

    def heard(self, format: str, found: Found | None, *, exactly: bool = True) -> Exported:
        """Return what a format that does this is worth.

        Raises:
            RuntimeError: its outputs are not the network's or its actions not ``predict``'s, though exactly these were asked for.
        """
        if found is None:
            return Exported(format, None, None, None, None, None)
        outputs, actions, seconds = found
        if exactly and not np.allclose(outputs, self._outputs, rtol=1e-4, atol=1e-5):
            raise RuntimeError(f"{format}: outputs are off by {np.abs(outputs - self._outputs).max():.2g}; nothing was written")
        agreement, off = self._agreement(actions)
        if exactly and agreement < _TRUE:
            raise RuntimeError(f"{format}: it acts as predict does in {agreement:.1%} of observations; nothing was written")
        return Exported(format, None, None, seconds, agreement, off)

    def worse(self, outputs: Array, actions: Array) -> tuple[float, float]:
        """Return how far somebody is from the agent: in actions, then in outputs."""
        return -self._agreement(actions)[0], float(np.abs(outputs - self._outputs).mean())

    def _agreement(self, actions: Array) -> tuple[float, float | None]:
        off = np.abs(actions.reshape(self._theirs.shape) - self._theirs)
        if not isinstance(self._decide, Bounded):
            return float((off == 0).all(1).mean()), None
        reach = (self._decide.high - self._decide.low).numpy().ravel()
        return float((off <= _NEAR * reach).all(1).mean()), float(off.max())


def _table(rows: Sequence[Exported]) -> list[str]:
    """Return the lines of a table."""
    numbers = any(row.off is not None for row in rows)
    lines = [["format", "file", "bytes", "one decision", "same action", *(["largest difference"] if numbers else [])]]
    for row in rows:
        time = "" if row.seconds is None else f"{row.seconds * 1e6:,.{1 if row.seconds >= 1e-5 else 2}f} µs"
        agreement = "" if row.agreement is None else f"{row.agreement:.1%}"
        size = "" if row.bytes is None else f"{row.bytes:,}"
        cells = [row.format, "" if row.file is None else row.file.name, size, time, agreement]
        lines.append([*cells, *([f"{row.off:.2g}" if row.off is not None else ""] if numbers else [])])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = 2  # columns of them, before those of numbers
    aligned = [[f"{cell:{'<' if at < words else '>'}{widths[at]}}" for at, cell in enumerate(line)] for line in lines]
    return ["  ".join(line).rstrip() for line in aligned]

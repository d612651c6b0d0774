"""What a network costs: multiply-accumulates, seconds, bytes in memory and on disk."""

import time
from bisect import insort
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from statistics import median
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Act: TypeAlias = Callable[[], object]
"""One forward pass, or one training step, as somebody who uses the network would do it."""
_Kept: TypeAlias = Mapping[nn.Parameter, Tensor]
"""Masked weights with their masks, True where one is kept."""


def macs(run: Act, module: nn.Module, masks: Mapping[str, Tensor] | None = None) -> int:
    """Return the multiply-accumulates that weights take part in while ``run`` runs; weights that are zero count too.

    Additions of a bias, activations and products of two activations (attention scores) are not counted. Layers that torch has
    are counted by what goes in and comes out; weights that are used in any other way, say by functions, by the products that
    they go into.

    Args:
        masks: leave out the weights that these remove. What is made of weights, and is no view of them, is taken to have the
            share of its entries left that they have.

    Raises:
        TypeError: such a weight goes into a step that is no plain product.
    """
    counted, within, called = [0.0], [0], set[int]()
    layers = (layer for layer in module.modules() if any(own.ndim > 1 for own in layer.parameters(recurse=False)))
    ruled = [layer for layer in layers if isinstance(layer, tuple(_RULES))]
    kept = {module.get_parameter(name): mask for name, mask in (masks or {}).items()}
    shares = {layer: _share_of(layer, kept) for layer in ruled}

    def count(layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        within[0] -= 1
        rule = next(rule for kind, rule in _RULES.items() if isinstance(layer, kind))
        counted[0] += int(rule(layer, inputs[0] if inputs else named["input"], output)) * shares[layer]
        called.add(id(layer))

    def enter(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        within[0] += 1

    hooks = [
        hook
        for layer in ruled
        for hook in (layer.register_forward_pre_hook(enter), layer.register_forward_hook(count, with_kwargs=True))
    ]
    try:
        if module in _PLAIN:  # looking for products takes several times as long as a run
            run()
            if called in _PLAIN[module]:
                return round(counted[0])
            counted[0], called = 0.0, set()
        beside = _products(run, module, kept, within)
        if not beside:
            _PLAIN.setdefault(module, []).append(called)
        return round(counted[0] + beside)
    finally:
        for hook in hooks:
            hook.remove()


_PLAIN: "WeakKeyDictionary[nn.Module, list[set[int]]]" = WeakKeyDictionary()
"""Networks to the layers that were called where nothing but layers multiplied: of what runs through these nothing else does."""


def _share_of(layer: nn.Module, kept: _Kept) -> float:
    """Return the share of a layer's weights that are kept."""
    own = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
    left = sum(int(kept[weight].sum()) if weight in kept else weight.numel() for weight in own)
    return left / max(1, sum(weight.numel() for weight in own))


def _products(run: Act, module: nn.Module, kept: _Kept, within: Sequence[int]) -> float:
    """Return the multiply-accumulates of weights while ``within`` is 0: outside of layers that are counted already."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one step for a whole layer, which nothing looks into
    try:
        with _Watch(module, kept, within) as watch:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(watch.macs)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the products that parameters, and what is made of parameters alone, go into."""

    def __init__(self, module: nn.Module, kept: _Kept, within: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0.0
        self._within = within
        # held, so that their places stay theirs
        self._weights: dict[int, Tensor] = {_place(own): own for own in module.parameters()}
        # at the places of masked weights which entries are kept, at those of what is made of weights a share of all
        self._kept: dict[int, Tensor | float] = {}
        for own, mask in kept.items():
            entries = torch.ones(own.untyped_storage().nbytes() // own.element_size(), dtype=torch.bool, device=own.device)
            _viewed(self._kept.setdefault(_place(own), entries), own).copy_(mask)  # type: ignore[arg-type]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # what autograd takes apart it does not where inference_mode is on
            if (parts := func.decompose(*args, **(kwargs or {}))) is not NotImplemented:
                return parts
        output = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        weights = [self._is_weight(tensor) for tensor in given]
        name = func.overloadpacket.__name__
        if given and all(weights):
            made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            for tensor in made:
                if not self._is_weight(tensor):
                    self._weights[_place(tensor)] = tensor
                    self._kept[_place(tensor)] = self._share([one for one in given if one.numel() == tensor.numel()] or given)
        elif any(weights) and not self._within[0]:
            if name in _PRODUCTS:
                begin, product = _PRODUCTS[name]
                self.macs += product(*args[begin:]) * self._share([one for one in args[begin:][:2] if self._is_weight(one)])
            elif any(word in name for word in ("lstm", "gru", "rnn", "attention", "transformer", "trilinear")):
                raise TypeError(f"no rule counts the multiplications of {name}")
        return output

    def _is_weight(self, tensor: Tensor) -> bool:
        return _place(tensor) in self._weights

    def _share(self, weights: Sequence[Tensor]) -> float:
        """Return the share of the weights' entries that are kept."""
        count = sum(weight.numel() for weight in weights)
        return sum(self._count(weight) for weight in weights) / count if count else 1.0

    def _count(self, weight: Tensor) -> float:
        entries = self._kept.get(_place(weight), 1.0)
        return int(_viewed(entries, weight).sum()) if isinstance(entries, Tensor) else entries * weight.numel()


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _viewed(entries: Tensor, tensor: Tensor) -> Tensor:
    """Return of all entries of a tensor's storage those that the tensor shows."""
    return entries.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _matrices(a: Tensor, b: Tensor, *_: Any) -> int:
    return a.numel() * (b.shape[-1] if b.ndim > 1 else 1)


def _filters(
    given: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *_: Any
) -> int:
    if transposed:
        return given.numel() * prod(weight.shape[1:])
    pairs = zip(given.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    places = prod((size + 2 * around - apart * (kernel - 1) - 1) // step + 1 for size, kernel, step, around, apart in pairs)
    return int(given.shape[0] * places * weight.numel())


_PRODUCTS: Mapping[str, tuple[int, Callable[..., int]]] = {  # where the two factors are among the arguments, and a rule
    "mm": (0, _matrices),
    "bmm": (0, _matrices),
    "mv": (0, _matrices),
    "dot": (0, _matrices),
    "addmm": (1, _matrices),
    "addmv": (1, _matrices),
    "baddbmm": (1, _matrices),
    "addbmm": (1, _matrices),
    "convolution": (0, _filters),
}


def _recurrent(layer: Any, given: Any, _: Any) -> Any:
    """Every weight meets every element of every sequence once."""
    values = given.data if isinstance(given, nn.utils.rnn.PackedSequence) else given
    return values.numel() // layer.input_size * sum(own.numel() for own in layer.parameters() if own.ndim > 1)


def _convolution(layer: Any, _: Any, output: Any) -> Any:
    return output.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)


def _transposed(layer: Any, given: Any, _: Any) -> Any:
    return given.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size)


_RULES: dict[type[nn.Module], Callable[[Any, Any, Any], Any]] = {
    nn.Linear: lambda layer, _, output: output.numel() * layer.in_features,
    nn.Bilinear: lambda layer, _, output: output.numel() * layer.in1_features * layer.in2_features,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.ConvTranspose3d: _transposed,
    nn.RNNCellBase: _recurrent,
    nn.RNNBase: _recurrent,
    nn.Embedding: lambda *_: 0,
}


def median_seconds(run: Act, *, device: torch.device, repeats: int = 50, warmup: int = 10, limit: float = 5.0) -> float:
    """Return the median time of one ``run``, by the GPU's own clock where there is one.

    Args:
        repeats: runs that are timed.
        warmup: runs before them.
        limit: seconds for all of them; runs too long for that are fewer, yet never fewer than five after two.
    """
    _seconds(run, device)
    share = min(1.0, limit / ((warmup + repeats) * max(_seconds(run, device), 1e-9)))
    repeats = max(5, int(share * repeats))
    for _ in range(int(share * warmup) - 2):
        run()
    if device.type != "cuda":
        return median(_seconds(run, device) for _ in range(repeats))
    with torch.cuda.device(device):
        marks = [_marked(run) for _ in range(repeats)]
        torch.cuda.synchronize()
    return median(float(before.elapsed_time(after)) for before, after in marks) / 1000


def settled_seconds(run: Act, *, device: torch.device, limit: float = 5.0) -> float:
    """Return the least ``median_seconds`` once it came up twice within 5 %: a machine that is cold or busy is given time.

    Args:
        limit: seconds after which the least so far will do.
    """
    return settled_together([run], device=device, limit=limit)[0]


def settled_together(runs: Sequence[Act], *, device: torch.device, limit: float = 5.0, rounds: int = 1) -> list[float]:
    """Return ``settled_seconds`` of each run, all of them timed in turns: what else a machine does slows no one alone.

    Args:
        limit: seconds after which the least so far will do.
        rounds: turns that each has at least.
    """
    began, medians = time.perf_counter(), [list[float]() for _ in runs]
    while True:
        for found, run in zip(medians, runs, strict=True):
            insort(found, median_seconds(run, device=device, limit=limit / len(runs)))
        settled = all(len(found) > max(1, rounds - 1) and found[1] <= 1.05 * found[0] for found in medians)
        if settled or time.perf_counter() - began >= limit:
            return [found[0] for found in medians]


def _seconds(run: Act, device: torch.device) -> float:
    before = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - before


def _marked(run: Act) -> tuple[torch.cuda.Event, torch.cuda.Event]:
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    before.record()
    run()
    after.record()
    return before, after


def static_memory(module: nn.Module) -> int:
    """Return the bytes of parameters and buffers; on a GPU, all that CUDA's allocator holds while nothing runs.

    There that is also the optimizer, masks and data, but not cuBLAS's workspaces: 32 MiB a thread on an H200.
    """
    tensors = [*module.parameters(), *module.buffers()]
    if tensors and tensors[0].is_cuda:
        torch._C._cuda_clearCublasWorkspaces()
        return torch.cuda.memory_allocated(tensors[0].device)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def peak_memory(run: Act, *, device: torch.device) -> dict[str, float]:
    """Return ``memory_peak_bytes``, the most CUDA's allocator held during ten runs; nothing on a CPU, which has no such count.

    There the worker reports the peak of its process instead.
    """
    if device.type != "cuda":
        return {}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(10):
        run()
    torch.cuda.synchronize(device)
    return {"memory_peak_bytes": float(torch.cuda.max_memory_allocated(device))}


def sizes(module: nn.Module, masks: Mapping[str, Tensor], copies: Collection[str] = ()) -> dict[str, float]:
    """Return what is left of a network and its size on disk, in megabytes of 10^6 bytes.

    ``copies`` are tensors that training alone needs, target networks: they are left out of all of it.

    ``parameters``: masked weights that are kept, and all other parameters. ``disk_dense_mb``: every parameter, pruned or
    not, in 32 bits. ``disk_csr_mb``: the paper's formula (see ``csr_bits``). ``disk_file_mb``: a safetensors file of the
    state with its header, masked weights as CSR where that is smaller; networks that cells save hold their zeros instead.
    """
    parameters = {name: tensor for name, tensor in module.named_parameters() if name not in copies}
    once = {**parameters, **dict(module.named_buffers())}  # weights that are tied have several names in the state
    state = {name: tensor for name, tensor in module.state_dict().items() if name not in copies and name in once}
    kept = {name: int(masks[name].sum()) if name in masks else tensor.numel() for name, tensor in parameters.items()}
    weights = [name for name, own in parameters.items() if own.ndim > 1 or "weight" in name.rpartition(".")[2]]
    return {
        "parameters": float(sum(kept.values())),
        "disk_dense_mb": sum(tensor.numel() for tensor in parameters.values()) * 32 / 8e6,
        "disk_csr_mb": sum(csr_bits(parameters[name].shape, kept[name]) for name in weights) / 8e6,
        "disk_file_mb": len(save(packed(state, masks))) / 1e6,
    }


def csr_bits(shape: torch.Size, kept: int) -> int:
    """Return ``kept·34 + 2(min(m, n) + 1)`` bits: 32 a value, and 2 an index after 16:1 compression (Rachwan et al., 2022).

    The tensor is an ``m × n`` matrix, its first dimension by all others. Summed over matrices and whatever is named ``weight``,
    those of BatchNorm among them and biases left out, it gives the paper's 397.8 Mbit for the dense ResNet18 and 1,723.1 for
    VGG16; with all parameters it would be 398.1 and 1,724.0, without BatchNorm 397.6 and 1,722.6.
    """
    rows = shape[0] if len(shape) > 1 else 1
    return kept * 34 + 2 * (min(rows, shape.numel() // rows) + 1)


def packed(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors to write for a state: as they are, or as ``NAME.values``, ``NAME.columns`` and ``NAME.rows`` of CSR.

    CSR of the matrix "first dimension by all others", column numbers in 16 bits where they fit, row starts in 32.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        dense = tensor.detach().cpu().contiguous().clone()
        parts = _csr(dense.flatten(1), masks[name].cpu().flatten(1)) if name in masks else {}
        if parts and _bytes(parts) < _bytes({"dense": dense}):
            tensors |= {f"{name}.{part}": piece for part, piece in parts.items()}
        else:
            tensors[name] = dense
    return tensors


def _csr(matrix: Tensor, mask: Tensor) -> dict[str, Tensor]:
    narrow = torch.int16 if matrix.shape[1] <= torch.iinfo(torch.int16).max else torch.int32
    rows, columns = mask.nonzero(as_tuple=True)
    starts = torch.zeros(len(matrix) + 1, dtype=torch.int32)
    starts[1:] = mask.sum(1).cumsum(0)
    return {"values": matrix[rows, columns], "columns": columns.to(narrow), "rows": starts}


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

"""Which channels of a network belong together, found by following each of them through the network.

Every activation carries, element by element, the number of its channel; what an operation does to the activation is done
to the numbers. Channels that meet are one. What is not known by name here ends the way of the channels that come to it:
they stay whole, with the reason.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from math import lcm
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from rlprune.pruning.groups import Group, Member, made_on
from rlprune.pruning.surgery import copied

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)

# names of operations of torch, without a last underline
_SAME = {
    *("clone", "detach", "alias", "contiguous", "_to_copy", "native_dropout", "bernoulli", "lift_fresh", "_prelu_kernel"),
    *("hardswish", "log_sigmoid_forward", "rrelu_with_noise"),
    *("leaky_relu", "hardtanh", "elu", "celu", "selu", "hardsigmoid"),  # which torch tags as pointwise from 2.7 on or later
}
_MOVES = {
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand"),
    *("slice", "select", "split", "split_with_sizes", "unbind", "cat", "stack", "flip", "roll", "repeat", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "narrow", "unfold"),
}
_POOLS = re.compile(r"(adaptive_)?(avg|max)_pool|upsample_|reflection_pad|replication_pad")
_REDUCES = {"mean", "sum", "amax", "amin", "max", "min", "var", "std", "logsumexp"}
_PICKS = {"index", "index_select"}
_SOFTMAXES = {"_softmax", "_log_softmax", "softmax", "log_softmax"}

Place: TypeAlias = "tuple[str, int]"
"""A tensor's name and one of its dimensions."""


RETURNED = "what the network returns"

Call: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"
"""Positional and named arguments of a network."""


def follow(net: nn.Module, calls: Sequence[Call]) -> tuple[list[Group], dict[str, str]]:
    """Return the groups of ``net``, and for each layer whose channels stay whole what they meet.

    The network runs without data where it can, so its size costs nothing; once as it is evaluated, once as it is trained.

    Args:
        net: left as it is.
        calls: inputs.

    Raises:
        ValueError: the network does not run on an input, or returns something in which channels cannot be seen.
    """
    try:
        return _found(net, calls, torch.device("meta"))
    except Exception:  # what looks into its data needs some
        return _found(net, calls, None)


def _found(net: nn.Module, calls: Sequence[Call], device: torch.device | None) -> tuple[list[Group], dict[str, str]]:
    memo: dict[int, Any] = {}
    if device is not None:
        for tensor in (*net.parameters(), *net.buffers()):
            bare = torch.empty_like(tensor, device=device)
            memo[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
        calls = tree_map_only(Tensor, lambda tensor: tensor.to(device), list(calls))
    trace = _Trace(copied(net, memo))
    for training in (False, True):
        for args, kwargs in calls:
            trace.run(args, kwargs, training=training)
    return trace.found()


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """One network, watched while it runs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._net = net
        self._names: dict[int, str] = {}
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            self._names.setdefault(id(tensor), name)
        self._numbers: dict[Place, Tensor] = {}
        self._next = 1
        self._ended = torch.ones(1, dtype=torch.bool)  # by number; 0 is nobody's
        self._alike: list[tuple[Tensor, Tensor]] = []
        self._stay: list[tuple[Tensor, str]] = []
        self._elsewhere: dict[str, str] = {}
        self._makers: dict[Place, tuple[str, int]] = {}
        self._made: set[Place] = set()
        self._scaled: set[str] = set()
        self._grouped: dict[str, tuple[int, Tensor | None]] = {}
        self._shared: list[tuple[str, int, list[int]]] = []
        self._carried = WeakTensorKeyDictionary()
        self._running: list[tuple[str, bool]] = []
        self._inside = 0
        for name, layer in net.named_modules():
            called = f"{type(layer).__name__} '{name}'" if name else f"the {type(layer).__name__}"
            known = _handler(layer)
            alone = bool(name) and not any(layer.children())
            layer.register_forward_pre_hook(partial(self._enter, (called, alone), known is not None))
            layer.register_forward_hook(partial(self._leave, name, known), with_kwargs=True)

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, training: bool) -> None:
        self._running, self._inside = [], 0
        self._net.train(training)
        with self, torch.enable_grad():  # without gradients transformers take a road of their own
            try:
                out = self._net(*args, **kwargs)
            except Exception as error:
                if training and "more than 1 value per channel" in str(error):
                    return  # one sample is too few for batch normalisation
                how = "in training does not run on what it is evaluated with" if training else "does not run on its example"
                raise ValueError(f"a {type(self._net).__name__} {how}: {str(error).partition(chr(10))[0]}") from error
        leaves = [leaf for leaf in tree_leaves(out) if leaf is not None]
        if not leaves or not all(isinstance(leaf, (Tensor, int, float, str)) for leaf in leaves):
            raise ValueError(f"a {type(self._net).__name__} returns a {type(out).__name__}, in which channels cannot be followed")
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                self._end(self._at(leaf), RETURNED)

    # -- layers ------------------------------------------------------------------------------------------------------

    def _enter(self, called: tuple[str, bool], known: bool, *_: object) -> None:
        self._running.append(called)
        self._inside += known

    def _leave(self, name: str, known: "_Handler | None", layer: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        if known is not None:
            self._inside -= 1
            known(self, name, layer, args[0] if args else kwargs["input"], out)
        self._running.pop()

    def linear(self, name: str, layer: nn.Linear, x: Tensor, out: Tensor) -> None:
        self._read(layer.weight, 1, self._vector(x, x.ndim - 1))
        self._make(name, layer, out, out.ndim - 1)

    def embedding(self, name: str, layer: "nn.Embedding | nn.EmbeddingBag", _: Tensor, out: Tensor) -> None:
        self._make(name, layer, out, out.ndim - 1)

    def convolution(self, name: str, layer: "nn.Conv1d | nn.Conv2d | nn.Conv3d", x: Tensor, out: Tensor) -> None:
        dim = x.ndim - layer.weight.ndim + 1
        if layer.groups == layer.in_channels == layer.out_channels > 1:
            self._scale(layer, x, dim, out)
            return
        vector = self._vector(x, dim)
        if layer.groups == 1:
            self._read(layer.weight, 1, vector)
        else:
            self._share(self._names[id(layer.weight)], layer.groups, vector)
        self._make(name, layer, out, dim)

    def transposed(self, name: str, layer: nn.ConvTranspose2d, x: Tensor, out: Tensor) -> None:
        if layer.groups > 1:
            self._end(self._at(x), self._here)
            return
        dim = x.ndim - layer.weight.ndim + 1
        self._read(layer.weight, 0, self._vector(x, dim))
        self._make(name, layer, out, dim)

    def normalisation(self, _: str, layer: nn.BatchNorm2d, x: Tensor, out: Tensor) -> None:
        self._scale(layer, x, 1, out)

    def slopes(self, name: str, layer: nn.PReLU, x: Tensor, out: Tensor) -> None:
        carried = self._at(x)
        if layer.num_parameters > 1:
            if carried is None or carried.shape[1] > 1:
                self._scale(layer, x, 1, out)
                return
            self._end(self._of(layer.weight, 0), self._here)  # a slope a place, say of a token or a row
        self.passed(name, layer, x, out)

    def passed(self, _: str, layer: nn.Module, x: Tensor, out: Tensor) -> None:
        carried = self._at(x)
        if carried is not None:
            self._carried[out] = carried

    def _make(self, name: str, layer: nn.Module, out: Tensor, dim: int) -> None:
        weight, weight_dim = layer.get_parameter("weight"), made_on(layer)
        place = (self._names[id(weight)], weight_dim)
        own = self._of(weight, weight_dim)
        self._made.add(place)
        for extra, tensor in layer.named_parameters(recurse=False):
            if extra != "weight":
                self._alike.append((own, self._of(tensor, 0)))
                self._made.add((self._names[id(tensor)], 0))
        if len(own) > 1:
            self._makers.setdefault(place, (name, int(getattr(layer, "groups", 1))))
            self._carried[out] = own.view([-1 if at == dim else 1 for at in range(out.ndim)])

    def _read(self, weight: Tensor, weight_dim: int, vector: Tensor | None) -> None:
        own = self._of(weight, weight_dim)
        if vector is None:
            self._end(own, self._here)
        else:
            self._meet(vector, own)

    def _share(self, tensor: str, blocks: int, vector: Tensor | None) -> None:
        """Take note of what a grouped convolution reads; what several calls of it read goes together."""
        if vector is not None and bool((vector == 0).any()):
            self._end(vector, self._here)
        if tensor in self._grouped:
            before = self._grouped[tensor][1]
            if vector is not None and before is not None:
                vector = self._meet(vector, before)
            else:
                self._end(before if vector is None else vector, self._here)
                vector = before
        self._grouped[tensor] = blocks, vector

    def _scale(self, layer: nn.Module, x: Tensor, dim: int, out: Tensor) -> None:
        vector = self._vector(x, dim)
        for _, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if tensor.ndim:
                self._scaled.add(self._names[id(tensor)])
                self._read(tensor, 0, vector)
        if vector is not None:
            self._carried[out] = vector.view([-1 if at == dim else 1 for at in range(out.ndim)])

    # -- numbers -----------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> str:
        return self._running[-1][0] if self._running else f"the {type(self._net).__name__}"

    @property
    def _leaf(self) -> bool:
        return bool(self._running) and self._running[-1][1]

    def _of(self, tensor: Tensor, dim: int) -> Tensor:
        place = (self._names[id(tensor)], dim)
        if place not in self._numbers:
            self._numbers[place] = torch.arange(self._next, self._next + tensor.shape[dim])
            self._next += tensor.shape[dim]
            self._ended = torch.cat([self._ended, torch.zeros(tensor.shape[dim], dtype=torch.bool)])
        return self._numbers[place]

    def _vector(self, x: Tensor, dim: int) -> Tensor | None:
        """Return the numbers along one dimension; what the others tell apart is one from here on."""
        carried = self._at(x)
        if carried is None:
            return None
        vector = carried.expand([*carried.shape[:dim], x.shape[dim], *carried.shape[dim + 1 :]])
        for at in range(x.ndim):
            if at != dim and vector.shape[at] > 1:
                self._meet(vector, vector.narrow(at, 0, 1))
                vector = vector.narrow(at, 0, 1)
        return vector.reshape(-1)

    def _at(self, tensor: Tensor) -> Tensor | None:
        """Return the numbers that a tensor carries, if any of them may go yet."""
        carried: Tensor | None = self._carried.get(tensor)  # type: ignore[no-untyped-call]
        if carried is None or bool(self._ended[carried].all()):
            return None
        return carried

    def _end(self, numbers: Tensor | None, why: str) -> None:
        if numbers is not None:
            self._stay.append((numbers.unique(), why))  # type: ignore[no-untyped-call]
            self._ended[numbers] = True

    def _meet(self, one: Tensor, other: Tensor) -> Tensor:
        """Two sets of numbers meet place by place; where there is only one, it stays."""
        one, other = torch.broadcast_tensors(one, other)  # type: ignore[no-untyped-call]
        differ = one != other
        first, second = one[differ], other[differ]
        both = (first > 0) & (second > 0)
        self._alike.append((first[both], second[both]))
        if not bool(both.all()):
            self._end(torch.maximum(first, second)[~both], self._here)
        return torch.maximum(one, other)

    # -- operations --------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self._inside:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            for tensor in tensors:
                if id(tensor) in self._names:
                    self._elsewhere.setdefault(self._names[id(tensor)], self._here)
            if any(tensor in self._carried for tensor in tensors):
                met = any(self._at(tensor) is not None for tensor in tensors)
                carried = self._through(func, args, kwargs, tensors, out) if met else []
                outs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
                for result, numbers in zip_longest(outs, carried):
                    if numbers is not None:
                        self._carried[result] = numbers
                    elif result in self._carried:
                        del self._carried[result]
        return out

    def _through(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], out: Any) -> list[Tensor]:
        """Return the numbers of what comes out, or end the way of what came in."""
        name = func.overloadpacket.__name__.removesuffix("_")
        first = self._at(args[0]) if args and isinstance(args[0], Tensor) else None
        if name.startswith("new_"):
            return []
        if torch.Tag.pointwise in func.tags or name in _SAME or name.endswith("_like"):
            shape = next(leaf.shape for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
            joint = self._pointwise(tensors, shape)
            return [] if joint is None else [joint]
        if name in _MOVES:
            if name == "cat":
                return [self._joined(args[0], args[1] if len(args) > 1 else 0)]
            if name == "stack":
                self._fit(args[0])
            moved = tree_map_only(Tensor, self._whole, (args, kwargs))
            if name in ("view", "_unsafe_view", "_reshape_alias"):
                return [_lean(moved[0][0].reshape(out.shape))]
            return [_lean(numbers) for numbers in tree_leaves(func(*moved[0], **moved[1]))]
        if name == "glu":
            one, other = self._whole(args[0]).chunk(2, args[1] if len(args) > 1 else -1)
            return [_lean(self._meet(one, other))]
        if first is not None:
            if name == "constant_pad_nd":
                padded = [at for at in range(args[0].ndim) if args[0].shape[at] != out.shape[at]]
                if all(first.shape[at] == 1 for at in padded):
                    return [first]
            if _POOLS.search(name) and all(size == 1 for size in first.shape[-int(re.findall(r"(\d)d", name)[0]) :]):
                return [first]
            if name in _REDUCES | _SOFTMAXES:
                dims = _dims(args, kwargs, first.ndim)
                if all(first.shape[dim] == 1 for dim in dims):
                    reduced = name in _REDUCES
                    return [first.amax(dims, keepdim=tree_leaves(out)[0].ndim == first.ndim) if reduced else first]
            if name in _PICKS:
                for tensor in tensors[1:]:  # what says which places
                    self._end(self._at(tensor), self._here)
                if (picked := _picked(first, name, args[1:])) is not None:
                    return [picked]
        for tensor in tensors:
            self._end(self._at(tensor), self._here if self._leaf else f"{name} in {self._here}")
        return []

    def _pointwise(self, tensors: list[Tensor], shape: torch.Size) -> Tensor | None:
        joint: Tensor | None = None
        for tensor in tensors:
            carried = self._at(tensor)
            if carried is not None:
                aligned = carried.reshape([1] * (len(shape) - carried.ndim) + list(carried.shape))
                joint = aligned if joint is None else self._meet(joint, aligned)
        assert joint is not None
        for tensor in tensors:
            if self._at(tensor) is None:
                sizes = [1] * (len(shape) - tensor.ndim) + list(tensor.shape)
                if any(size > 1 and many > 1 for size, many in zip(sizes, joint.shape, strict=True)):
                    self._end(joint, f"what is not cut in {self._here}")
                    return None
        return joint

    def _fit(self, tensors: Sequence[Tensor]) -> None:
        """Let what is stacked stay of one size: channels at the same place go together, and stay where nothing else goes."""
        first, *others = (self._whole(tensor) for tensor in tensors)
        for other in others:
            self._meet(first, other)

    def _joined(self, tensors: Sequence[Tensor], dim: int) -> Tensor:
        """Put numbers side by side, spread out along this dimension alone."""
        parts = [(_lean(self._whole(tensor)), tensor.shape[dim]) for tensor in tensors if tensor.ndim > 1 or len(tensor)]
        at = dim % parts[0][0].ndim
        thin = [(*part.shape[:at], 1, *part.shape[at + 1 :]) for part, _ in parts]
        common = list(torch.broadcast_shapes(*thin))  # type: ignore[no-untyped-call]
        return torch.cat([part.expand([*common[:at], size, *common[at + 1 :]]) for part, size in parts], at)

    def _whole(self, tensor: Tensor) -> Tensor:
        carried = self._at(tensor)
        return torch.zeros(1, dtype=torch.int64).expand(tensor.shape) if carried is None else carried.expand(tensor.shape)

    # -- what was found ----------------------------------------------------------------------------------------------

    def found(self) -> tuple[list[Group], dict[str, str]]:
        """Return the groups, and what layers' channels meet that keeps them."""
        for (tensor, _), numbers in self._numbers.items():
            if tensor in self._elsewhere:
                self._end(numbers, self._elsewhere[tensor])
        pairs = [torch.stack([one.flatten(), other.flatten()]) for one, other in self._alike]
        rows, columns = torch.cat(pairs, 1).numpy() if pairs else np.empty((2, 0), dtype=np.int64)
        graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(self._next, self._next))
        channel = connected_components(graph, directed=False)[1]
        self._shared = [
            (tensor, blocks, channel[vector.numpy()].tolist())
            for tensor, (blocks, vector) in self._grouped.items()
            if vector is not None
        ]
        why = np.full(int(channel.max()) + 1, -1)
        for at, (numbers, _) in reversed(list(enumerate(self._stay))):
            why[channel[numbers.numpy()]] = at
        stays = {
            layer: self._stay[int(why[channel[self._numbers[place].numpy()]].max())][1]
            for place, (layer, _) in self._makers.items()
            if bool((why[channel[self._numbers[place].numpy()]] >= 0).any())
        }
        owned: dict[int, dict[Place, list[int]]] = defaultdict(dict)
        for place, numbers in self._numbers.items():
            mine = channel[numbers.numpy()]
            for position in np.flatnonzero(why[mine] < 0).tolist():
                owned[int(mine[position])].setdefault(place, []).append(position)
        alike: dict[tuple[tuple[Place, int], ...], list[int]] = defaultdict(list)
        for one, places in owned.items():
            alike[tuple((place, len(positions)) for place, positions in places.items())].append(one)
        groups = []
        for kind, channels in alike.items():
            makers = [place for place, _ in kind if place in self._makers]
            if makers:
                channels.sort(key=partial(_first, owned, makers[0]))
                group = self._group(makers, [place for place, _ in kind], channels, owned)
                if isinstance(group, str):
                    stays |= {self._makers[place][0]: group for place in makers}
                elif group is not None:
                    groups.append(group)
        order = [layer for layer, _ in self._makers.values()]
        return _named_apart(sorted(groups, key=lambda group: order.index(group.name))), stays

    def _group(
        self, makers: list[Place], kind: list[Place], channels: list[int], owned: Mapping[int, Mapping[Place, list[int]]]
    ) -> Group | str | None:
        """Return the group, what keeps it from being one, or None where nothing reads it or none can go."""
        size, members = len(channels), []
        shared = [(tensor, blocks, vector) for tensor, blocks, vector in self._shared if set(vector) & set(channels)]
        blocks = lcm(*(self._makers[place][1] for place in makers), *(number for _, number, _ in shared))
        if size == 1:
            return "channels that go together or not at all"
        if size == blocks or not (shared or any(place not in self._made and place[0] not in self._scaled for place in kind)):
            return None
        for place in kind:
            member = _member(place, np.array([owned[one][place] for one in channels]), place in self._made)
            if member is None:
                return f"{place[0]}, where they lie in no order that a group can say"
            members.append(member)
        for tensor, number, vector in shared:
            inner = len(vector) // size
            if vector != np.repeat(channels, inner).tolist():
                return f"{tensor}, where they lie in no order that a group can say"
            members.append(Member(tensor, 1, inner=inner, blocks=number))
        split = [place for place in makers if self._makers[place][1] > 1]
        if blocks > 1 and (size % blocks or any(len(self._numbers[place]) != size for place in split)):
            return f"the {blocks} blocks of a grouped convolution, which they do not fill alike"
        return Group(self._makers[makers[0]][0], size, tuple(members), blocks)


_Handler: TypeAlias = "Callable[[_Trace, str, Any, Tensor, Tensor], None]"


def _handler(layer: nn.Module) -> "_Handler | None":
    """Return what follows channels through a layer, or None for one that is looked into."""
    kinds: Iterable[tuple[tuple[type[nn.Module], ...], _Handler]] = (
        ((nn.Linear,), _Trace.linear),
        ((nn.Embedding, nn.EmbeddingBag), _Trace.embedding),
        (_CONVOLUTIONS, _Trace.convolution),
        (_TRANSPOSED, _Trace.transposed),
        (_NORMALISATIONS, _Trace.normalisation),
        ((nn.PReLU,), _Trace.slopes),
        (_DROPOUTS, _Trace.passed),
    )
    for types, handler in kinds:
        for kind in types:
            own = isinstance(layer, kind) and all(
                getattr(type(layer), part) is getattr(kind, part) for part in ("forward", "_conv_forward") if hasattr(kind, part)
            )
            tensors = (layer._parameters.get(name, layer) for name in ("weight", "bias") if hasattr(layer, name))
            whole = all(isinstance(tensor, (nn.Parameter, type(None))) for tensor in tensors)
            if own and whole and not layer._forward_hooks and not layer._forward_pre_hooks:
                return handler
    return None


def _named_apart(groups: Sequence[Group]) -> list[Group]:
    """Return groups of which no two have one name: channels of one layer may go different ways."""
    names = Counter(group.name for group in groups)
    seen, found = Counter[str](), []
    for group in groups:
        seen[group.name] += 1
        found.append(replace(group, name=f"{group.name}/{seen[group.name]}") if names[group.name] > 1 else group)
    return found


def _first(owned: Mapping[int, Mapping[Place, list[int]]], place: Place, channel: int) -> int:
    return owned[channel][place][0]


def _member(place: Place, positions: "np.ndarray[Any, np.dtype[np.int64]]", produces: bool) -> Member | None:
    """Return the member whose channel ``c`` owns row ``c`` of ``positions``, or None where no formula says it."""
    size, count = positions.shape
    offset = int(positions.min())
    for inner in (n for n in range(count, 0, -1) if count % n == 0):
        member = Member(*place, produces=produces, outer=count // inner, inner=inner, offset=offset)
        c, o, i = np.arange(size)[:, None, None], np.arange(member.outer)[None, :, None], np.arange(inner)
        if np.array_equal(positions, (offset + (o * size + c) * inner + i).reshape(size, count)):
            return member
    return None


def _lean(numbers: Tensor) -> Tensor:
    """Keep one place of every dimension along which nothing changes."""
    for dim in range(numbers.ndim):
        if numbers.shape[dim] > 1:
            one = numbers.narrow(dim, 0, 1)
            if numbers.stride(dim) == 0 or bool((numbers == one).all()):
                numbers = one
    return numbers


def _picked(numbers: Tensor, name: str, args: Any) -> Tensor | None:
    """Return numbers once places are picked, whatever they are, or None where these tell channels apart."""
    if name == "index_select":
        return numbers if numbers.ndim and numbers.shape[args[0]] == 1 else None
    places: list[Tensor | None] = []
    for index in args[0]:
        begin, masks = len(places), index is not None and index.dtype in (torch.bool, torch.uint8)
        many = index.ndim if masks else 1
        if index is not None and (many == 0 or any(size > 1 for size in numbers.shape[begin : begin + many])):
            return None
        first = None if index is None else torch.zeros([1] * (1 if masks else index.ndim), dtype=torch.int64)
        places += many * [first]
    picked: Tensor = torch.ops.aten.index.Tensor(numbers, places)
    return picked


def _dims(args: Any, kwargs: Any, ndim: int) -> list[int]:
    given = kwargs.get("dim", args[1] if len(args) > 1 else None)
    several = [given] if isinstance(given, int) else given
    return [dim % ndim for dim in several] if isinstance(several, (list, tuple)) and several else list(range(ndim))

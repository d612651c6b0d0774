"""Prune a network in your own PyTorch training loop.

pruner = rlprune.Pruning(net, "EarlyCroP-S", sparsity=0.9, epochs=30, loss=lambda net: loss_of(net, batch), optimizer=optimizer)
while not pruner.done:
    ...train one epoch...
    pruner.epoch_end()
"""

import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import pairwise
from types import EllipsisType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._pytree import tree_leaves, tree_map_only

from rlprune.nets import accepted, auto
from rlprune.nets.channels import Call
from rlprune.pruners import magnitude, random
from rlprune.pruning import select, start, surgery
from rlprune.pruning.arguments import scope_of, seed_sequence, share, whole
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import Anatomy, Group, everything
from rlprune.pruning.masked import Masked, Masks, silence
from rlprune.pruning.plan import Prune, Rewind, Train
from rlprune.pruning.probe import Loss, Scoring, evaluating
from rlprune.pruning.pruner import CHANNELS, CONTROLS, WEIGHTS, CommonSettings, Pruner, Scope, pruners
from rlprune.registry import spelled
from rlprune.safely import plain
from rlprune.words import nearest, several


class Pruning:
    """A pruner on somebody's own network, advanced by ``epoch_end`` once an epoch.

    Weights of linear, convolution, embedding, recurrent and attention layers are pruned, and every other matrix of
    parameters, first and last layers included, each once however many layers share it. Channels are cut out of the
    groups that are given, or of those found by following ``loss``: a group is cut only if that computes what masking it
    does, tried out on a copy. Layers whose channels meet something else (a LayerNorm, attention) stay whole, and count.

    Args:
        net: the network; the optimizer may be trained already.
        pruner: a name from ``rlprune list pruners``.
        sparsity: share of the weights to remove, in (0, 1).
        epochs: epochs of the whole training.
        loss: the network to its mean loss on one fixed batch, a scalar; or several such functions. One that takes
            ``temperature`` is given the number to divide its logits by; for others it is 1.
        optimizer: its state follows every mask and cut. None, said aloud: there is none, or it is made anew after each cut, and
            after each rewind.
            May be left out only where weights are pruned before anything is trained. Masked weights stay zero in any case.
        samples: training samples that evaluating ``loss`` costs, to be counted.
        weights: names of the parameters to prune, where that is not all weights.
        groups: channel groups, or ``"auto"``: found by following channels through the network, or through ``loss`` where that
            calls parts of the network itself.
        copies: networks made as copies of this one, moving averages or targets, that follow its masks and cuts.
        scope: what is ranked against what; left out, what the pruner says, or else everything.
        seed: draws lots for pruners that need noise.
        **settings: settings of the pruner, say ``rounds=7``.

    Raises:
        UnknownName: no pruner of this name, a KeyError.
        ValueError: a network, loss or optimizer that cannot be pruned rightly, an argument out of range, channels to cut
            and none that can go, or fewer than the sparsity needs.
    """

    @spelled
    def __init__(
        self,
        net: nn.Module,
        pruner: str,
        sparsity: float,
        *,
        epochs: int,
        loss: Callable[[nn.Module], Tensor] | Sequence[Callable[[nn.Module], Tensor]],
        optimizer: torch.optim.Optimizer | EllipsisType | None = ...,
        samples: int = 0,
        weights: Sequence[str] | None = None,
        groups: Sequence[Group] | Literal["auto"] | None = None,
        copies: nn.Module | Sequence[nn.Module] = (),
        scope: Scope | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        method = pruners().load(pruner)
        sparsity, epochs = share(sparsity), whole("epochs", epochs, 1)
        samples, seed, scope = whole("samples", samples, 0), whole("seed", seed, 0), scope_of(scope)
        chosen = method.asked({**settings, "scope": scope}, Pruning)
        net = accepted.unwrapped(net)
        beside = _copies(net, [copies] if isinstance(copies, nn.Module) else copies, method, chosen)
        pruned = accepted.prunable(net, weights)
        if isinstance(optimizer, EllipsisType):
            _spoken_for(method, chosen)
            optimizer = None
        elif optimizer is None:
            _without(method, chosen)
        elif not isinstance(optimizer, torch.optim.Optimizer):
            raise ValueError(f"optimizer is a torch.optim.Optimizer, or None; got a {type(optimizer).__name__}")
        losses = list(loss) if isinstance(loss, Sequence) else [loss]
        if settings.get("temperature", 1.0) != 1.0 and not all(map(_is_tempered, losses)):
            raise ValueError(
                "temperature divides logits, which your loss does by itself: let it take one, loss(net, temperature)"
            )
        _unmasked(method, net)
        calls, unreached = _observed(net, losses, pruned)
        if unreached and method.cut == WEIGHTS and method.score not in (magnitude.score, random.weights):
            others = [name for name in pruned if name not in unreached]
            named = f"{', '.join(map(repr, others[:3]))}{', ...' if others[3:] else ''}"
            raise ValueError(
                f"loss does not reach {', '.join(unreached[:3])}{', ...' if unreached[3:] else ''}, which {method.name} would "
                f"remove first: name what is to be pruned: weights=[{named}]"
            )
        cut, stays = _groups(net, groups, calls, losses) if method.cut == CHANNELS else ([], {})
        if method.cut == CHANNELS:
            cut = _made_of(cut, pruned)
            _reachable(method, net, pruned, cut, sparsity, chosen.floor, stays)
            _unread(unreached, cut)
        anatomy = Anatomy({"network": pruned}, {"network": cut}, stays, heads=auto.heads(pruned, stays))
        self._subject = _Network(net, optimizer, anatomy, losses, samples, calls, beside)
        self._subject.check(cuts=method.cut == CHANNELS)
        self._asked = {"pruner": method.name, "sparsity": sparsity, "epochs": epochs, **chosen.model_dump(mode="json")}
        self._others = weakref.WeakSet[torch.optim.Optimizer]()
        self.follower = PlanFollower(self._subject, method, chosen, sparsity, epochs, "global", partial(seed_sequence, seed))
        self._stay_zero()
        _MASKED.setdefault(net, []).append(self._subject.masked.masks)
        self._advance(stacklevel=4)  # past `spelled`

    @property
    def done(self) -> bool:
        """Whether the plan is finished; plans that rewind take more epochs than ``epochs``."""
        return self._epoch is None

    @property
    def remaining(self) -> float:
        """The share of the learning-rate schedule that remains as this epoch starts: 1 at first, held while a plan waits.

        ``rate_held`` says for how many epochs instead.
        """
        return self._epoch.start if self._epoch is not None else 0.0

    def epoch_end(self) -> None:
        """Take note of an epoch's end; scores, prunes, shrinks and rewinds when the plan says so.

        Weights that came back, say with a checkpoint, are zero again.

        Raises:
            RuntimeError: the plan is finished already.
            ValueError: the optimizer does not hold the network's parameters any more, or another one trains what is to be cut.
        """
        if self.done:
            raise RuntimeError(f"the plan ended after {self.follower.progress.trained} epochs: stop when pruning.done")
        now, *later = self.follower.plan[self.follower.progress.step :]
        gates = isinstance(now, Train) and now.only == "gates"  # the plan itself has frozen all others
        cuts = any(isinstance(step, Prune) for step in (now, *later))
        self._subject.check(cuts=cuts, learns=not gates)
        others = list(self._others)
        self._others.clear()  # one that takes no further step is left behind by no cut
        if cuts:
            self._subject.check_others(others)
        self._subject.masked.zero()
        self.follower.epoch_done()
        self._advance()

    def state_dict(self) -> dict[str, Any]:
        """Return where the plan stands, with masks and what was cut; weights are the network's and the optimizer's own to save.

        It is tensors and plain values, which ``torch.load`` reads as it is.
        """
        return {"asked": self._asked, **self.follower.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another pruning was: cut and mask the network, and its copies, as that had.

        Load the weights of the network, and the optimizer, after this: the sizes are theirs.

        Raises:
            ValueError: no state, or that of another pruner, other settings or another network; nothing is changed.
        """
        asked = state.get("asked") if isinstance(state, Mapping) else None
        if not isinstance(asked, Mapping):
            raise ValueError(f"this is no state of a Pruning, which its state_dict() returns: {plain(str(state), 80)}")
        for name in self._asked.keys() & asked.keys():
            if self._asked[name] != asked[name]:
                raise ValueError(f"this state has {name} = {asked[name]!r}, and this pruning {name} = {self._asked[name]!r}")
        self._subject.check_state(state)
        self.follower.load_state(state)
        self._epoch = self.follower.next_epoch()

    def _advance(self, stacklevel: int = 3) -> None:
        """Take the plan's next steps up to training, and warn if the last of its prunings starved a layer."""
        before = self.follower.progress.rounds
        self._epoch = self.follower.next_epoch()
        progress, share = self.follower.progress, 1 - self._asked["sparsity"]
        if progress.rounds == before or any(isinstance(step, Prune) for step in self.follower.plan[progress.step :]):
            return
        starved = [
            f"{layer['kept']:.0f} of {layer['dense']:,.0f} weights of {name}"
            for name, layer in self.follower.layers().items()
            if layer["kept"] <= 1 and share * layer["dense"] >= _MANY
        ]
        if starved:
            warnings.warn(
                f"{self._asked['pruner']} leaves {several(starved)}, and others the more: parts whose losses differ in size, an "
                'actor and a critic say, need a Pruning each, or scope="layer"',
                stacklevel=stacklevel,
            )

    def _stay_zero(self) -> None:
        """Zero masked weights after every step that moved them although they have no gradient, for as long as the network is.

        Nobody has to hold on to the pruning; and an optimizer that takes the place of the one that was given is minded, too.
        """
        own, others = weakref.WeakSet(self._subject.optimizers), self._others
        alone, masks, net = not own, self._subject.masked.masks, weakref.ref(self._subject.module)

        def zero(optimizer: torch.optim.Optimizer, *_: object) -> None:
            ours = alone or optimizer in own
            if not ours:
                others.add(optimizer)
            if (module := net()) is not None and (ours or _held(optimizer, module, masks)):
                silence(module, masks)

        weakref.finalize(self._subject.module, register_optimizer_step_post_hook(zero).remove)

    def reached(self) -> dict[str, float]:
        """Return the sparsity reached so far, of weights and nodes, and the number of empty layers."""
        return self.follower.reached()

    def collapsed(self) -> list[str]:
        """Return in words where hardly anything passes any more: layers with at most one weight left, or with one channel."""
        return self.follower.collapsed()


_MANY = 30
"""Weights that a layer would keep if all lost alike, from which on it is told if it keeps one."""

_MASKED: weakref.WeakKeyDictionary[nn.Module, list[Masks]] = weakref.WeakKeyDictionary()
"""The networks that live, and what each pruning of them masks; nobody has to hold on to the prunings."""


class _Network:
    """Somebody's network as a subject of pruning."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        anatomy: Anatomy,
        losses: Sequence[Callable[[nn.Module], Tensor]],
        samples: int,
        calls: Sequence[Call],
        beside: Sequence[nn.Module],
    ) -> None:
        self.module, self.optimizer, self.anatomy = net, optimizer, anatomy
        self.optimizers = () if optimizer is None else tuple(_with_inner(optimizer))
        self.masked = Masked(net, self.optimizers, beside=beside)
        self._losses, self._samples, self._calls = losses, samples, calls

    def scoring(self, round: int) -> Scoring:
        losses = [_with_temperature(loss) for loss in self._losses]
        tempered = all(map(_is_tempered, self._losses))
        return Scoring(lambda: losses, self._samples, self._outputs, trial=losses[0], tempered=tempered)

    def learned(self, round: int) -> Scoring:
        return self.scoring(round)

    def resized(self) -> None:
        """Nothing else knows this network's sizes."""

    def redrawn(self) -> Mapping[str, Tensor]:
        return start.drawn_anew(surgery.copied(self.module), self.anatomy.all_weights())

    def check(self, *, cuts: bool, learns: bool = True) -> None:
        """Refuse an optimizer that does not train what is pruned, or whose state could not follow where channels are yet to go.

        Args:
            cuts: whether something is yet to be pruned.
            learns: whether all of it should learn now.

        Raises:
            ValueError: what it lacks; a weight that was frozen meanwhile; or that DistributedDataParallel, which waits for
                gradients of what is cut away, holds them.
        """
        members = self.anatomy.all_members()
        if cuts and members and accepted.replicated(self.module):
            raise ValueError(
                "DistributedDataParallel holds this network, and would wait for gradients of the channels that are cut: "
                "let go of it before epoch_end, and wrap the network anew after it"
            )
        parameters = dict(self.module.named_parameters(remove_duplicate=False))
        if cuts:
            surgery.bound(self.module, members, self.optimizers)
            for name in self.anatomy.all_weights() if learns else ():
                if name in parameters and not parameters[name].requires_grad:
                    raise ValueError(f"{name} is frozen, and is yet to be pruned: let it learn until then")
        if self.optimizer is None:
            return
        wanted = [name for name in dict.fromkeys((*self.anatomy.all_weights(), *members)) if name in parameters]
        held = _held(self.optimizer, self.module, wanted)
        for name in wanted:
            if parameters[name].requires_grad and name not in held:
                others = "; where several train it, each part with its own has a Pruning of its own" if held else ""
                raise ValueError(
                    f"the optimizer does not hold {name}: give the one that trains this network, made after its parameters "
                    f"were{others}"
                )
        kept = {id(p) for p in parameters.values()}
        shapes = {parameters[name].shape for name in members if name in parameters} if cuts else set()
        for optimizer in self.optimizers if members else ():
            for name, value in vars(optimizer).items():
                leaves = _tensors_of(value)
                if name not in ("param_groups", "state") and any(id(leaf) in kept or leaf.shape in shapes for leaf in leaves):
                    raise ValueError(
                        f"{type(optimizer).__name__} keeps parameters of its own (.{name}), which a cut would leave behind: "
                        "take another optimizer, or a pruner of weights"
                    )

    def check_others(self, others: Iterable[torch.optim.Optimizer]) -> None:
        """Refuse optimizers that nobody gave and that train channels which are yet to go.

        Raises:
            ValueError: the first; one that shares the groups of a given one is cut with it.
        """
        shared = {id(group) for optimizer in self.optimizers for group in optimizer.param_groups}
        for optimizer in others:
            held = _held(optimizer, self.module, self.anatomy.all_members())
            if held and not shared.issuperset(map(id, optimizer.param_groups)):
                raise ValueError(
                    f"a {type(optimizer).__name__} that this pruning does not know trains {held[0]}, and a cut would leave it "
                    "behind: make it before the pruning, and give it as optimizer"
                )

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state of another network.

        Raises:
            ValueError: the first channels or mask that are not this one's.
        """
        kept = {group.name: group.size for group in self.anatomy.all_groups()}
        given = {name: len(keep) for name, keep in state["kept"].items()}
        for name in sorted(kept.keys() | given.keys()):
            if kept.get(name) != given.get(name):
                raise ValueError(
                    f"this state is of another network, or of one that was cut already: '{name}' had {given.get(name, 'no')} "
                    f"channels and has {kept.get(name, 'none')}; make the network as it was before it was pruned"
                )
        for name, mask in state["masks"].items():
            shape = self.module.get_parameter(name).shape if name in self.anatomy.all_weights() else None
            if mask.shape != shape:
                has = "is none of the weights to prune" if shape is None else f"has {tuple(shape)}"
                raise ValueError(f"this state is of another network: {name} had {tuple(mask.shape)}, and {has}")

    def _outputs(self, net: nn.Module) -> list[Tensor]:
        weight = next(net.parameters())

        def ones(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                raise ValueError(f"SynFlow needs an input of ones; this network's is {str(tensor.dtype).removeprefix('torch.')}")
            return torch.ones_like(tensor, dtype=weight.dtype)

        if not self._calls:
            raise ValueError("SynFlow needs an input of ones, whose shape only a loss tells that calls the network itself")
        args, kwargs = tree_map_only(Tensor, ones, self._calls[0])
        return [leaf for leaf in tree_leaves(net(*args, **kwargs)) if isinstance(leaf, Tensor)]


def _with_inner(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """Return an optimizer and those that it holds to take its steps, as SAM and Lookahead do."""
    found = [optimizer]
    for one in found:
        for leaf in tree_leaves(list(vars(one).values())):
            if isinstance(leaf, torch.optim.Optimizer) and all(leaf is not other for other in found):
                found.append(leaf)
    return found


def _held(optimizer: torch.optim.Optimizer, net: nn.Module, names: Iterable[str]) -> list[str]:
    """Return which of these tensors of a network an optimizer moves."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = dict(net.named_parameters(remove_duplicate=False))
    return [name for name in names if name in own and id(own[name]) in held]


def _is_tempered(loss: Callable[..., Tensor]) -> bool:
    return "temperature" in inspect.signature(loss).parameters


def _with_temperature(loss: Callable[..., Tensor]) -> Loss:
    """Return a loss that passes its temperature on to one that has any."""
    tempered = _is_tempered(loss)

    def plain_loss(net: nn.Module, temperature: float = 1.0) -> Tensor:
        with _eager():
            return loss(net, temperature=temperature) if tempered else loss(net)

    return plain_loss


def _eager() -> AbstractContextManager[object]:
    """Compute what is compiled as it was written: that can be followed, and differentiated twice."""
    if "torch._dynamo" not in sys.modules:  # nothing is
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def _spoken_for(method: Pruner, settings: CommonSettings) -> None:
    """Refuse to go without a word about the optimizer where it holds what is pruned.

    Raises:
        ValueError: a pruner that cuts channels, or trains before it is done with pruning.
    """
    kinds = [type(step) for step in method.steps(settings)]
    trains = kinds.index(Train) if Train in kinds else len(kinds)
    if method.cut == CHANNELS or Prune in kinds[trains:]:
        raise ValueError(
            f"say optimizer=: the state of the one that trains must follow what {method.name} removes; None if none does"
        )


def _without(method: Pruner, settings: CommonSettings) -> None:
    """Refuse what cannot be done without an optimizer, and would be left undone.

    Raises:
        ValueError: a pruner that adds to the gradient of every step.
    """
    if any(isinstance(step, Train) and step.penalty for step in method.steps(settings)):
        raise ValueError(f"{method.name} pulls at the scales of normalisations before each step of the optimizer: say optimizer=")


def _unmasked(method: Pruner, net: nn.Module) -> None:
    """Refuse to cut channels where an earlier pruning still masks weights.

    Raises:
        ValueError: the first weight that is masked.
    """
    own = {id(parameter): name for name, parameter in net.named_parameters()}
    for module, masks in [(module, masks) for module, each in _MASKED.items() for masks in each]:
        for name, theirs in module.named_parameters():
            if method.cut == CHANNELS and id(theirs) in own and name in masks and not bool(masks[name].all()):
                raise ValueError(
                    f"{method.name} cuts channels; {own[id(theirs)]} is masked already by an earlier pruning: "
                    "take one that holds weights at zero, as SNIP does"
                )


def _copies(net: nn.Module, given: Sequence[nn.Module], method: Pruner, settings: CommonSettings) -> list[nn.Module]:
    """Return the networks inside copies of one.

    Raises:
        ValueError: what is no copy, or a pruner that puts other weights in the place of those that stay.
    """
    if not given:  # what is yet to be refused may have no sizes
        return []
    own = surgery.sizes(net).tensors
    held = {id(parameter): name for name, parameter in net.named_parameters()}
    found = []
    for copy in given:
        if not isinstance(copy, nn.Module):
            raise ValueError(f"copies are networks; got a {type(copy).__name__}")
        inner, kind = accepted.inside(copy), type(copy).__name__
        theirs = surgery.sizes(inner).tensors
        for name, shape in own.items():
            if theirs.get(name) != shape:
                has = f"of {tuple(theirs[name])}" if name in theirs else "missing"
                raise ValueError(f"a {kind} is no copy of this network: its {name} is {has}, not of {tuple(shape)}")
        for parameter in inner.parameters():
            if id(parameter) in held:
                raise ValueError(f"a {kind} is no copy of this network: {held[id(parameter)]} of both is the same")
        found.append(inner)
    changes = "rewinds" if any(isinstance(step, Rewind) for step in method.steps(settings)) else ""
    if settings.start in CONTROLS:
        changes = f"begins anew after a cut (start = '{settings.start}')"
    if found and changes:
        raise ValueError(f"{method.name} {changes}, which a copy cannot follow: make it when pruning is done")
    return found


# -- the loss --------------------------------------------------------------------------------------------------------


def _observed(net: nn.Module, losses: Sequence[Any], pruned: Sequence[str]) -> tuple[list[Call], list[str]]:
    """Evaluate the losses once; return with what they called the network, a few samples of each kind, and what none reaches.

    Raises:
        ValueError: a loss that is no finite scalar with a gradient by the network.
    """
    if not losses:
        raise ValueError("loss is a function of the network, or several; got none")
    calls: dict[str, Call] = {}

    def note(_: nn.Module, args: Any, kwargs: Any) -> None:
        kind = str(tree_map_only(Tensor, lambda tensor: (tensor.shape, tensor.dtype), (args, kwargs)))
        if len(calls) < 4 and not any(map(torch._C._functorch.is_functorch_wrapped_tensor, _tensors_of(args, kwargs))):
            calls.setdefault(kind, tree_map_only(Tensor, lambda tensor: tensor.detach(), (args, kwargs)))

    parameters = [net.get_parameter(name) for name in pruned]
    reached: set[str] = set()
    for number, loss in enumerate(losses):
        which = f"loss {number}" if len(losses) > 1 else "loss"
        if not callable(loss):
            raise ValueError(f"{which} is a function of the network that returns its loss; got a {type(loss).__name__}")
        place = parameters[0].device
        with evaluating(net), torch.enable_grad(), torch.random.fork_rng([place] if place.type == "cuda" else []):
            hook = net.register_forward_pre_hook(note, with_kwargs=True)
            try:
                value = _with_temperature(loss)(net, 1.0)
            finally:
                hook.remove()
            if not isinstance(value, Tensor) or value.numel() != 1:
                got = f"a tensor of {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise ValueError(f"{which} returns {got}; it must return one number, the mean loss, as a tensor")
            if not bool(value.isfinite()):
                raise ValueError(f"{which} is {value.item()}; it must be finite before anything can be scored")
            if not value.requires_grad:
                raise ValueError(
                    f"{which} has no gradient: it must be computed from the network that it is given, and not detached"
                )
            slopes = torch.autograd.grad(value, parameters, allow_unused=True)
        if all(slope is None for slope in slopes):
            raise ValueError(f"{which} does not depend on the network's weights: compute it from the network that it is given")
        reached |= {name for name, slope in zip(pruned, slopes, strict=True) if slope is not None}
    return [_few(net, call) for call in calls.values()], [name for name in pruned if name not in reached]


def _tensors_of(*values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _few(net: nn.Module, call: Call) -> Call:
    """Return two samples of a call, if the network takes them, or all."""
    tensors = [tensor for tensor in _tensors_of(call) if tensor.ndim]
    if tensors and len({len(tensor) for tensor in tensors}) == 1 and len(tensors[0]) > 2:
        few: Call = tree_map_only(Tensor, lambda tensor: tensor[:2].clone() if tensor.ndim else tensor, call)
        try:
            with evaluating(net), torch.no_grad():
                net(*few[0], **few[1])
        except Exception:  # it knows the size of its batch
            return call
        return few
    return call


# -- channels --------------------------------------------------------------------------------------------------------


def _groups(
    net: nn.Module, given: Sequence[Group] | str | None, calls: Sequence[Call], losses: Sequence[Callable[..., Tensor]]
) -> tuple[list[Group], dict[str, str]]:
    """Return the groups to cut, tried out on a copy, and what keeps other layers whole.

    Raises:
        ValueError: groups of unknown tensors, or whose cut does not compute what masking them does.
    """
    plain = [_with_temperature(loss) for loss in losses]
    if given is None or isinstance(given, str):
        if given not in (None, "auto"):
            raise ValueError(f"groups is 'auto' or a list of Group; got {given!r}{nearest(str(given), ['auto'])}")
        found, stays = _followed(net, calls, plain)
        _read(net, plain)
        good, bad = auto.agreed(net, found, plain)
        if calls and bad:  # the loss calls more than the network's own forward
            with suppress(ValueError):
                more, others = auto.reached(net, plain)
                further, worse = auto.agreed(net, more, plain)
                if len(further) > len(good):
                    return further, worse | others
        return good, bad | stays
    tensors = surgery.named_tensors(net)
    names = [group.name for group in given]
    for group in given:
        if names.count(group.name) > 1:
            raise ValueError(f"two groups are named '{group.name}'")
        for member in group.members:
            if member.tensor not in tensors:
                raise ValueError(
                    f"group '{group.name}': no tensor is named '{member.tensor}'{nearest(member.tensor, list(tensors))}"
                )
            if not 0 <= member.dim < tensors[member.tensor].ndim:
                shape = tuple(tensors[member.tensor].shape)
                raise ValueError(f"group '{group.name}': {member.tensor} of {shape} has no dimension {member.dim}")
    _apart(given)
    surgery.cuts(net, given, {name: torch.arange(len(keep)) < len(keep) for name, keep in everything(given).items()})
    _read(net, plain)
    bad = (auto.tried(net, given, calls)[1] if calls else {}) or auto.agreed(net, given, plain)[1]
    if bad:
        raise ValueError("; ".join(f"group '{name}' cannot be cut because of {what}" for name, what in list(bad.items())[:3]))
    return list(given), {}


def _followed(net: nn.Module, calls: Sequence[Call], losses: Sequence[Loss]) -> tuple[list[Group], dict[str, str]]:
    """Return what is found by following the network as the loss calls it, or the loss, where the network cannot be.

    Raises:
        ValueError: neither can.
    """
    if not calls:
        return auto.reached(net, losses)
    try:
        return auto.cuttable(net, calls)
    except ValueError as error:  # it returns, say, an object of its own, of which the loss knows how to read it
        with suppress(ValueError):
            return auto.reached(net, losses)
        raise error from None


def _read(net: nn.Module, losses: Sequence[Loss]) -> None:
    """Refuse a loss of another network than it is given.

    Raises:
        ValueError: the first.
    """
    trial, place = surgery.copied(net).eval().requires_grad_(True), next(net.parameters()).device
    with evaluating(net), torch.enable_grad(), torch.random.fork_rng([place] if place.type == "cuda" else []):
        for loss in losses:
            slopes = torch.autograd.grad(loss(trial, 1.0), list(trial.parameters()), allow_unused=True)
            if all(slope is None for slope in slopes):
                raise ValueError(
                    "loss does not read the network that it is given, and cuts are tried on copies: compute it from its argument"
                )


def _unread(unreached: Sequence[str], groups: Sequence[Group]) -> None:
    """Warn of weights that the loss does not reach: nothing tells whether they read what is cut, unless the network ran them."""
    seen = {member.tensor for group in groups for member in group.members}
    if unknown := [name for name in unreached if name not in seen]:
        warnings.warn(
            f"loss does not reach {', '.join(unknown[:3])}{', ...' if unknown[3:] else ''}: if they read channels that are cut, "
            "they no longer fit them",
            stacklevel=4,  # past `spelled`
        )


def _made_of(groups: Sequence[Group], pruned: Sequence[str]) -> list[Group]:
    """Return the groups whose channels a weight to prune makes.

    Raises:
        ValueError: there is none, or one whose channels nothing makes.
    """
    made = [group for group in groups if any(member.produces and member.tensor in pruned for member in group.members)]
    lost = [group.name for group in groups if not (made and any(member.produces for member in group.members))]
    if lost:
        raise ValueError(
            f"the channels of {', '.join(map(repr, lost[:3]))} are made by none of the weights to prune "
            f"({', '.join(pruned[:3])}{', ...' if pruned[3:] else ''}): name the weights that make them, weights=[...], "
            "and mark those in groups, Member(..., produces=True)"
        )
    return made


def _apart(groups: Sequence[Group]) -> None:
    """Refuse groups that hold the same positions of one tensor.

    Raises:
        ValueError: the first two.
    """
    spans = sorted(
        (member.tensor, member.dim, member.offset, member.offset + member.span(group.size), group.name)
        for group in groups
        for member in group.members
    )
    for (*place, _, stop, one), (*other, begin, _, two) in pairwise(spans):
        if place == other and begin < stop and one != two:
            raise ValueError(
                f"groups '{one}' and '{two}' both hold positions of dimension {place[1]} of {place[0]}: make them one"
            )


def _reachable(
    method: Pruner,
    net: nn.Module,
    pruned: Sequence[str],
    groups: Sequence[Group],
    sparsity: float,
    floor: int,
    stays: Mapping[str, str],
) -> None:
    """Refuse a sparsity that cutting every channel but the floor does not reach.

    Raises:
        ValueError: how far it goes, and what stays whole.
    """
    shapes = {name: tuple(net.get_parameter(name).shape) for name in pruned}
    least = {group.name: min(group.size, -(-floor // group.blocks) * group.blocks) for group in groups}
    dense, left = select.weights_left(shapes, groups, {}), select.weights_left(shapes, groups, least)
    whole = auto.told(stays)
    if not groups:
        raise ValueError(
            f"{method.name} cuts channels, and none of this {type(net).__name__} can go{f': {whole}' if whole else ''}; "
            "take a pruner of weights (-U), or say which belong together: groups=[Group(...)]"
        )
    if left > round(dense * (1 - sparsity)) and 1 - left / dense < sparsity - 0.01:
        most = f"{method.name} reaches a sparsity of {1 - left / dense:.3f} here at most, not {sparsity}"
        raise ValueError(f"{most}; {whole}" if whole else most)

"""Masks on a network in training: pruned weights are zero, stay zero, and take no part in clipping or moments."""

import copy
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Masks: TypeAlias = dict[str, Tensor]
"""Parameter name to a boolean tensor of its shape, True where a weight is kept."""


Held: TypeAlias = tuple[str, Tensor, Tensor, Tensor]
"""A weight's name, it or something that goes with it, the values of that, and where these are about to go."""

_SMALL = 2**20
"""Weights up to which a gradient is masked by numbers of its own kind: several times faster than by truth values, and larger."""

_WATCHED = 100
"""Steps after the first mask in which an optimizer may show that it moves weights without a gradient; after them each so many
steps are looked at, for somebody else may have written to weights: a vector of all, say, or a layer that is drawn anew."""


def _where(kept: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient where weights are kept, in its own precision, which may be another by now."""
    return (gradient * kept).to(gradient.dtype)


def silence(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Zero masked weights alone, after a step that moved them although they have no gradient."""
    for weight, mask in present(module, masks):
        weight.data.masked_fill_(~mask, 0)  # what an optimizer has made of 0/0 is zero, too


def present(module: nn.Module, masks: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return weights with their masks, but for those that somebody else has cut, replaced or parametrized since."""
    weights = dict(module.named_parameters(remove_duplicate=False))
    pairs = [(weights[name], mask) for name, mask in masks.items() if name in weights]
    return [(weight, mask.to(weight.device)) for weight, mask in pairs if weight.shape == mask.shape]


class Masked:
    """Keeps the masks of a module that optimizers train; the network in training owns it, and whoever asks for masks asks it.

    Args:
        module: the module that holds every network.
        optimizers: whose state is masked with the weights.
        copies: a tensor's name to the name of the one that it is a copy of, and whose mask it follows.
        starts: what the optimizers' averages begin with, by their names, where that is not zero.
        beside: other modules with the same tensors, say a moving average of this one, that follow masks and cuts.

    A gradient is masked as it arrives, before anyone can clip or accumulate it; weights and optimizer state are zeroed when a
    mask is set, and state that fits no weight begins anew. With zero weight, gradient and moments, RMSprop, Adam and SGD leave
    a weight at zero; after an optimizer that moves one nevertheless, by noise or by turning whole matrices, say, it is zeroed
    after every step.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        copies: Mapping[str, str] | None = None,
        starts: Mapping[str, float] | None = None,
        beside: Sequence[nn.Module] = (),
    ) -> None:
        self.masks: Masks = {}
        self.beside = beside
        self._module = module
        self._optimizers = optimizers
        self.copies, self._starts = copies or {}, starts or {}
        self._hooks: dict[str, RemovableHandle] = {}
        self._watching = self._restless = False
        self._steps = 0

    def __deepcopy__(self, memo: dict[int, object]) -> "Masked":
        if self._hooks:
            raise TypeError(
                "what holds weights at zero is bound to this network and this optimizer, and a copy would not hold them: copy "
                "these two, begin another pruning of the copies, and give it this one's state_dict()"
            )
        memo[id(self)] = found = Masked.__new__(Masked)
        found.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return found

    def set(self, masks: Mapping[str, Tensor], *, moved: bool = False) -> None:
        """Put masks on weights, or smaller ones in their place, and zero what they remove.

        Args:
            masks: True where a weight is kept.
            moved: let them bring weights back that are pruned now, as they are; the optimizer's averages of these begin anew.

        Raises:
            ValueError: a mask of another shape than its weight, or one that brings a pruned weight back.
        """
        for name, mask in masks.items():
            weight = self._module.get_parameter(name)
            if mask.dtype != torch.bool or mask.shape != weight.shape:
                raise ValueError(f"{name} wants a boolean mask of {tuple(weight.shape)}, got {mask.dtype} {tuple(mask.shape)}")
            if not moved and name in self.masks and bool((mask & ~self.masks[name]).any()):
                raise ValueError(f"the new mask of {name} brings pruned weights back: masks only shrink")
        for name, mask in masks.items():
            if moved and name in self.masks:
                self._begin(name, mask & ~self.masks[name])
            self.masks[name] = mask.to(self._module.get_parameter(name).device)
            if handle := self._hooks.pop(name, None):
                handle.remove()
            if not bool(mask.all()):
                weight = self._module.get_parameter(name)
                quick = self.masks[name].to(weight.dtype) if mask.numel() <= _SMALL else self.masks[name]
                self._hooks[name] = weight.register_hook(partial(_where, quick))  # type: ignore[no-untyped-call]
        self.zero()
        self._forget()
        self._watch()

    def held(self, masks: Mapping[str, Tensor]) -> list[Held]:
        """Return what weights are, and the optimizer's averages of them, that these masks are about to remove."""
        found: list[Held] = []
        for name, mask in masks.items():
            weight = self._module.get_parameter(name)
            gone = ~mask & self.masks.get(name, torch.ones_like(mask))
            if bool(gone.any()):
                beside = [tensor for _, tensor in self._averages(weight)]
                found += [(name, it, it.detach().clone(), gone) for it in (weight, *self.followers(name), *beside)]
        return found

    def put_back(self, held: Sequence[Held]) -> None:
        """Give what has come back of weights that were removed the values that it had, and its averages theirs."""
        for name, tensor, values, gone in held:
            back = (gone & self.masks[name]).to(tensor.device)
            tensor.data[back] = values[back]

    def _watch(self) -> None:
        """Look at weights at zero after optimizers' next steps, then now and then, or for good once any has moved."""
        if self._watching or not self._hooks:
            return
        self._watching, self._steps, me = True, _WATCHED * len(self._optimizers), weakref.ref(self)

        def stepped(*_: object) -> None:
            if (masked := me()) is not None:
                masked._look()

        for optimizer in self._optimizers:
            optimizer.register_step_post_hook(stepped)

    def _look(self) -> None:
        if not self._restless and (self._steps > 0 or self._steps % _WATCHED == 0):
            self._restless = any(bool((weight.data.bool() & ~mask).any()) for weight, mask in present(self._module, self.masks))
            if self._restless:
                self.zero()  # copies, too
        self._steps -= 1
        if self._restless:
            silence(self._module, self.masks)

    def followers(self, name: str) -> list[Tensor]:
        """Return the tensors that follow a weight: copies of it, and its namesakes in the modules beside."""
        copies = [self._module.get_parameter(copy) for copy, source in self.copies.items() if source == name]
        return [*copies, *(module.get_parameter(name) for module in self.beside)]

    def zero(self) -> None:
        """Zero weights, gradients and optimizer state where masks say so, after something else wrote to them."""
        copied = {copy: self.masks[name] for copy, name in self.copies.items() if name in self.masks}
        for name, mask in {**self.masks, **copied}.items():
            weight, gone = self._module.get_parameter(name), ~mask
            weight.data.masked_fill_(gone, 0)
            if weight.grad is not None:
                weight.grad.masked_fill_(gone, 0)
            for _, average in self._averages(weight):
                average.masked_fill_(gone.to(average.device), 0)
        for module in self.beside:
            for name, mask in self.masks.items():
                weight = module.get_parameter(name)
                weight.data.masked_fill_(~mask.to(weight.device), 0)

    def _begin(self, name: str, places: Tensor) -> None:
        """Let the optimizers' averages of some weights begin anew."""
        for key, average in self._averages(self._module.get_parameter(name)):
            average[places.to(average.device)] = self._starts.get(key, 0.0)

    def _forget(self) -> None:
        """Let optimizers begin anew that keep all their parameters in one vector, as LBFGS does: no mask of a weight fits it."""
        for optimizer in self._optimizers:
            total = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
            for parameter, state in optimizer.state.items():
                kept = [value.shape for value in state.values() if isinstance(value, Tensor)]
                if parameter.shape != (total,) and (total,) in kept:
                    state.clear()

    def _averages(self, weight: Tensor) -> list[tuple[str, Tensor]]:
        """Return what optimizers keep of each entry of a weight, by its name."""
        states = [(key, value) for optimizer in self._optimizers for key, value in optimizer.state.get(weight, {}).items()]
        return [(key, value) for key, value in states if isinstance(value, Tensor) and value.shape == weight.shape]

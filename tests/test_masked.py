import copy
import gc
from functools import partial

import pytest
import torch
from subjects import Tiny, bits

from rlprune.pruning.masked import Masked

OPTIMIZERS = [torch.optim.RMSprop, torch.optim.Adam, torch.optim.SGD, lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1)]


def half(subject, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.rand(subject.module.get_parameter(n).shape, generator=generator) < 0.5 for n in subject.anatomy.all_weights()
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_and_their_moments_stay_zero(optimizer):
    subject = Tiny(optimizer=optimizer)
    subject.train_epoch()
    masked = Masked(subject.module, subject.optimizers)
    masks = half(subject)
    masked.set(masks)
    subject.train_epoch()
    for name, mask in masks.items():
        weight = subject.module.get_parameter(name)
        assert not weight[~mask].any()
        assert weight[mask].any()
        assert not weight.grad[~mask].any()
        for value in subject.optimizer.state[weight].values():
            if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                assert not value[~mask].any()


def test_weights_that_an_optimizer_makes_nothing_of_are_zero_again():
    subject = Tiny(optimizer=lambda p, lr: torch.optim.Adam(p, lr=lr, eps=0))
    masked = Masked(subject.module, subject.optimizers)
    masks = half(subject)
    masked.set(masks)
    subject.train_epoch()
    for name, mask in masks.items():
        assert not subject.module.get_parameter(name)[~mask].any()


def test_a_copy_that_would_not_hold_weights_at_zero_is_refused():
    subject = Tiny()
    masked = Masked(subject.module, subject.optimizers)
    assert not copy.deepcopy(masked).masks
    masked.set(half(subject))
    with pytest.raises(TypeError, match="a copy would not hold them: copy these two, begin another pruning"):
        copy.deepcopy(masked)


class Langevin(torch.optim.SGD):
    """SGD with noise; every so many steps."""

    def __init__(self, parameters, lr, every=1):
        super().__init__(parameters, lr=lr)
        self.every, self.taken = every, 0

    def step(self, closure=None):
        super().step(closure)
        self.taken += 1
        for weight in self.param_groups[0]["params"] if self.taken % self.every == 0 else ():
            weight.data.add_(torch.randn_like(weight), alpha=0.01)


class Whole(torch.optim.SGD):
    """Steps along the orthogonal part of each matrix's gradient, as Muon does."""

    def step(self, closure=None):
        for weight in self.param_groups[0]["params"]:
            if weight.ndim == 2:
                left, _, right = torch.linalg.svd(weight.grad, full_matrices=False)
                weight.grad = left @ right
        super().step(closure)


@pytest.mark.parametrize("optimizer", [Langevin, Whole, partial(Langevin, every=10)])
def test_pruned_weights_stay_zero_under_an_optimizer_that_moves_what_has_no_gradient(optimizer):
    subject = Tiny(optimizer=optimizer)
    masked = Masked(subject.module, subject.optimizers)
    masks = half(subject)
    masked.set(masks)
    for _ in range(12):
        subject.train_epoch()
        for name, mask in masks.items():
            assert not subject.module.get_parameter(name)[~mask].any()


def test_an_optimizer_outlives_masks_that_were_let_go():
    subject = Tiny()
    Masked(subject.module, subject.optimizers).set(half(subject))
    gc.collect()
    subject.train_epoch()


def test_pruned_weights_take_no_part_in_clipping():
    subject = Tiny()
    masked = Masked(subject.module, subject.optimizers)
    masked.set(half(subject))
    subject.loss(subject.module).backward()
    norm = torch.nn.utils.clip_grad_norm_(subject.module.parameters(), 1e9)
    kept = [p.grad[masked.masks[n]] if n in masked.masks else p.grad for n, p in subject.module.named_parameters()]
    assert norm == pytest.approx(float(torch.cat([g.flatten() for g in kept]).norm()))


def test_masks_of_ones_change_no_bit_of_training():
    plain, masked = Tiny(), Tiny()
    ones = {n: torch.ones_like(masked.module.get_parameter(n), dtype=torch.bool) for n in masked.anatomy.all_weights()}
    Masked(masked.module, masked.optimizers).set(ones)
    plain.train_epoch()
    masked.train_epoch()
    assert bits(plain.module, plain.optimizer) == bits(masked.module, masked.optimizer)


def test_a_mask_only_shrinks():
    subject = Tiny()
    masked = Masked(subject.module, subject.optimizers)
    masked.set(half(subject))
    with pytest.raises(ValueError, match="only shrink"):
        masked.set(half(subject, seed=2))


def test_a_mask_of_another_shape_is_refused():
    subject = Tiny()
    with pytest.raises(ValueError, match=r"actor\.0\.weight wants a boolean mask of \(16, 3\)"):
        Masked(subject.module, subject.optimizers).set({"actor.0.weight": torch.ones(3, dtype=torch.bool)})

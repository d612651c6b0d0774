"""A policy as a C99 header: constants, one function that computes outputs, one that acts; nothing else is needed."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn

import rlprune
from rlprune.export.player import Bounded, Largest, Normalise, Numbers, OneHot, Player, Switches

Array: TypeAlias = np.ndarray[Any, Any]

_ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.ELU, nn.LeakyReLU, nn.Identity)
_KNOWN = (Normalise, Numbers, OneHot, nn.Flatten, nn.Linear, *_ACTIVATIONS)
_WIDTH = 120


def refused(player: Player) -> str:
    """Return why a policy cannot be written in C, or an empty string."""
    for layer in player.layers:
        if type(layer) not in _KNOWN:
            names = ", ".join(kind.__name__ for kind in _ACTIVATIONS)
            return f"a {type(layer).__name__} cannot be written in C: it is for MLPs of {names}; .onnx takes it"
        if isinstance(layer, nn.Linear) and not layer.weight.numel():
            return "a layer without units cannot be written in C"
    return ""


class Header:
    """The header of a policy whose functions begin with ``name``.

    Weights of a layer are written dense, by columns, which compilers turn into wide instructions, or, where that is smaller,
    as CSR.
    """

    def __init__(self, player: Player, name: str) -> None:
        self._player = player
        self.name = re.sub(r"\W", "_", f"_{name}" if name[:1].isdigit() else name, flags=re.ASCII)
        self._linear = [layer for layer in player.layers if isinstance(layer, nn.Linear)]
        self._arrays: list[str] = []
        self._helpers: list[str] = []
        self.constants = 0
        """Bytes that its numbers take in a program."""
        decide = player.decide
        assert isinstance(decide, Largest | Switches | Bounded)
        self.observation, self.output = math.prod(player.about["shape"]), self._linear[-1].out_features
        self.action = len(decide.counts) if isinstance(decide, Largest) else math.prod(decide.shape)
        self.kind = "float" if isinstance(decide, Bounded) else "int"
        self.returns = isinstance(decide, Largest) and not decide.several
        """Whether the action is one number, which is returned."""
        code = [self._forward(), "", self._act()]
        helpers = [text.replace("NAME", self.name) for text in self._helpers]
        self.text = "\n".join([*self._top(), *self._arrays, "", *helpers, *code, "", "#endif", ""])

    def _top(self) -> list[str]:
        name, upper, by = self.name, self.name.upper(), self._player.about["algorithm"]
        decide = self._player.decide
        scores = "means of actions" if isinstance(decide, Bounded) else "logits" if isinstance(decide, Switches) else "scores"
        return [
            f"/* {name}: the policy of a {by} agent of Stable-Baselines3, written by rlprune {rlprune.__version__}.",
            f" * {name}_forward computes {scores} from an observation just as the environment shows it.",
            f" * {name}_act {'returns' if self.returns else 'sets'} the action of predict(..., deterministic=True).",
            f" * C99 or C++; {self.constants:,} bytes of constants, {4 * sum(self._buffers()):,} of stack, no heap. */",
            f"#ifndef {upper}_H",
            f"#define {upper}_H",
            "",
            "#include <math.h>",
            "#include <stdint.h>",
            "",
            f"#define {upper}_OBSERVATION {self.observation}",
            f"#define {upper}_OUTPUT {self.output}",
            f"#define {upper}_ACTION {self.action}",
            "",
        ]

    def _buffers(self) -> tuple[int, int]:
        """Return how many floats two buffers have, between which layers work to and fro."""
        sizes = [self._linear[0].in_features, *(layer.out_features for layer in self._linear)]
        return max(sizes[::2]), max(sizes[1::2])

    def _forward(self) -> str:
        here, there = self._buffers()
        code, at, width, seen = [], 0, self.observation, False  # seen: whether the observation is in a buffer by now
        names = ("here", "there")

        def each(value: str, where: str = "") -> None:
            code.append(f"for (int i = 0; i < {width}; i++) {where or names[at]}[i] = {value};")

        for number, layer in enumerate(self._player.layers):
            x = "observation[i]" if not seen else f"{names[at]}[i]"
            match layer:
                case Normalise():
                    parts = [self._floats(f"{part}{number}", getattr(layer, part)) for part in ("mean", "rest", "deviation")]
                    each("({} - {}[i] - {}[i]) / {}[i]".format(x, *parts))
                    most, seen = _float(layer.most), True
                    each(f"fminf(fmaxf({names[at]}[i], -{most}), {most})")
                case Numbers() if layer.divisor != 1 or not seen:
                    each(x if layer.divisor == 1 else f"{x} / {_float(layer.divisor)}")
                    seen = True
                case OneHot():
                    offset = 0
                    for place, count in enumerate(layer.counts):
                        to = f"{names[at]}[{offset} + i]" if offset else f"{names[at]}[i]"
                        code.append(f"for (int i = 0; i < {count}; i++) {to} = (int)observation[{place}] == i ? 1.0f : 0.0f;")
                        offset += count
                    width, seen = offset, True
                case nn.Linear():
                    code.append(f"{self._layer(number, layer)}, {names[at]}, {names[1 - at]});")
                    at, width = 1 - at, layer.out_features
                case nn.ReLU():
                    each(f"{x} > 0.0f ? {x} : 0.0f")
                case nn.Tanh():
                    each(f"tanhf({x})")
                case nn.ELU():
                    each(f"{x} > 0.0f ? {x} : {_float(layer.alpha)} * expm1f({x})")
                case nn.LeakyReLU():
                    each(f"{x} > 0.0f ? {x} : {_float(layer.negative_slope)} * {x}")
        each(f"{names[at]}[i]", "output")
        lines = [f"float here[{here}], there[{there}];", *code]
        return _function(f"void {self.name}_forward(const float *observation, float *output)", lines)

    def _layer(self, number: int, layer: nn.Linear) -> str:
        """Write the constants of a layer; return its call, but for its input and output."""
        weight = layer.weight.detach().numpy()
        outputs, inputs = weight.shape
        rows, columns = np.nonzero(weight)
        column, end = _smallest(inputs - 1), _smallest(len(rows))
        bias = self._floats(f"bias{number}", np.zeros(outputs) if layer.bias is None else layer.bias)
        if len(rows) * (4 + column.itemsize) + outputs * end.itemsize < weight.size * 4:
            if not len(rows):
                rows, columns = np.array([0]), np.array([0])  # no array is empty in C
            ends = np.cumsum(np.bincount(rows, minlength=outputs))
            bits = (str(8 * column.itemsize), str(8 * end.itemsize))
            kind, text = f"sparse_{'_'.join(bits)}", _SPARSE.replace("COLUMN", bits[0]).replace("END", bits[1])
            parts = [
                self._floats(f"weight{number}", weight[rows, columns]),
                self._counts(f"column{number}", columns, column),
                self._counts(f"end{number}", ends, end),
            ]
            sizes = f"{outputs}"
        else:
            kind, text, parts, sizes = "dense", _DENSE, [self._floats(f"weight{number}", weight.T)], f"{inputs}, {outputs}"
        if text not in self._helpers:
            self._helpers.append(text)
        return f"{self.name}_{kind}({', '.join(parts)}, {bias}, {sizes}"

    def _act(self) -> str:
        name, decide = self.name, self._player.decide
        lines = [f"float output[{self.output}];", f"{name}_forward(observation, output);"]
        match decide:
            case Largest():
                lines.append("int most;")
                offset = 0
                for place, count in enumerate(decide.counts):
                    lines.append(f"most = {offset};" if offset else "most = 0;")
                    lines.append(f"for (int i = {offset + 1}; i < {offset + count}; i++) if (output[i] > output[most]) most = i;")
                    found = f"most - {offset}" if offset else "most"
                    lines.append(f"return {found};" if self.returns else f"action[{place}] = {found};")
                    offset += count
            case Switches():
                lines.append(f"for (int i = 0; i < {self.action}; i++) action[i] = output[i] > 0.0f;")
            case Bounded():
                low, high = (self._floats(bound, getattr(decide, bound)) for bound in ("low", "high"))
                value = (
                    f"{low}[i] + 0.5f * (output[i] + 1.0f) * ({high}[i] - {low}[i])"
                    if decide.squashed
                    else f"fmaxf(fminf(output[i], {high}[i]), {low}[i])"
                )
                lines.append(f"for (int i = 0; i < {self.action}; i++) action[i] = {value};")
        if self.returns:
            return _function(f"int {name}_act(const float *observation)", lines)
        return _function(f"void {name}_act(const float *observation, {self.kind} *action)", lines)

    def _floats(self, name: str, values: "Tensor | Array") -> str:
        found = np.asarray(values.detach() if isinstance(values, Tensor) else values, np.float32)
        return self._array(name, "float", 4, map(_float, found.ravel().tolist()), found.size)

    def _counts(self, name: str, values: Array, kind: "np.dtype[Any]") -> str:
        return self._array(name, f"{kind.name}_t", kind.itemsize, map(str, values.tolist()), len(values))

    def _array(self, name: str, kind: str, size: int, values: Iterable[str], count: int) -> str:
        named = f"{self.name}_{name}"
        self._arrays += [f"static const {kind} {named}[{count}] = {{", *_wrapped(values), "};"]
        self.constants += size * count
        return named


_DENSE = """\
static inline void NAME_dense(const float *weight, const float *bias, int inputs, int outputs, const float *x, float *y) {
    for (int j = 0; j < outputs; j++) y[j] = bias[j];
    for (int i = 0; i < inputs; i++, weight += outputs) {
        for (int j = 0; j < outputs; j++) y[j] += weight[j] * x[i];
    }
}
"""
_SPARSE = """\
static inline void NAME_sparse_COLUMN_END(const float *weight, const uintCOLUMN_t *column, const uintEND_t *end,
                                          const float *bias, int outputs, const float *x, float *y) {
    for (int i = 0, k = 0; i < outputs; i++) {
        float sum = bias[i];
        for (; k < (int)end[i]; k++) sum += weight[k] * x[column[k]];
        y[i] = sum;
    }
}
"""


def _function(signature: str, lines: Sequence[str]) -> str:
    return "\n".join([f"static inline {signature} {{", *(f"    {line}" for line in lines), "}"])


def _smallest(largest: int) -> "np.dtype[Any]":
    return np.min_scalar_type(largest)


def _float(value: float) -> str:
    """Return a float32 in the fewest digits that mean it."""
    if math.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    short = np.format_float_scientific if 0 < abs(value) < 1e-3 or abs(value) > 1e6 else np.format_float_positional
    return f"{short(np.float32(value), trim='0')}f"


def _wrapped(values: Iterable[str]) -> list[str]:
    lines, line = [], "   "
    for value in values:
        if len(line) + len(value) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return [*lines, line]

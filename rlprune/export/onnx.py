"""Networks as ONNX: float32, and int8 by onnxruntime's own quantisation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

Array: TypeAlias = np.ndarray[Any, Any]
Run: TypeAlias = Callable[[Array], list[Array]]

_WEIGHTY = ["MatMul", "Gemm", "Conv"]  # what is worth int8


def needed() -> None:
    """Raise a ValueError where a package is missing that writing ONNX takes."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"writing .onnx needs {error.name}: python3 -m pip install 'rlprune[onnx]'") from None


def write(
    network: nn.Module, example: Tensor, to: Path, inputs: list[str] | None = None, outputs: list[str] | None = None
) -> None:
    """Write a network of one input, whose first dimension is free, without where on this machine its code is."""
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(
        network, (example,), dynamo=True, dynamic_shapes=shapes, input_names=inputs, output_names=outputs, verbose=False
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(str(to), external_data=False)


def session(file: Path) -> Run:
    """Return a function from the input of a network to all its outputs, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opened = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return lambda values: list(opened.run(None, {name: values}))


def quantised(source: Path, to: Path, shown: Array, worse: Callable[[Run], Any]) -> str:
    """Write an int8 network of a float32 one: calibrated on what it was shown, or with ranges taken while it runs.

    Args:
        worse: how far one is from the float32 network; the lower one is written.

    Returns:
        Which of the two it is: ``static`` or ``dynamic``.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_dynamic,
        quantize_static,
    )

    class Shown(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[Array] = iter(np.array_split(shown, max(1, len(shown) // 100)))

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"observation": batch}

    with TemporaryDirectory() as folder:
        ready, static, dynamic = (Path(folder, f"{name}.onnx") for name in ("ready", "static", "dynamic"))
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        options: dict[str, Any] = {"op_types_to_quantize": _WEIGHTY, "weight_type": QuantType.QInt8}
        quantize_static(ready, static, Shown(), quant_format=QuantFormat.QDQ, per_channel=True, **options)
        quantize_dynamic(ready, dynamic, **options)
        best = min((static, dynamic), key=lambda file: worse(session(file)))
        to.write_bytes(best.read_bytes())
        return best.stem

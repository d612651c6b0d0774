"""Energy and CO2 of what runs inside a ``with`` block, by CodeCarbon, offline."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

JOULES_PER_KWH = 3.6e6

_METHODS = {
    "intel_rapl": "RAPL, all processes of the machine",
    "cpu_load": "estimate from CPU seconds and the processor's rated power",
}


class Energy:
    """Measures this process and its children. Never raises: what could not be measured is absent from ``values``.

    ``values`` holds, after the block, ``energy_cpu_joules``, ``energy_gpu_joules`` (of the whole board; absent for a
    cell that used none), ``energy_ram_joules`` (rated watts of the machine's whole memory × wall seconds, so cells side
    by side count it again each) and ``co2_grams``, which is ``joules`` × the country's grams a kWh: RAM is left out.
    Where CodeCarbon may read the processor's own meter (RAPL), CPU energy is all the machine's, its other processes' too.

    Args:
        country: ISO 3166 code of three letters; None leaves CO2 out.
        device: ``cpu``, ``cuda`` or ``cuda:1``: the GPU to measure, if any.
    """

    def __init__(self, country: str | None, device: str = "cpu") -> None:
        self.values: dict[str, float] = {}
        self.method = "not measured"
        self._country, self._device = country, device
        self._boards = _boards(device)
        self._tracker: Any = None

    def __enter__(self) -> "Energy":
        with suppress(Exception):  # somebody else's library, on any machine: a cell is not lost for it
            self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(Exception):
            self._stop()

    def _start(self) -> None:
        os.environ["CODECARBON_LOG_LEVEL"] = "critical"
        from codecarbon import OfflineEmissionsTracker

        # Every argument that a configuration file or a CODECARBON_* variable could set is pinned. Both tokens would send
        # it online, and CO2 is computed here, so a forced intensity keeps it from looking for one.
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=self._country,
            region=None,
            cloud_provider=None,
            cloud_region=None,
            country_2letter_iso_code=None,
            force_carbon_intensity_g_co2e_kwh=0.0,
            electricitymaps_api_token="",
            co2_signal_api_token="",
            tracking_mode="process",
            measure_power_secs=15,
            gpu_ids=self._boards,
            force_cpu_power=None,
            force_ram_power=None,
            force_mode_cpu_load=False,
            rapl_include_dram=False,
            rapl_prefer_psys=False,
            pue=1.0,
            wue=0.0,
            output_methods=[],
            output_handlers=[],
            output_dir=".",
            output_file="",
            emissions_endpoint=None,
            api_endpoint=None,
            api_key=None,
            api_call_interval=-1,
            prometheus_url=None,
            logging_logger=None,
            metadata=None,
            project_name="rlprune",
            experiment_id="rlprune",
            experiment_name="rlprune",
            on_csv_write="append",
            log_level="critical",
            logger_preamble="",
            allow_multiple_runs=True,
        )
        self._tracker.start()

    def _stop(self) -> None:
        self._tracker.stop()
        measured = getattr(self._tracker, "final_emissions_data", None)
        if measured is None:
            return
        parts = {"cpu": measured.cpu_energy, "gpu": measured.gpu_energy if self._boards else 0, "ram": measured.ram_energy}
        self.values = {f"energy_{part}_joules": kwh * JOULES_PER_KWH for part, kwh in parts.items() if kwh > 0}
        if "energy_cpu_joules" not in self.values:
            return
        modes = [part._mode for part in getattr(self._tracker, "_hardware", ()) if hasattr(part, "_mode")]
        self.method = ", ".join(_METHODS.get(mode, mode) for mode in modes) or "not named by CodeCarbon"
        if self._country is not None and known_country(self._country) and (both := joules(self.values, self._device)):
            self.values["co2_grams"] = both / JOULES_PER_KWH * _countries()[self._country]["carbon_intensity"]


def joules(values: Mapping[str, float], device: str) -> float | None:
    """Return the energy of processor and GPU, or None where one of them is unknown.

    Args:
        values: measures by their names.
        device: what the energy was used by: a processor has no GPU whose energy could be missing.
    """
    cpu, gpu = (values.get(f"energy_{part}_joules") for part in ("cpu", "gpu"))
    if cpu is None or (gpu is None and device != "cpu"):
        return None
    return cpu + (gpu or 0.0)


def known_country(code: str) -> bool:
    """Say whether CodeCarbon has a carbon intensity for a country; for a code it does not know it would take the world's."""
    return code in _countries()


def prepare() -> None:
    """Do once, before workers are forked, what makes the first measurement of a process slow (2.5 s of CPU)."""
    os.environ["CODECARBON_LOG_LEVEL"] = "critical"
    from codecarbon.core import cpu
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.hardware_cache import get_cached_tdp
    from codecarbon.core.util import detect_cpu_model
    from codecarbon.input import DataSource

    Emissions(DataSource())  # type: ignore[no-untyped-call]
    detect_cpu_model()
    get_cached_tdp(cpu)  # type: ignore[no-untyped-call]


@cache
def _countries() -> Mapping[str, Mapping[str, float]]:
    """Read CodeCarbon's table from its folder, since importing the package takes longer than a mistake in a suite should."""
    package = find_spec("codecarbon")
    assert package is not None
    assert package.origin is not None
    table: dict[str, dict[str, float]] = json.loads(
        (Path(package.origin).parent / "data/private_infra/global_energy_mix.json").read_text(encoding="utf-8")
    )
    return {code: country for code, country in table.items() if country.get("carbon_intensity") is not None}


def _boards(device: str) -> list[str]:
    """Return the GPU of a device as the driver counts them: CUDA counts only what CUDA_VISIBLE_DEVICES shows it."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return []
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    number = int(index or 0)
    return [_numbered(visible[number].strip())] if number < len(visible) else [str(number)]


def _numbered(board: str) -> str:
    """Return the driver's number of a GPU that is named by its UUID or how that begins: CodeCarbon 3.3.2 finds none by it."""
    if not board.startswith("GPU-"):
        return board
    with suppress(Exception):  # no driver, or none that tells
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            uuid = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(number))
            if (uuid.decode() if isinstance(uuid, bytes) else uuid).startswith(board):
                return str(number)
    return board

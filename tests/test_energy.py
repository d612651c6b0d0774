import sys
import time
from types import SimpleNamespace

import pytest
from codecarbon import OfflineEmissionsTracker
from codecarbon.core.units import Energy as Amount
from codecarbon.external.geography import GeoMetadata

from rlprune.costs.energy import JOULES_PER_KWH, Energy, known_country


def busy(cpu_seconds):
    until = time.process_time() + cpu_seconds
    while time.process_time() < until:
        pass


def measure(cpu_seconds=0.5, country="FRA", device="cpu"):
    with Energy(country, device) as energy:
        busy(cpu_seconds)
    return energy


@pytest.fixture(scope="module", autouse=True)
def _first_start():
    """The first start of a process takes seconds."""
    with Energy(None):
        pass


def test_a_country_is_known_if_codecarbon_knows_it():
    assert known_country("FRA")
    assert known_country("USA")
    assert not known_country("FRX")
    assert not known_country("fra")


@pytest.mark.parametrize("country", ["FRA", "USA", "POL", "ABW"])
def test_co2_is_codecarbons_factor_times_cpu_energy_without_ram(country):
    energy = measure(0.2, country)
    emissions = OfflineEmissionsTracker(country_iso_code=country, output_methods=[], log_level="critical")
    emissions._ensure_emissions_engine()
    kilograms = emissions._emissions.get_country_emissions(Amount(1.0), GeoMetadata(country))
    assert energy.values["co2_grams"] == pytest.approx(energy.values["energy_cpu_joules"] / JOULES_PER_KWH * kilograms * 1000)


def test_energy_grows_with_the_seconds_of_cpu():
    short, long = measure(0.3), measure(1.2)
    assert 2 < long.values["energy_cpu_joules"] / short.values["energy_cpu_joules"] < 8
    assert long.values["energy_ram_joules"] > 0
    assert "CPU" in long.method or "RAPL" in long.method


def test_a_cell_on_the_cpu_used_no_gpu():
    assert "energy_gpu_joules" not in measure(0.1).values


@pytest.mark.parametrize("country", [None, "FRX"])
def test_without_a_known_country_co2_is_absent_and_energy_is_not(country):
    values = measure(0.1, country).values
    assert "co2_grams" not in values
    assert values["energy_cpu_joules"] > 0


def test_settings_of_the_user_change_nothing(monkeypatch, tmp_path):
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\npue = 100\nforce_cpu_power = 100000\noutput_methods = csv\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODECARBON_TRACKING_MODE", "machine")
    monkeypatch.setenv("CODECARBON_CO2_SIGNAL_API_TOKEN", "secret")
    monkeypatch.setenv("CODECARBON_FORCE_RAM_POWER", "100000")
    values = measure(0.3).values
    assert 0.01 < values["energy_cpu_joules"] < 100
    assert values["energy_ram_joules"] < 100
    assert [file.name for file in tmp_path.iterdir()] == [".codecarbon.config"]


def test_a_tracker_without_a_result_leaves_everything_absent(monkeypatch):
    monkeypatch.setattr(OfflineEmissionsTracker, "stop", lambda tracker: None)
    energy = measure(0.0)
    assert energy.values == {}
    assert energy.method == "not measured"


@pytest.mark.parametrize(("gpu", "grams"), [(2.0, 3.0), (0.0, None)])
def test_co2_of_a_gpu_whose_energy_is_unknown_is_not_the_processors_alone(gpu, grams):
    energy = Energy("FRA", "cuda")
    found = SimpleNamespace(cpu_energy=1.0, gpu_energy=gpu, ram_energy=1.0)
    energy._tracker = SimpleNamespace(stop=lambda: None, final_emissions_data=found)
    energy._stop()
    factor = measure(0.1).values
    assert energy.values.get("co2_grams") == (
        grams and pytest.approx(grams * JOULES_PER_KWH * factor["co2_grams"] / factor["energy_cpu_joules"])
    )


@pytest.mark.parametrize(
    ("visible", "device", "board"),
    [
        ("", "cuda:1", ["1"]),
        ("3,2", "cuda:1", ["2"]),
        ("GPU-4e8", "cuda", ["1"]),
        ("GPU-ffff", "cuda", ["GPU-ffff"]),
        ("0", "cpu", []),
    ],
)
def test_a_board_has_its_number_whatever_it_is_named_by(visible, device, board, monkeypatch):
    """CodeCarbon takes G from the front of GPU-4e8 with MIG-, and then finds no board of that name: its energy was unknown."""
    uuids = ["GPU-1111", "GPU-4e81"]
    there = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(uuids),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetUUID=lambda number: uuids[number],
    )
    monkeypatch.setitem(sys.modules, "pynvml", there)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Energy(None, device)._boards == board


def test_measuring_is_silent(capfd):
    measure(0.1)
    assert capfd.readouterr() == ("", "")


def test_an_exception_inside_passes_through():
    with pytest.raises(ZeroDivisionError), Energy("FRA"):
        1 / 0  # noqa: B018

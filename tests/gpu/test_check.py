import json
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import scripted

CHECK = Path(__file__).with_name("check.py")


def check(out, *words):
    command = [sys.executable, str(CHECK), "--out", str(out), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=1500)


def test_a_step_leaves_its_numbers_as_json_and_as_a_table(tmp_path):
    ended = check(tmp_path, "--steps", "fleets")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "check.json").read_text())
    assert all(row["steps/s"] > 0 for row in found["steps"]["fleets"]["rows"])
    assert "| cartpole-v1 | 16³ | 4 |" in (tmp_path / "check.md").read_text()
    assert scripted(CHECK, "--show", tmp_path / "check.json").stdout.strip() == (tmp_path / "check.md").read_text().strip()


def test_a_step_that_hangs_or_crashes_costs_that_step_alone(tmp_path):
    ended = check(tmp_path, "--steps", "fleets,machine", "--seconds", "5.5")
    steps = json.loads((tmp_path / "check.json").read_text())["steps"]
    assert ended.returncode == 1
    assert set(steps) == {"fleets", "machine"}
    assert any("failed" in row for step in steps.values() for row in step["rows"])


@pytest.mark.slow
def test_all_steps_work_in_miniature(tmp_path):
    ended = check(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr

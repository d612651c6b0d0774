import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rlprune
from rlprune import door


def python(program, **streams):
    """Run a few lines of Python in a process of their own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(rlprune.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, check=False, stderr=subprocess.PIPE, text=True, **streams
    )


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (OSError(28, "No space left on device", "a\x1bb"), 1, "OSError: [Errno 28] No space left on device: 'a\\x1bb'\n"),
    ],
)
def test_what_ends_a_command_is_one_line(capfd, error, code, told):
    before = os.dup(1)
    assert door.ended(raising(error)) == code
    os.dup2(before, 1)
    assert capfd.readouterr().err == told


def test_a_command_ends_with_its_own_code_and_bugs_are_not_hidden():
    assert [door.ended(lambda code=code: code) for code in (0, 1, 2)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        door.ended(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        door.ended(lambda: sys.exit(2))


def test_ctrl_c_while_modules_are_imported_is_quiet():
    ended = python("import os; from rlprune import door; door.leave_at_once(); os.kill(os.getpid(), 2); print('on')")
    assert (ended.returncode, ended.stderr) == (130, "")


def test_ctrl_c_afterwards_is_told_and_the_handler_is_given_back():
    ended = python(
        "import os, sys; from rlprune import door; door.leave_at_once(); sys.exit(door.ended(lambda: os.kill(os.getpid(), 2)))"
    )
    assert (ended.returncode, ended.stderr) == (130, "Stopped.\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("command", ["list pruners", "check cartpole"])
def test_a_closed_pipe_ends_a_command_quietly(command):
    reading, writing = os.pipe()
    os.close(reading)
    ended = python(f"import sys; from rlprune.__main__ import main; sys.exit(main({command.split()}))", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")

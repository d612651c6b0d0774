"""What tests ask of files of older store schemas: which one, what is in it, and what a kill leaves of it while it is opened."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from rlprune.rows import Row
from rlprune.store import Store

KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
seen, connect = [], sqlite3.connect
def killing(statement):
    seen.extend([statement] if statement.startswith(sys.argv[2]) else [])
    if len(seen) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
def traced(*given, **more):
    connection = connect(*given, **more)
    connection.set_trace_callback(killing)
    return connection
sqlite3.connect = traced
from rlprune.store import Store
Store(Path(sys.argv[1]))
"""


def schema(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def read(file: Path) -> list[Row]:
    with Store(file, create=False) as store:
        return store.rows()


def killed(file: Path, statement: str, nth: int = 1) -> int:
    """Open a file to write to it in a process that is killed at the n-th statement that begins so; return its code."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", KILLED, file, statement, str(nth)], env=path, check=False).returncode

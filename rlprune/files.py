"""Files that are whole or not there, and folders that one run at a time writes to."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

LOCK = ".running"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def written(file: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside the old one, and put it in its place when the disk has it: a kill leaves one whole."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        write(fresh)
        with fresh.open("rb") as opened:
            os.fsync(opened.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing; the system lets go of it when this process ends, however it ends.

    Raises:
        BlockingIOError: another process holds it; the message says which.
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise BlockingIOError(f"another run is writing there: {holder or 'it has just begun'}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # some file systems have none
                file.close()
                raise
        if _same(path, file.fileno()):  # else the holder has just removed it
            break
        file.close()
    with file:
        file.truncate(0)
        now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()}, begun {now}\n")
        file.flush()
        try:
            yield
        finally:
            if _same(path, file.fileno()):
                path.unlink(missing_ok=True)


def _same(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except OSError:
        return False

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


def write(file: Path, content: str | bytes) -> None:
    """Let ``content`` be a file's, all of it or none."""
    written(file, lambda fresh: fresh.write_bytes(content.encode() if isinstance(content, str) else content))


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing; the system lets go of it when this process ends, however it ends.

    Raises:
        BlockingIOError: another process holds it; the message says which.
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)  # it stays the same one when it is renamed
    try:
        file = _locked(place)
        with os.fdopen(file, "r+", encoding="utf-8") as opened:
            opened.truncate(0)
            now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
            opened.write(f"process {os.getpid()} on {socket.gethostname()}, begun {now}\n")
            opened.flush()
            try:
                yield
            finally:
                if _there(place, file):
                    os.unlink(LOCK, dir_fd=place)
    finally:
        os.close(place)


def _locked(place: int) -> int:
    """Return the open and locked file of a folder."""
    while True:
        file = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=place)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 1000).decode("utf-8", "replace").strip()
            os.close(file)
            raise BlockingIOError(f"another run is writing there: {holder or 'it has just begun'}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # some file systems have none
                os.close(file)
                raise
        if _there(place, file):
            return file
        os.close(file)  # the holder has just removed it


def _there(place: int, file: int) -> bool:
    """Say whether the lock in a folder is this open file."""
    try:
        return os.path.samestat(os.stat(LOCK, dir_fd=place), os.fstat(file))
    except OSError:
        return False

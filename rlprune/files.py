"""Files that are whole or not there, and folders that a run holds against others, or shares with them cell by cell."""

import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from tempfile import gettempdir, mkdtemp

LOCK, CLAIMS = ".running", ".claims"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_ADDING = 2**62
"""The byte that who adds a line to the claims locks."""
_PATIENCE = 10.0
"""Seconds that who joins waits for a run that is beginning or writing its report."""


def written(file: Path, write: Callable[[Path], object], *, keep: bool = False) -> None:
    """Let ``write`` make a file beside the old one, and put it in its place when the disk has it: a kill leaves one whole.

    Args:
        keep: whether the old one stays, ``before`` it; killed between the two, that one is all there is.
    """
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file.parent))
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        write(fresh)
        with fresh.open("rb") as opened:
            os.fsync(opened.fileno())
        if keep:
            with suppress(FileNotFoundError):
                file.replace(before(file))
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def write(file: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Let ``content``, or its pieces one after the other, be a file's, all of it or none."""
    if isinstance(content, str):
        content = content.encode()
    pieces = [content] if isinstance(content, bytes) else content

    def put(fresh: Path) -> None:
        with fresh.open("wb") as opened:
            opened.writelines(pieces)

    written(file, put)


def before(file: Path) -> Path:
    """Return where the one before a file is."""
    return file.with_name(f"{file.stem}.before{file.suffix}")


def removed(file: Path) -> None:
    """Let a file be gone, the one before it, and what processes that were killed had not finished writing of it."""
    for one in (file, before(file), *file.parent.glob(f"{escape(file.name)}.*.new")):
        one.unlink(missing_ok=True)


def settled(folder: Path) -> None:
    """Wait until the disk has the names in a folder, not only what is in its files."""
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot
            os.fsync(place)
    finally:
        os.close(place)


def process(number: int | None = None) -> str:
    """Return what people are told of a process of this machine, by default this one."""
    return f"process {number or os.getpid()} on {socket.gethostname()}"


def now() -> str:
    """Return the time in UTC as people read it."""
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")


# -- folders of runs -----------------------------------------------------------------------------------------------


class Held:
    """A folder of a run in which this process works.

    Args:
        place: the folder, open.
        file: its lock, open and locked.
        alone: whether nobody else worked there when this process came; until ``share`` nobody else comes.
    """

    def __init__(self, place: int, file: int, *, alone: bool) -> None:
        self._place, self._file, self.alone = place, file, alone
        self._claims = os.open(CLAIMS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666, dir_fd=place)
        self._lines, self._read = dict[str, tuple[int, int]](), 0
        if alone:
            os.truncate(self._claims, 0)

    def share(self) -> None:
        """Let others join.

        Raises:
            BlockingIOError: another process has come first.
        """
        if not _flock(self._file, fcntl.LOCK_SH):
            raise _refused(self._file)

    def last(self) -> bool:
        """Say whether nobody else works there any more; then nobody comes. Otherwise this process has left.

        The lock is let go and asked for anew, so that of several who ask at once one is the last.
        """
        return _flock(self._file, fcntl.LOCK_EX)

    def take(self, name: str) -> bool:
        """Claim a cell against the others, unless one of them has: a lock on its line, which ends with this process."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, *self._line(name))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def free(self, name: str) -> None:
        """Let others claim it."""
        with suppress(OSError):
            fcntl.lockf(self._claims, fcntl.LOCK_UN, *self._line(name))

    def _line(self, name: str) -> tuple[int, int]:
        """Return how many bytes a cell's line in the claims has, and where: to the system, lines in a row are one lock."""
        if name not in self._lines:
            fcntl.lockf(self._claims, fcntl.LOCK_EX, 1, _ADDING)
            try:
                self._learn()
                while name not in self._lines:
                    os.write(self._claims, f"{name}\n".encode())
                    self._learn()
            finally:
                fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _ADDING)
        return self._lines[name]

    def _learn(self) -> None:
        """Read the lines that were added to the claims."""
        while end := (part := os.pread(self._claims, 1 << 20, self._read)).rfind(b"\n") + 1:
            for line in part[:end].splitlines(keepends=True):
                self._lines[line.decode("utf-8", "replace").strip()] = len(line), self._read
                self._read += len(line)

    def others(self) -> str:
        """Return which other processes work there."""
        mine = f"{process()}, "
        return " and ".join(line for line in _lines(self._file) if not line.startswith(mine))

    def leave(self) -> None:
        """Let go of the folder; who is the last leaves nothing of this behind."""
        if self.last() and _there(self._place, self._file):
            for name in (CLAIMS, LOCK):
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._place)
        os.close(self._claims)
        os.close(self._file)


@contextmanager
def claimed(folder: Path, *, join: bool = False) -> Iterator[Held]:
    """Hold a folder, made if it is missing; the system lets go of it when this process ends, however it ends.

    Args:
        join: whether to work beside others of this machine, if there are any.

    Raises:
        BlockingIOError: another process holds it, or shares it and is not to be joined; the message says which.
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as left:
        place = os.open(folder, os.O_RDONLY)  # it stays the same one when it is renamed
        left.callback(os.close, place)
        held = _locked(place, join=join)
        left.callback(held.leave)
        yield held


def _locked(place: int, *, join: bool) -> Held:
    """Return a folder, held or joined, with who does it noted in its lock."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        file = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666, dir_fd=place)
        try:
            alone = _flock(file, fcntl.LOCK_EX, needed=join)
            if not (alone or (join and _flock(file, fcntl.LOCK_SH))):
                if not join or time.monotonic() > deadline:
                    raise _refused(file)
                time.sleep(0.1)  # it is beginning, or writing its report
            elif _there(place, file):
                _note(file, alone=alone)
                return Held(place, file, alone=alone)
        except BaseException:
            if _flock(file, fcntl.LOCK_EX) and _there(place, file):
                os.unlink(LOCK, dir_fd=place)
            os.close(file)
            raise
        os.close(file)


def _note(file: int, *, alone: bool) -> None:
    """Write into a lock who this is.

    Raises:
        BlockingIOError: others are there, of another machine.
    """
    host = socket.gethostname()
    if alone:
        os.truncate(file, 0)
    elif far := [line for line in _lines(file) if f" on {host}, " not in line]:
        raise BlockingIOError(f"only runs of one machine can join each other, and another run is writing there: {far[0]}")
    os.write(file, f"{process()}, begun {now()}\n".encode())


def _flock(file: int, kind: int, *, needed: bool = False) -> bool:
    """Lock an open file, or let go of it and say that others are in the way.

    Some file systems have no locks, and then nobody is; unless they are ``needed``.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_UN)
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if needed:
            raise BlockingIOError("its file system has no locks, by which runs could share a folder") from None
    return True


def _refused(file: int) -> BlockingIOError:
    return BlockingIOError(f"another run is writing there: {' and '.join(_lines(file)) or 'it has just begun'}")


def _lines(file: int) -> list[str]:
    """Return what those have noted in a lock who may still be there."""
    lines = os.pread(file, 10_000, 0).decode("utf-8", "replace").splitlines()
    return [line for line in lines if f" on {socket.gethostname()}, " not in line or _lives(line.split()[1])]


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True


def _there(place: int, file: int) -> bool:
    """Say whether the lock in a folder is this open file."""
    try:
        return os.path.samestat(os.stat(LOCK, dir_fd=place), os.fstat(file))
    except OSError:
        return False


# -- folders for temporary files -------------------------------------------------------------------------------------


def roomy(longest: int) -> Path:
    """Return the folder for temporary files, or where its path has more bytes than this another that may be written to.

    The path of a socket may have a hundred bytes or so, and who makes it has names of its own below that folder.
    """
    usual = gettempdir()
    others = [folder for folder in ("/tmp", "/var/tmp", "/dev/shm") if os.access(folder, os.W_OK)]
    return Path(next((folder for folder in (usual, *others) if len(os.fsencode(folder)) <= longest), usual))


def temporary(folder: Path, prefix: str) -> Path:
    """Return a new folder that is this process's as long as it lives; those of processes that were killed are removed.

    Args:
        folder: where.
        prefix: how its name begins; nothing else there may be called so.
    """
    for other in folder.glob(f"{prefix}*"):
        with suppress(OSError):
            place = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(place)
    while True:
        mine = Path(mkdtemp(prefix=prefix, dir=folder))
        with suppress(FileNotFoundError):  # another process has just removed it
            place = os.open(mine, os.O_RDONLY)
            if _flock(place, fcntl.LOCK_EX) and mine.exists():
                return mine
            os.close(place)

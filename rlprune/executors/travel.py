"""The files of a job, taken to where its worker is and brought home, for workers that do not see this machine's disk."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from rlprune.executors import Keeps
from rlprune.files import write

Content: TypeAlias = bytes | str | None
"""What a file holds; the name that it had before it was renamed; None if it is gone."""
Stamp: TypeAlias = tuple[int, int, int]


def packed(job: Keeps) -> dict[str, bytes]:
    """Return what a job's files hold, by their names."""
    return {file.name: file.read_bytes() for file in _files(job)}


def unpack(job: Keeps, files: Mapping[str, bytes]) -> None:
    """Write a job's files; those that are there are not replaced."""
    for name, content in files.items():
        if not (job.folder / name).exists():
            write(job.folder / name, content)


def bring(job: Keeps, name: str, content: Content) -> None:
    """Let a file of a job be as it has become elsewhere."""
    file = job.folder / name
    job.folder.mkdir(exist_ok=True)  # but not its parents: a folder that was removed stays so
    if isinstance(content, bytes):
        write(file, content)
    elif content is None:
        file.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            (job.folder / content).replace(file)


class Changes:
    """What becomes of a job's files; ``names`` are those that came from home."""

    def __init__(self, job: Keeps, names: Iterable[str]) -> None:
        self._job = job
        self._seen: dict[str, Stamp | None] = dict.fromkeys(names)

    def __iter__(self) -> Iterator[tuple[str, Content]]:
        """Yield each file that is not as it was when it was yielded last, with what it holds."""
        here = {file.name: _stamp(file) for file in _files(self._job)}
        before, self._seen = self._seen, dict(here)
        names = {stamp: name for name, stamp in before.items() if stamp is not None}
        fresh = [name for name, stamp in here.items() if stamp != before.get(name)]
        renamed = {name: names[here[name]] for name in fresh if here[name] in names and here.get(names[here[name]]) != here[name]}
        yield from renamed.items()
        yield from ((name, None) for name in before if name not in here and name not in renamed.values())
        yield from ((name, (self._job.folder / name).read_bytes()) for name in fresh if name not in renamed)


def remove(job: Keeps) -> None:
    """Remove a job's files, and what workers of it that were killed had not finished writing."""
    for file in _all(job):
        file.unlink(missing_ok=True)


def _files(job: Keeps) -> list[Path]:
    """Return a job's files, but for those that are being written."""
    return [file for file in _all(job) if file.suffix != ".new"]


def _all(job: Keeps) -> list[Path]:
    stems = tuple(f"{stem}." for stem in job.stems)
    with suppress(FileNotFoundError):
        return sorted(file for file in job.folder.iterdir() if file.name.startswith(stems))
    return []


def _stamp(file: Path) -> Stamp:
    about = file.stat()
    return about.st_mtime_ns, about.st_size, about.st_ino

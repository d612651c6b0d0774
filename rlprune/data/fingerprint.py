"""What tells data from other data: a few digits that depend on what is read and not on where it lies."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from rlprune.data import folders

WHOLE = 512 * 2**20
"""Bytes of images that are looked at wholly; of more, ``PIECE`` bytes from the middle of ``SAMPLE`` of them at most."""

PIECE, SAMPLE = 4096, 20_000

_BLOCK = 2**20


def fingerprint(name: str | None, folder: Path, checkpoint: str | None = None) -> str:
    """Return sixteen hex digits of a data set, and of the checkpoint that training starts from, where there are any.

    They stand for the names and sizes of all files and for their content: annotations, texts, arrays and images of depth
    wholly, other images as ``WHOLE`` says. Times are left out: a copy is the same data, and a mended label other data
    whatever its date.

    Raises:
        ValueError: data that are not there or cannot be read; one line that names the folder or file.
    """
    files = folders.entries(name, folder) if name else {}
    if checkpoint:
        place = folders.checkpoint(checkpoint, folder)
        files |= {f"checkpoint/{file}": place / file for file in folders.CHECKPOINT if (place / file).is_file()}
    return _of(files)


def _of(files: Mapping[str, Path]) -> str:
    digest = sha256()
    try:
        sizes = {name: file.stat().st_size for name, file in files.items()}
        pictures = sorted(name for name in files if _may_be_sampled(PurePosixPath(name)))
        spared = set(pictures) if sum(sizes[name] for name in pictures) > WHOLE else set[str]()
        passed_over = spared - set(pictures[:: -(-len(pictures) // SAMPLE) or 1])
        for name in sorted(files):
            digest.update(f"{name}\0{sizes[name]}\0".encode("utf-8", "surrogateescape"))
            if name in passed_over:
                continue
            with files[name].open("rb") as file:
                if name in spared:
                    file.seek(max(0, (sizes[name] - PIECE) // 2))
                    digest.update(file.read(PIECE))
                else:
                    while block := file.read(_BLOCK):
                        digest.update(block)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:16]


def _may_be_sampled(name: PurePosixPath) -> bool:
    return name.suffix.lower() in folders.IMAGES and "depth" not in name.parts

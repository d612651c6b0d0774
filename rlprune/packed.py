"""A file in one compressed file, as ``xz`` makes it and undoes it."""

import lzma
import shutil
from contextlib import suppress
from pathlib import Path

from rlprune.files import written

MOST, ROOM = 500, 2**26
"""How many times its own size a packed file may come to, and bytes that any may: rows come to some twenty times."""
_MEMORY = 2**28
"""Bytes that unpacking may take; what ``pack`` writes needs a quarter."""
_MAGIC = b"\xfd7zXZ\x00"
_PART = 1 << 20


def is_packed(file: Path) -> bool:
    """Say whether a file begins as packed ones do."""
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC
    return False  # who reads it says why it cannot be read


def pack(file: Path, to: Path) -> None:
    """Write a file compressed."""

    def write(fresh: Path) -> None:
        with file.open("rb") as loose, lzma.open(fresh, "wb", preset=9) as packed:
            shutil.copyfileobj(loose, packed, _PART)

    written(to, write)


def unpack(file: Path, to: Path) -> None:
    """Write what is in a packed file.

    Raises:
        ValueError: it is damaged, or holds more than rows can be; the message says so, without the file's name.
    """
    most, size = max(ROOM, MOST * file.stat().st_size), 0
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    with file.open("rb") as packed, to.open("wb") as loose:
        while not unpacker.eof:
            read = packed.read(_PART) if unpacker.needs_input else b""
            if unpacker.needs_input and not read:
                raise ValueError("is damaged: its end is missing")
            try:
                part = unpacker.decompress(read, _PART)
            except lzma.LZMAError as error:
                raise ValueError(f"is damaged, or not packed by rlprune: {error}") from None
            if (size := size + len(part)) > most:
                raise ValueError(f"is no packed run: it would come to more than {most:,} bytes")
            loose.write(part)
        if unpacker.unused_data or packed.read(1):
            raise ValueError("is damaged: something follows its end")

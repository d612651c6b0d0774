"""What leaves the program: text without control characters, names that are safe for files, files that are whole or not there."""

import os
import re
import unicodedata
from hashlib import sha256
from pathlib import Path

_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(10))}
_NAME_BYTES = 150  # of the 255 that file systems allow, so that endings fit
_FORMULA = tuple("=+-@＝＋－＠")


def printable(text: str) -> str:
    """Return text in one line that a terminal and a page show as it is: what would act or hide is written as its code."""
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter.isspace():
        return " "
    if letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode()


def shortened(text: str, length: int = 60) -> str:
    """Return text of at most this length; of a longer one both ends, and four digits that stand for all of it."""
    if len(text) <= length:
        return text
    half = (length - 6) // 2
    return f"{text[:half]}…{text[-half:]} {_digits(text)[:4]}"


def name(text: str) -> str:
    """Return text as the name of a file on any system, without its ending; what had to be changed gets digits of its own."""
    safe = re.sub(r"[^\w .=,+()-]|\.\.+", "_", unicodedata.normalize("NFC", printable(text))).strip(" .")
    if safe.partition(".")[0].casefold() in _RESERVED:
        safe = f"_{safe}"
    safe = safe.encode()[:_NAME_BYTES].decode(errors="ignore").strip(" .")
    return safe if safe and safe == text else f"{safe}-{_digits(text)}".lstrip("-")


def _digits(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def field(value: object) -> object:
    """Return a value for a CSV file: text that a spreadsheet would compute is quoted by an apostrophe, numbers stay numbers."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write(path: Path, content: str | bytes) -> None:
    """Write a file aside and put it in its place at once, so that a reader, a crash or a full disk never meets half of it."""
    fresh = path.with_name(f".{path.name[:100]}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise

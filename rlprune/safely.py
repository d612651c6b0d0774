"""What leaves the program: what may be a name, text that acts on nothing, names that are safe for files."""

import re
import shlex
import unicodedata
from hashlib import sha256
from pathlib import Path

FORBIDDEN = '/\\$<>:"|?*{}`'
LONGEST = 100
"""Bytes of a name."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(10))}
_NAME_BYTES = 150  # of the 255 that file systems allow, so that endings fit
_FORMULA = tuple("=+-@＝＋－＠")


def fault(name: str) -> str:
    """Return why nothing may be called ``name``, or an empty string: names become labels, file names and cells of tables."""
    if not name.strip():
        return "a name cannot be blank"
    if len(name.encode(errors="surrogatepass")) > LONGEST:
        return f"a name has at most {LONGEST} bytes, this one has {len(name.encode(errors='surrogatepass')):,}"
    if not name.isprintable():
        return "a name cannot hold control characters"
    if held := [character for character in FORBIDDEN if character in name]:
        return f"a name cannot hold {' or '.join(held)}"
    if not (name[0].isalnum() or name[0] == "_"):
        return "a name begins with a letter or a digit"
    if name[-1] in " .":
        return "a name cannot end in a blank or a dot"
    return ""


def plain(text: str, most: int = 10_000) -> str:
    """Return text in one line that a terminal and a page show as it is; the middle is left out where it is longer than ``most``.

    What would act or hide is written as its code.
    """
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter.isspace():
        return " "
    if letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode()


def typed(path: Path) -> str:
    """Return a path as it can be typed in a shell, blanks and all."""
    return shlex.quote(str(path))


def shortened(text: str, length: int = 60) -> str:
    """Return text of at most this length; of a longer one both ends, and four digits that stand for all of it."""
    if len(text) <= length:
        return text
    half = (length - 6) // 2
    return f"{text[:half]}…{text[-half:]} {_digits(text)[:4]}"


def name(text: str) -> str:
    """Return text as the name of a file on any system, without its ending; what had to be changed gets digits of its own."""
    safe = re.sub(r"[^\w .=,+()-]|\.\.+", "_", unicodedata.normalize("NFC", plain(text))).strip(" .")
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
    shown = plain(value)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

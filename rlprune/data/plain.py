"""Plain text as people's tools leave it: any line ends, with or without a byte-order mark."""

from pathlib import Path


def read(file: Path) -> str:
    """Return a file's text, its lines ended by line feeds alone and without byte-order marks.

    Raises:
        ValueError: it is missing, no file, or no text in UTF-8; one line that names the file, and its line where there is one.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{file} is no text in UTF-8: line 1 begins like UTF-16; save it in UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"line {_line(content, error.start)} has a byte 0x{content[error.start]:02x}, {error.reason}"
        raise ValueError(f"{file} is no text in UTF-8: {wrong}; save it in UTF-8") from None
    if (place := content.find(b"\0")) >= 0:
        raise ValueError(f"{file} is no text: line {_line(content, place)} has a NUL byte; save it in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")


def _line(content: bytes, place: int) -> int:
    before = content[:place].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1

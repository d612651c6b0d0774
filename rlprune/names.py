"""What may be a name, and strangers' text made fit for a terminal."""

FORBIDDEN = '/\\$<>:"|?*{}`'
LONGEST = 100


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


def plain(text: str, most: int = 1000) -> str:
    """Return ``text`` on one line, what is not printable escaped, and the middle left out where it is longer than ``most``."""
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

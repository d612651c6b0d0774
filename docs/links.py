"""A hook of mkdocs: links out of docs/ are for who reads the repository; built pages, without these files, show their text."""

import re


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page without them."""
    return re.sub(r"\[([^]]+)\]\(\.\./[^)]*\)", r"\1", markdown)

"""A hook of mkdocs: links out of docs/ are for who reads the repository; built pages, without these files, show their text."""

import re
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Return a page without them."""
    return inside(markdown, folders=page.file.src_uri.count("/"))


def inside(markdown: str, folders: int) -> str:
    """Return a page that lies in so many folders of docs/ without its links out of docs/."""
    return re.sub(rf"\[([^]]+)\]\((?:\.\./){{{folders + 1},}}[^)]*\)", r"\1", markdown)

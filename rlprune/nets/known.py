"""Which networks there are, read from the text of files: importing torch takes longer than a mistake in a suite should."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PUBLISHED = "torchvision/"
"""What a name begins with for a network of torchvision."""


@cache
def classifiers() -> tuple[str, ...]:
    """Return the names of our own classifiers."""
    return tuple(name for file in ("resnet", "vgg", "resnext") for name in _keys(file, "NETWORKS"))


@cache
def depth_networks() -> tuple[str, ...]:
    """Return the names of our own networks of depth."""
    return _keys("fcrn", "_NETWORKS")


@cache
def published() -> tuple[str, ...]:
    """Return the names of torchvision's classifiers: the functions that its models' files register."""
    package = find_spec("torchvision")
    folder = Path(package.origin).parent / "models" if package and package.origin else Path()
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))]
    return tuple(
        PUBLISHED + name for text in texts for name in re.findall(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", text, re.M)
    )


def _keys(file: str, variable: str) -> tuple[str, ...]:
    """Return the keys of a dictionary that is written down in a file beside this one."""
    for node in ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys)) if name == variable:
                return tuple(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    raise LookupError(f"{file}.py has no {variable}")

"""Packages built and installed as pip does it, by the hooks of their build system, without a network."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile


def built(kind, source, folder):
    """Build a package's ``sdist`` or ``wheel`` from a copy of its folder; return the file."""
    copy = folder / f"copy-{kind}"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".git", ".tox", "__pycache__", "results", "*.egg-info"))
    backend = tomllib.loads((copy / "pyproject.toml").read_text())["build-system"]["build-backend"]
    program = f"import {backend} as backend; backend.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=copy, check=True, capture_output=True)
    (file,) = folder.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return file


def unpacked(sdist, folder):
    """Unpack an sdist; return its folder."""
    with tarfile.open(sdist) as opened:
        opened.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def installed(wheel, site):
    """Let a wheel of pure Python be in a folder of packages."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(site)
    return site


def entered(site, group, *lines):
    """Let a package of entry points, each ``name = module:VARIABLE``, be in a folder, as pip would write it."""
    info = site / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))

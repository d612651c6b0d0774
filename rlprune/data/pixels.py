"""One image file to pixels, whatever its kind; what would come out white, black or as something else is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file may hold, whatever its name: some of Pillow's other formats start programs."""

LARGEST = 89_478_485
"""Most pixels of an image, Pillow's own limit; a small file may unfold to gigabytes."""

BACKGROUND = (128, 128, 128)
"""What shows through transparent pixels: neither black nor white drawings vanish on it."""

TWELVE_BITS = 4096


@contextmanager
def opened(file: Path, size: tuple[int, int] | None = None) -> Iterator[Image.Image]:
    """Open and decode an image.

    Args:
        file: where it is.
        size: width and height that it must have; None allows any.

    Raises:
        ValueError: it is missing, broken, larger than ``LARGEST``, of another size, or several images; one line that names it.
    """
    with _told(file):
        image = Image.open(file, formats=FORMATS)
    with image:
        if image.width * image.height > LARGEST:
            raise ValueError(f"{file} is {image.width}x{image.height}; at most {LARGEST:,} pixels are read")
        if size not in (None, image.size):
            raise ValueError(f"{file} is {by(image.size)}, the first image {by(size)}; bring them to one size")
        with _told(file):
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's preview is no second image
            image.load()
        if count > 1:
            raise ValueError(f"{file} holds {count} images; expected one")
        yield image


def rgb(file: Path, size: tuple[int, int] | None = None) -> Image.Image:
    """Return an image with 8 bits a channel: 16 bits are scaled, palettes looked up, what is transparent shows ``BACKGROUND``.

    Raises:
        ValueError: as ``opened`` does, or for pixels whose range nobody knows.
    """
    with opened(file, size) as image:
        if has_16_bits(image):
            return Image.fromarray(_eight_bits(np.asarray(image), file)).convert("RGB")
        if image.mode in ("I", "F"):
            kind = "float" if image.mode == "F" else "32-bit"
            raise ValueError(f"{file} has {kind} pixels, whose range is not known; save it with 8 or 16 bits")
        with _told(file):
            if image.has_transparency_data:
                ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
                return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
            return image.convert("RGB")


def has_16_bits(image: Image.Image) -> bool:
    """Return whether pixels are grey from 0 to 65535."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def by(size: tuple[int, int] | None) -> str:
    """Return a size as people write it."""
    return "x".join(map(str, size or ()))


def _eight_bits(pixels: np.ndarray, file: Path) -> np.ndarray:
    values = pixels.astype(np.uint32)
    if 0 < (most := int(values.max())) < TWELVE_BITS:
        raise ValueError(
            f"{file} has 16-bit pixels of at most {most}: nearly black in 8 bits; scale them to 65535 or save 8 bits"
        )
    return ((values + 128) // 257).astype(np.uint8)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    except Exception as error:  # broken files make Pillow raise whatever comes
        raise ValueError(f"{file} cannot be read as an image: {' '.join(str(error).split()) or type(error).__name__}") from None

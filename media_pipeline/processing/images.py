"""Images by Pillow, kept behind this one module: opened from an allow list, guarded, upright.

HEIC comes through pillow-heif; everything else Pillow reads itself.
"""

from __future__ import annotations

import io
import warnings
from functools import cache
from typing import Any

from media_pipeline.domain.outcome import Code
from media_pipeline.processing.results import UnreadableMediaError, decoding

#: Only these decoders: EPS, for example, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "HEIF")
#: The decoder's own scaling brings a JPEG down to this many times the size wanted, the filter
#: does the rest. At 2 photos cost a third more, below 1.5 lettering suffers (SSIM < 0.98).
REDUCING_GAP = 1.5


def decode_image(data: bytes, side: int, max_pixels: int) -> tuple[Any, dict[str, object]]:
    """First frame, reduced to `side` pixels while decoding, upright, in sRGB; and its facts.

    RGB, or RGBA where it has transparency. UnreadableMediaError when it cannot be had.
    """
    from PIL import Image, UnidentifiedImageError

    _register_heif()
    with warnings.catch_warnings(), decoding("the image is broken"):
        warnings.simplefilter("ignore")  # Pillow warns of bombs; the guard below decides
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise UnreadableMediaError(Code.INVALID, "not a readable image") from error
        except Image.DecompressionBombError as error:
            raise UnreadableMediaError(Code.TOO_LARGE, str(error)) from error
        facts = _facts(image, max_pixels)
        profile = image.info.get("icc_profile")
        image = _eight_bits(image)
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        return _in_srgb(_upright(image), profile), facts


def _facts(image: Any, max_pixels: int) -> dict[str, object]:
    """Of an image that was opened and not decoded yet."""
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableMediaError(
            Code.TOO_LARGE, f"{width} x {height} pixels, the limit is {max_pixels}"
        )
    facts: dict[str, object] = {
        "width": width, "height": height, "format": image.format, "mode": image.mode,
    }  # fmt: skip
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        facts["frames"] = frames
    return facts


def _eight_bits(image: Any) -> Any:
    """16-bit grey scaled by its range: Pillow's own conversion would clip it to white."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        image.load()
        _, high = image.getextrema()
        scale = 255.0 / max(high, 255) if image.mode != "F" else 255.0 / max(high, 1e-6)
        if image.mode.startswith("I;16"):
            image = image.convert("I")
        return image.point(lambda value: value * scale).convert("L")
    return image


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _in_srgb(image: Any, profile: bytes | None) -> Any:
    """RGB or RGBA; by the embedded profile where it is usable, after the downscale."""
    from PIL import ImageCms

    alpha = None
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            plain = image.convert("RGB") if image.mode == "RGBA" else image
            converted = ImageCms.profileToProfile(
                plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            image = converted or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            # A broken profile: the colours as they are beat no picture.
            image = image.convert("RGB")
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(alpha)
        return image
    return image.convert("RGB")


def on_white(image: Any) -> Any:
    """RGB, with white where the image is transparent."""
    from PIL import Image

    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, (255, 255, 255))
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


@cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)

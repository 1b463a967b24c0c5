"""One line of text drawn to an image, without a dataset."""

from PIL import Image

from ocr_ray.render.fast import draw_line
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_fonts
from ocr_ray.render.style import StyleConfig, draw_style


def render_line(
    text: str, *, font: str = DEFAULT_FONTS[1], seed: int = 0, style: StyleConfig | None = None
) -> Image.Image:
    """Return the image of a line, 8-bit greyscale, as `render_lines` would draw it.

    `font` is a family name, a file, or what else `--fonts` takes. `seed` draws height, ink, paper, skew, blur
    and noise from the ranges of `style`; the same arguments give the same pixels.

    Raises:
        InputError: the font is not installed.
        RenderError: the font lacks a character of `text`, or the text leaves no ink.

    Examples:
        >>> import ocr_ray
        >>> image = ocr_ray.render_line("탁자 7개", seed=3)
        >>> image.mode, image.width > image.height
        ('L', True)
    """
    (found,) = find_fonts([font])
    pixels, _ = draw_line(text, found, draw_style(style or StyleConfig(), seed, 0))
    return Image.fromarray(pixels)

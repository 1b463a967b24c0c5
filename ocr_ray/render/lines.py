"""Line i from text to image: a pure function of the inputs and i.

```
i ─┬─> TextSampler.draw ──> text ──────────────────────────┐
   ├─> draw_style ────────> style: size, ink, skew, noise … ├─> renderer or trdg ──> image ──> TextLine
   └─> choose_font ───────> font ──────────────────────────┘
```
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import FIRST_NUMBERS, PartSpec, Reject, TextLine
from ocr_ray.errors import RenderError
from ocr_ray.render import fast
from ocr_ray.render.config import Renderer
from ocr_ray.render.fonts.find import Font
from ocr_ray.render.style import LineStyle, StyleConfig, choose_font, draw_style, restrict_to_trdg
from ocr_ray.textgen.sampler import TextConfig, TextInputs, TextSampler


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderInputs:
    """Everything that lines are made of; contents instead of paths, so that any node can render them."""

    text_inputs: TextInputs
    text: TextConfig
    fonts: tuple[Font, ...]
    holdout_fonts: tuple[Font, ...]
    """Fonts of the test split; if empty, it uses `fonts`."""
    style: StyleConfig | None
    """None: trdg's defaults."""
    renderer: Renderer
    backgrounds: tuple[bytes, ...]
    """Background images for trdg."""
    image: ImageConfig
    seed: int


class LineRenderer:
    """Renders any line of a dataset; a pure function of the number once built."""

    def __init__(self, inputs: RenderInputs) -> None:
        self._inputs = inputs
        self._sampler = TextSampler(inputs.text_inputs, inputs.text)
        self._fonts = {font.name: font for font in (*inputs.fonts, *inputs.holdout_fonts)}
        self._names = [font.name for font in inputs.fonts]
        self._test_names = [font.name for font in inputs.holdout_fonts] or self._names

    def render(self, number: int) -> TextLine:
        """Return line `number`; RenderError if it cannot be drawn."""
        inputs = self._inputs
        line = self._sampler.draw(inputs.seed, number)
        style = draw_style(inputs.style, inputs.seed, number)
        names = self._test_names if number >= FIRST_NUMBERS["test"] else self._names
        name = choose_font(names, inputs.seed, number)
        if inputs.renderer == "trdg":
            style = restrict_to_trdg(style)
        image_bytes, width_px = self._draw(line.text, self._fonts[name], style)
        return TextLine(
            line_id=f"{number:09d}",
            image_bytes=image_bytes,
            text=line.text,
            markup=line.markup,
            source=line.source,
            font=name,
            width_px=width_px,
            height_px=style.height_px,
            style=style.to_json(),
            grades=line.grades,
        )

    def _draw(self, text: str, font: Font, style: LineStyle) -> tuple[bytes, int]:
        """Return the encoded image and its width in px before resizing."""
        config = self._inputs.image
        if self._inputs.renderer == "trdg":
            from ocr_ray.render import trdg  # takes most of a second to import

            image = trdg.draw_line(text, font, style, self._inputs.backgrounds)
            return encode_image(image, config), image.width
        return fast.encode_line(text, font, style, config)


def render_part(inputs: RenderInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part, and a reject for each line that cannot be drawn."""
    line_renderer = get_line_renderer(inputs)
    for number in range(spec.start, spec.stop):
        try:
            yield line_renderer.render(number)
        except RenderError as error:
            yield Reject(reason=error.reason, detail=error.detail, number=number)


@lru_cache(maxsize=2)
def get_line_renderer(inputs: RenderInputs) -> LineRenderer:
    """Return the renderer of the inputs, built once per process for the same object."""
    return LineRenderer(inputs)

"""The datasets of an experiment: pages, lines that are added to them, and the lines of the evaluation."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ocr_ray.dataset.hub import HubConfig
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.plan import MANIFEST
from ocr_ray.dataset.texts import iter_texts
from ocr_ray.experiment.arms import PAGES, SOURCES
from ocr_ray.experiment.config import ExperimentConfig
from ocr_ray.pages.config import CropConfig, CropStyle
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.pages.survey import find_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts
from ocr_ray.render.job import render_lines
from ocr_ray.storage.location import Location, copy_files, exists, locate, require_folder
from ocr_ray.textgen.sampler import TextConfig
from ocr_ray.training.config import TINY
from ocr_ray.training.data.mixture import count_sources
from ocr_ray.training.data.row_groups import open_split

TEST, BOXES, WORDS, TEXT, SPLICED = "test", "boxes", "words", "text", "spliced"
PAGE_FONT = "맑은 고딕"
"""Pages of AI Hub are printed in a sans serif."""
VALIDATION_SHARE = 0.2
"""Of the pages and the lines made of them."""
NUM_EVALUATED_WORDS, NUM_EVALUATED_SPLICED = 400, 200
PAGE_WIDTH_PX = 430
"""Of drawn pages: lines of about 34 characters, as in the boxes of AI Hub's pages."""
BOXES_PER_PROBLEM = 3
NATIVE = ImageConfig(format="png", size="native")
"""Every model's own size can be made from it."""
DRAWN = HubConfig(license="apache-2.0")
"""Drawn pages are of this package, not of AI Hub."""


def check_inputs(config: ExperimentConfig) -> None:
    """Check that the folders that the user names exist.

    Raises:
        InputError: one does not.
    """
    if config.pages_uri is not None:
        find_pages(config.pages_uri)
    if config.corpus_uri is not None:
        require_folder(config.corpus_uri, "--corpus-uri")


def make_data(config: ExperimentConfig, out: Location) -> dict[str, dict[str, int]]:
    """Make the datasets that the arms need; return the train lines of each by source.

    Raises:
        InputError: pages, the corpus or fonts are wrong.
    """
    data = out / "data"
    seed = config.train.seed
    if not exists(data / BOXES / MANIFEST):
        _draw_pages(config, out)
    pages = CropConfig(
        pages_uri=config.pages_uri or (out / "drawn" / PAGES).uri,
        out_uri=(data / PAGES).uri,
        validation_share=VALIDATION_SHARE,
        seed=seed,
        crop=CropStyle(image=NATIVE),
        hub=HubConfig() if config.pages_uri else DRAWN,
    )
    crop_pages(pages)
    crop_pages(replace(pages, out_uri=(data / SPLICED).uri, splice=config.num_lines))
    held_out = pages if config.pages_uri else _held_out(pages, out / "drawn" / TEST)
    crop_pages(replace(held_out, out_uri=(data / TEST).uri, splice=_count_spliced(config)))
    boxes = _held_out(pages, out / "drawn" / BOXES)
    crop_pages(replace(boxes, out_uri=(data / BOXES).uri))
    words = RenderConfig(
        out_uri=(data / WORDS).uri,
        num_lines=config.num_lines + NUM_EVALUATED_WORDS,
        validation_share=NUM_EVALUATED_WORDS / (config.num_lines + NUM_EVALUATED_WORDS),
        seed=seed,
        fonts=tuple(font.name for font in find_available_fonts(DEFAULT_FONTS)),
        sources=SourceConfig(
            corpus_uri=config.corpus_uri, model=None if config.model == TINY else config.model
        ),
        image=NATIVE,
        lines_per_part=1024,
    )
    render_lines(words)
    if TEXT in config.added:
        texts_uri = None if config.corpus_uri else (data / PAGES).uri
        running = TextConfig(sentence_share=1.0, arithmetic_share=0.0, mixed_share=0.0)
        sources = replace(words.sources, texts_uri=texts_uri)
        text = replace(words, out_uri=(data / TEXT).uri, text=running, sources=sources)
        render_lines(replace(text, hub=pages.hub if texts_uri else text.hub))
    names = {PAGES, *(name for kind in config.added for name in SOURCES[kind])}
    return {name: count_sources(open_split(name, data / name / "train")) for name in sorted(names)}


def _held_out(pages: CropConfig, drawn: Location) -> CropConfig:
    return replace(pages, pages_uri=drawn.uri, validation_share=1.0, hub=DRAWN)


def _count_spliced(config: ExperimentConfig) -> int:
    """Return the lines to splice so that the validation split has about NUM_EVALUATED_SPLICED.

    Fewer of few drawn pages, whose words would not do for so many.
    """
    if config.pages_uri:
        return round(NUM_EVALUATED_SPLICED / VALIDATION_SHARE)
    return min(NUM_EVALUATED_SPLICED, 4 * config.num_box_pages)


def _draw_pages(config: ExperimentConfig, out: Location) -> None:
    """Draw the pages to train on and those to test with, unless there are others, and problems in boxes.

    No template of the problems to test with is among those to train on.
    """
    fonts = find_available_fonts(DEFAULT_FONTS)
    font = next((font for font in fonts if font.name == PAGE_FONT), fonts[0])
    seed = config.train.seed
    print_in: dict[str, Any] = {
        "font_bytes": font.content,
        "font_index": font.face,
        "font_axes": [value for _, value in font.axes],
    }
    if not config.pages_uri:
        for name, templates, num_pages in (
            (PAGES, "train", config.num_pages),
            (TEST, "held_out", config.num_box_pages),
        ):
            write_pages(
                out / "drawn" / name,
                num_pages=num_pages,
                seed=seed,
                templates=templates,
                width_px=PAGE_WIDTH_PX,
                **print_in,
            )
    write_pages(
        out / "drawn" / BOXES,
        num_pages=config.num_box_pages,
        seed=seed + 1,
        templates="held_out",
        boxes_per_problem=BOXES_PER_PROBLEM,
        **print_in,
    )


def choose_model(config: ExperimentConfig, out: Location) -> str:
    """Return the model that every run starts from; of random weights, one for all is written first."""
    if config.model != TINY:
        return config.model
    folder = out / "random_model"
    if not exists(folder / "config.json"):
        from ocr_ray.model.tiny import write_tiny_model

        texts = [text for name in (PAGES, WORDS) for text in iter_texts(out / "data" / name, "text")]
        with TemporaryDirectory(prefix="ocr_ray-tiny-") as written:
            write_tiny_model(Path(written), texts, config.train.seed)
            names = sorted((path.name for path in Path(written).iterdir()), key="config.json".__eq__)
            copy_files(locate(written), folder, names)
    return folder.uri

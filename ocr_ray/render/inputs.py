"""Loads and checks what lines are made of, before any work: words, running text, lengths, backgrounds.

Texts contain only characters that every font draws and that the model's tokenizer keeps; the others are left
out, listed and counted.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ocr_ray.dataset.images import open_line_image
from ocr_ray.dataset.manifest import read_digests
from ocr_ray.dataset.texts import SPLIT, read_lengths, read_texts, require_lines
from ocr_ray.errors import InputError
from ocr_ray.model.tokenizer_json import read_tokenizer
from ocr_ray.render.config import SourceConfig
from ocr_ray.render.fonts.coverage import find_shared_drawable
from ocr_ray.render.fonts.find import Font
from ocr_ray.storage.location import Location, list_files, read_bytes, require_folder
from ocr_ray.text.canonical import CANONICAL
from ocr_ray.text.tokenizer import count_tokens, find_changed, find_unencodable
from ocr_ray.text.unusual_characters import describe_unusual
from ocr_ray.textgen.corpus import Corpus, read_corpus, read_maths_words, restrict_corpus
from ocr_ray.textgen.focus import LINES_SHARE, find_focusable, keep_focusable
from ocr_ray.textgen.misreadings import Misreading, read_misreadings
from ocr_ray.textgen.sampler import CHARACTERS, REQUIRED_CHARACTERS, TextConfig, TextInputs, TextSampler

log = logging.getLogger(__name__)

MAX_NAMED = 20
"""Misread characters named in a message; manifest.json lists all of them."""
NUM_TOKENIZED_LINES = 2_000
"""Lines that the model's tokenizer is tested on."""
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedInputs:
    """Contents of the input files, and what the plan records of them."""

    text: TextInputs
    backgrounds: tuple[bytes, ...]
    """Background images for trdg, as RGB PNG."""
    tokenizer: str | None
    """The tokenizer of `--model` as JSON."""
    identity: dict[str, Any]
    """What determines the lines: hashes, lengths, characters left out."""
    notes: dict[str, Any]
    """Further facts for the manifest that do not determine the lines."""


def load_inputs(sources: SourceConfig, text: TextConfig, fonts: Sequence[Font]) -> LoadedInputs:
    """Return the inputs for lines in `fonts`.

    Raises:
        InputError: a location is wrong, or the fonts or the tokenizer lack what every line needs.
    """
    corpus, texts_digest = _read_corpus(sources)
    wanted = CHARACTERS.union(*corpus.words, *corpus.passages)
    characters, lacking_by_font = find_shared_drawable(fonts, wanted)
    tokenizer = read_tokenizer(sources.model) if sources.model else None
    unencodable = find_unencodable(tokenizer, characters) if tokenizer else frozenset()
    characters -= unencodable
    _check_required(lacking_by_font, {sources.model or "": unencodable})
    corpus, costs = restrict_corpus(corpus, characters)
    left_out = "".join(sorted(wanted - characters))
    log.info("%d words and %d passages", len(corpus.words), len(corpus.passages))
    if left_out:
        log.warning("characters left out of the lines, see left_out in manifest.json: %s", left_out)
    lengths = (
        read_lengths(require_lines(sources.lengths_like, "--lengths-like")) if sources.lengths_like else ()
    )
    misreadings, focus_identity, focus_notes = _read_focus(sources.focus, corpus.words, characters)
    backgrounds = _read_backgrounds(sources.pictures_uri)
    causes = {"lacking_by_font": lacking_by_font, "unencodable": sorted(unencodable), "cost": dict(costs)}
    return LoadedInputs(
        text=TextInputs(
            words=corpus.words,
            passages=corpus.passages if text.sentence_share else (),
            characters=characters,
            length_weights=lengths,
            misreadings=misreadings,
        ),
        backgrounds=backgrounds,
        tokenizer=tokenizer,
        identity={
            "corpus": corpus.sha256_by_file,
            "texts": texts_digest,
            "lengths": {str(length): weight for length, weight in lengths},
            "pictures": [hashlib.sha256(image).hexdigest() for image in backgrounds],
            "left_out": left_out,
            "package": _hash_package(),
            **focus_identity,
        },
        notes={
            "left_out": causes,
            "balance": {"unusual_in_corpus": describe_unusual(corpus.unusual)},
            "canonical": CANONICAL,
            **focus_notes,
        },
    )


def _check_required(
    lacking_by_font: Mapping[str, Iterable[str]], unencodable_by_model: Mapping[str, Iterable[str]]
) -> None:
    """Raise InputError if a font or a tokenizer lacks a character that every line needs."""
    kinds = (("font", lacking_by_font), ("tokenizer of", unencodable_by_model))
    lacking = {
        f"{kind} {name}": missing
        for kind, entries in kinds
        for name, characters in entries.items()
        if (missing := REQUIRED_CHARACTERS.intersection(characters))
    }
    if lacking:
        names = " ".join("space" if char == " " else char for char in sorted(set().union(*lacking.values())))
        raise InputError(
            f"every font must draw {names}, and the tokenizer of --model must keep them; these do not: "
            f"{', '.join(lacking)}; choose others"
        )


def _read_corpus(sources: SourceConfig) -> tuple[Corpus, str | None]:
    """Return the corpus with the texts of labelled lines added, and the digest of those lines."""
    folder = require_folder(sources.corpus_uri, "--corpus-uri") if sources.corpus_uri else None
    corpus = read_corpus(folder)
    if sources.texts_uri is None:
        return corpus, None
    dataset = require_lines(sources.texts_uri, "--texts-uri")
    (digests,) = read_digests({"texts": dataset}).values()
    return replace(corpus, passages=corpus.passages + read_texts(dataset)), digests.get(SPLIT)


def _read_focus(
    uri: str | None, words: Sequence[str], characters: frozenset[str]
) -> tuple[tuple[Misreading, ...], dict[str, str], dict[str, Any]]:
    """Return the misreadings that lines can contain, and what to add to the identity and the notes."""
    if uri is None:
        return (), {}, {}
    report = read_misreadings(uri, "--focus")
    misreadings, ignored = keep_focusable(report.misreadings, find_focusable(words, characters))
    names = ", ".join(f"{char!r} ({count} times)" for char, count in ignored.most_common(MAX_NAMED))
    if not misreadings:
        raise InputError(
            f"--focus must have confusions of characters that lines can contain and every font draws, {uri} "
            f"has only confusions of {names}"
        )
    log.info("half of the lines focus on %d misreadings", len(misreadings))
    if ignored:
        log.warning(
            "no focus on %d misread characters, because no line can contain them: %s", len(ignored), names
        )
    notes = {
        "lines_share": LINES_SHARE,
        "num_errors": report.num_errors,
        "confusions": [
            {"truth": item.reference, "read": item.prediction, "count": item.count} for item in misreadings
        ],
        "ignored": dict(ignored.most_common()),
    }
    return misreadings, {"focus_sha256": report.sha256}, {"focus": notes}


def _read_backgrounds(uri: str | None) -> tuple[bytes, ...]:
    if uri is None:
        return ()
    folder = require_folder(uri, "--pictures-uri")
    names = [name for name in list_files(folder) if name.lower().endswith(_IMAGE_ENDINGS)]
    if not names:
        raise InputError(f"--pictures-uri must contain images (.png, .jpg), got none in {folder}")
    return tuple(_read_background(folder / name) for name in names)


def _read_background(location: Location) -> bytes:
    """Return an image as RGB PNG, because transparent paper would have no grey value."""
    try:
        image = open_line_image(read_bytes(location), str(location))
    except InputError as error:
        raise InputError(f"--pictures-uri must contain only valid images: {error}") from error
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _hash_package() -> str:
    """Return a hash of the data in the package that determines lines."""
    return hashlib.sha256(repr((read_maths_words(), sorted(CANONICAL.items()))).encode()).hexdigest()


def check_tokenizer(inputs: LoadedInputs, text: TextConfig, seed: int) -> dict[str, Any]:
    """Return token counts of a sample of lines; InputError if the model's tokenizer changes any of them."""
    if inputs.tokenizer is None:
        return {}
    sampler = TextSampler(inputs.text, text)
    texts = [sampler.draw(seed, number).text for number in range(NUM_TOKENIZED_LINES)]
    if changed := find_changed(inputs.tokenizer, texts):
        raise InputError(
            f"the tokenizer of --model must give back every text, it changed {len(changed)} of {len(texts)} "
            f"lines, {changed[0][0]!r} to {changed[0][1]!r}"
        )
    counts = count_tokens(inputs.tokenizer, texts)
    return {"lines_tried": len(texts), "most_tokens": max(counts), "mean_tokens": sum(counts) / len(counts)}

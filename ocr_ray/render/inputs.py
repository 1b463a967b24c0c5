"""What lines are drawn from, read and checked before any work: words, running text, lengths, pictures.

Texts hold only characters that every font draws and that the model's tokenizer keeps; what is left out is
listed and counted.
"""

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from PIL import Image, UnidentifiedImageError

from ocr_ray.dataset.manifest import read_digests
from ocr_ray.dataset.texts import SPLIT, read_lengths, read_texts, require_lines
from ocr_ray.errors import InputError
from ocr_ray.render.config import SourceConfig
from ocr_ray.render.fonts.coverage import shared_drawable
from ocr_ray.render.fonts.find import Font
from ocr_ray.storage.location import Location, list_files, read_bytes, require_folder
from ocr_ray.text.canonical import CANONICAL
from ocr_ray.text.tokenizer import count_tokens, find_changed, find_unencodable, read_tokenizer
from ocr_ray.textgen.corpus import Corpus, read_corpus, read_maths_words, restrict_corpus
from ocr_ray.textgen.focus.confusions import Confusion, read_misreadings
from ocr_ray.textgen.focus.focus import LINES_SHARE, find_focusable, keep_focusable
from ocr_ray.textgen.sampler import CHARACTERS, REQUIRED_CHARACTERS, TextConfig, TextInputs, TextSampler

log = logging.getLogger(__name__)

NUM_NAMED = 20
"""Misread characters that are named where they cannot be focused on; manifest.json has them all."""
NUM_TRIED_TEXTS = 2_000
"""Texts that the model's tokenizer is tried on."""
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What lines are drawn from, and what is known about it."""

    text: TextInputs
    pictures: tuple[bytes, ...]
    """Backgrounds for trdg."""
    tokenizer: str | None
    """The tokenizer.json of `--model`."""
    identity: dict[str, Any]
    """What decides the lines: hashes, lengths, characters left out."""
    notes: dict[str, Any]
    """Worth recording, without a say in the lines."""


def gather_material(sources: SourceConfig, text: TextConfig, fonts: Sequence[Font]) -> Material:
    """Return the material for lines in `fonts`.

    Raises:
        InputError: a place is wrong, or the fonts or the tokenizer lack what every line needs.
    """
    corpus, texts_digest = _read_corpus(sources)
    wanted = CHARACTERS.union(*corpus.words, *corpus.passages)
    characters, lacking_by_font = shared_drawable(fonts, wanted)
    tokenizer = read_tokenizer(sources.model) if sources.model else None
    unencodable = find_unencodable(tokenizer, characters) if tokenizer else frozenset()
    characters -= unencodable
    if lacking := sorted(REQUIRED_CHARACTERS - characters):
        named = " ".join("space" if character == " " else character for character in lacking)
        raise InputError(
            f"every font must draw {named}, and the tokenizer of --model keep them; "
            f"{[*lacking_by_font, *([sources.model] if tokenizer else [])]} do not all: choose others"
        )
    corpus, costs = restrict_corpus(corpus, characters)
    left_out = "".join(sorted(wanted - characters))
    log.info("%d words and %d passages", len(corpus.words), len(corpus.passages))
    if left_out:
        log.warning("characters left out of the lines, see left_out in manifest.json: %s", left_out)
    lengths = (
        read_lengths(require_lines(sources.lengths_like, "--lengths-like")) if sources.lengths_like else ()
    )
    confusions, focus_identity, focus_notes = _read_focus(sources.focus, corpus.words, characters)
    material = TextInputs(
        words=corpus.words,
        passages=corpus.passages if text.sentence_share else (),
        characters=characters,
        length_weights=lengths,
        confusions=confusions,
    )
    pictures = _read_pictures(sources.pictures_uri)
    lost = {"lacking_by_font": lacking_by_font, "unencodable": sorted(unencodable), "cost": dict(costs)}
    return Material(
        text=material,
        pictures=pictures,
        tokenizer=tokenizer,
        identity={
            "corpus": corpus.sha256_by_file,
            "texts": texts_digest,
            "lengths": {str(length): weight for length, weight in lengths},
            "pictures": [hashlib.sha256(picture).hexdigest() for picture in pictures],
            "left_out": left_out,
            "package": _hash_package(),
            **focus_identity,
        },
        notes={"left_out": lost, "canonical": CANONICAL, **focus_notes},
    )


def _read_corpus(sources: SourceConfig) -> tuple[Corpus, str | None]:
    """Return the corpus with the labelled texts among its passages, and the digest of those."""
    folder = require_folder(sources.corpus_uri, "--corpus-uri") if sources.corpus_uri else None
    corpus = read_corpus(folder)
    if sources.texts_uri is None:
        return corpus, None
    place = require_lines(sources.texts_uri, "--texts-uri")
    (digests,) = read_digests({"texts": place}).values()
    return replace(corpus, passages=corpus.passages + read_texts(place)), digests.get(SPLIT)


def _read_focus(
    uri: str | None, words: Sequence[str], characters: frozenset[str]
) -> tuple[tuple[Confusion, ...], dict[str, str], dict[str, Any]]:
    """Return the confusions that lines can hold, what identifies the report, and what is worth recording."""
    if uri is None:
        return (), {}, {}
    misreadings = read_misreadings(uri, "--focus")
    confusions, ignored = keep_focusable(misreadings.confusions, find_focusable(words, characters))
    named = ", ".join(f"{char!r} ({count} times)" for char, count in ignored.most_common(NUM_NAMED))
    if not confusions:
        raise InputError(
            f"--focus must have confusions of characters that lines may hold and every font draws, {uri} has "
            f"none but of {named}"
        )
    log.info("half of the lines are focused on %d confusions", len(confusions))
    if ignored:
        log.warning(
            "%d misread characters are not focused on, no line can hold them: %s", len(ignored), named
        )
    notes = {
        "lines_share": LINES_SHARE,
        "num_errors": misreadings.num_errors,
        "confusions": [asdict(confusion) for confusion in confusions],
        "ignored": dict(ignored.most_common()),
    }
    return confusions, {"focus_sha256": misreadings.sha256}, {"focus": notes}


def _read_pictures(uri: str | None) -> tuple[bytes, ...]:
    if uri is None:
        return ()
    folder = require_folder(uri, "--pictures-uri")
    names = [name for name in list_files(folder) if name.lower().endswith(_PICTURE_ENDINGS)]
    if not names:
        raise InputError(f"--pictures-uri must hold pictures (.png, .jpg), got none in {folder}")
    return tuple(_read_picture(folder / name) for name in names)


def _read_picture(location: Location) -> bytes:
    """Return a picture as an RGB PNG: what is transparent would leave the paper without a grey value."""
    try:
        with Image.open(io.BytesIO(read_bytes(location))) as image:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "PNG")
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"--pictures-uri must hold pictures alone, {location} is none: {error}") from error
    return buffer.getvalue()


def _hash_package() -> str:
    """Return a hash of what the package itself brings into the lines beside its code."""
    return hashlib.sha256(repr((read_maths_words(), sorted(CANONICAL.items()))).encode()).hexdigest()


def try_tokenizer(material: Material, text: TextConfig, seed: int) -> dict[str, Any]:
    """Return how a model's tokenizer takes lines of the material; InputError if it changes any of them."""
    if material.tokenizer is None:
        return {}
    sampler = TextSampler(material.text, text)
    texts = [sampler.draw(seed, number).text for number in range(NUM_TRIED_TEXTS)]
    if changed := find_changed(material.tokenizer, texts):
        raise InputError(
            f"the tokenizer of --model must give back what it was given, it changed {len(changed)} of "
            f"{len(texts)} lines, {changed[0][0]!r} to {changed[0][1]!r}"
        )
    counts = count_tokens(material.tokenizer, texts)
    return {"lines_tried": len(texts), "most_tokens": max(counts), "mean_tokens": sum(counts) / len(counts)}

"""Dataset cards: the README.md of a dataset, with the metadata that the Hugging Face hub reads."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ocr_ray.cli.flags import write_command
from ocr_ray.dataset.hub import AI_HUB, describe_license, find_license
from ocr_ray.dataset.lines import Manifest, TextLine

NUM_SHOWN_LINES = 24
MAX_LISTED_CHARACTERS = 100
MAX_LISTED_CONFUSIONS = 30
KS_X_1001_SYLLABLES = 2350
SIZE_CATEGORIES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
    1_000_000_000: "100M<n<1B",
}
"""The hub's names by the number of lines that they stay below."""


def dataset_card(manifest: Manifest, lines: Sequence[TextLine] = ()) -> str:
    """Return the card of a dataset; unknown facts are left out.

    `lines` are those of the contact sheet, in its order.
    """
    counts = manifest.counts
    blocks = [
        f"# {counts['lines']:,} lines of text with their pictures",
        _describe_origin(manifest),
        _warn_of_license(manifest),
        _describe_focus(manifest.notes.get("focus", {})),
        _show_lines(lines),
        make_table(("split", "lines"), counts["by_split"].items()),
        make_table(("source", "lines"), counts["by_source"].items()),
        _describe_fonts(counts["by_font"], manifest.notes.get("fonts", [])),
        make_table(("reject", "boxes or lines"), manifest.rejects.items()),
        *(
            make_table((topic.replace("_", " "), "number"), names.items())
            for topic, names in manifest.counted.items()
        ),
        _describe_texts(manifest.balance),
        _describe_unusual(manifest.balance.get("unusual_in_corpus", {})),
        _describe_left_out(manifest.config.get("left_out", ""), manifest.notes.get("left_out", {})),
        "Columns: `line_id`, `image`, `text` (as printed), `markup` (with maths in `$…$` LaTeX), "
        "`source`, `font`, `page_id`, `page_order`, `width_px`, `height_px`, `style` (how it was drawn), "
        "`confidence` and `flags` (of the model that read it), `spliced_from` (the origin of each word).\n"
        "`manifest.json` holds the whole configuration, the digests of all parts and the versions.",
    ]
    text = "\n\n".join(filter(None, blocks))
    return str(DatasetCard(f"---\n{_build_metadata(manifest).to_yaml()}\n---\n\n{text}\n"))


def _build_metadata(manifest: Manifest) -> DatasetCardData:
    """Return the metadata of a card; `datasets.load_dataset` reads the files of each split from it."""
    counts = manifest.counts
    splits = [split for split, count in counts["by_split"].items() if count]
    files = [{"split": split, "path": f"{split}/*.parquet"} for split in splits]
    return DatasetCardData(
        language="ko",
        **describe_license(find_license(manifest.config, manifest.flags)),
        task_categories=["image-to-text"],
        size_categories=_size_category(counts["lines"]),
        tags=["ocr", "text-recognition"],
        configs=[{"config_name": "default", "data_files": files}],
    )


def _size_category(num_lines: int) -> str:
    """Return the hub's name for the size of a dataset."""
    index = bisect_right(list(SIZE_CATEGORIES), num_lines)
    return [*SIZE_CATEGORIES.values(), "n>1B"][index]


def escape_markdown(text: str) -> str:
    """Return text as one line that Markdown shows unchanged, in a paragraph or in a table cell."""
    return re.sub(r"([\\`*_{}\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def make_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table with escaped cells, or an empty string for no rows."""
    cells = [
        [f"{cell:,}" if isinstance(cell, int) else escape_markdown(str(cell)) for cell in row] for row in rows
    ]
    if not cells:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(names), ["---"] * len(names), *cells])


def _describe_origin(manifest: Manifest) -> str:
    job, seed = manifest.config.get("job"), manifest.config.get("seed")
    origin = f"Made {manifest.created_at} by ocr_ray, configuration {manifest.config_sha256[:12]}"
    origin += "." if seed is None else f", seed {seed}."
    if not job or not manifest.flags:
        return origin
    return f"{origin} To make it again:\n\n```bash\n{write_command(job, manifest.flags)}\n```"


def _warn_of_license(manifest: Manifest) -> str:
    if find_license(manifest.config, manifest.flags) != AI_HUB:
        return ""
    return (
        "**Do not publish this dataset.** It is made from pages for which no licence was given. They count "
        "as pages of AI Hub, whose licence forbids to pass on the data or what is made from it."
    )


def _describe_focus(focus: Mapping[str, Any]) -> str:
    """Describe what lines of a focused dataset contain more often."""
    if not focus:
        return ""
    confusions, ignored = focus["confusions"], focus["ignored"]
    num_unlisted = len(confusions) - MAX_LISTED_CONFUSIONS
    num_errors = sum(confusion["count"] for confusion in confusions)
    summary = (
        f"**Focused**: {focus['lines_share']:.0%} of the lines contain more of the characters that a model "
        f"misread: {len(confusions):,} confusions, {num_errors:,} of its {focus['num_errors']:,} wrong "
        "characters. Use it for training together with other lines, not for evaluation."
    )
    rows = [
        (_name_member(confusion["truth"]), _name_member(confusion["read"]), confusion["count"])
        for confusion in confusions[:MAX_LISTED_CONFUSIONS]
    ]
    listed = ", ".join(f"{_name_character(char)} ({count:,})" for char, count in ignored.items())
    blocks = [
        summary,
        make_table(("in print", "read as", "times"), rows),
        f"And {num_unlisted:,} more." if num_unlisted > 0 else "",
        f"Also misread, but not available for rendering: {listed}." if listed else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _name_member(char: str) -> str:
    return {"": "nothing", " ": "a space"}.get(char, char)


def _show_lines(lines: Sequence[TextLine]) -> str:
    if not lines:
        return ""
    rows = ((number, line.text, line.source, line.font or "") for number, line in enumerate(lines, start=1))
    return f"![{len(lines)} random lines](lines.png)\n\n" + make_table(("", "text", "source", "font"), rows)


def _describe_fonts(by_font: Mapping[str, int], fonts: Iterable[Mapping[str, Any]]) -> str:
    facts_by_name = {font["name"]: font for font in fonts}
    rows = []
    for font, lines in by_font.items():
        facts = facts_by_name.get(font, {})
        family = facts.get("full_name") or facts.get("family", "")
        if axes := facts.get("axes"):
            family += f" ({', '.join(f'{tag} {value:g}' for tag, value in axes.items())})"
        family += " (substitute)" if facts.get("stands_in") else ""
        rows.append((font, lines, family, facts.get("version", ""), facts.get("licence", "")))
    return make_table(("font", "lines", "family", "version", "licence"), rows)


def _describe_texts(statistics: Mapping[str, Any]) -> str:
    """Describe the characters, lengths and grades of a report of `TextStatistics`."""
    rare = statistics["rare"]
    listed = " ".join(map(_name_character, rare[:MAX_LISTED_CHARACTERS]))
    num_unlisted = len(rare) - MAX_LISTED_CHARACTERS
    more = f" and {num_unlisted} more" if num_unlisted > 0 else ""
    coverage = (
        f"{len(statistics['characters']):,} different characters, including {statistics['ks_x_1001']:,} of "
        f"the {KS_X_1001_SYLLABLES:,} syllables of KS X 1001. "
        f"{len(rare)} occur fewer than 20 times{f': {listed}{more}' if rare else ''}."
    )
    lengths: Counter[int] = Counter()
    for length, count in statistics["lengths"].items():
        lengths[max(0, int(length) - 1) // 5] += count
    bins = [(f"{5 * index + 1} to {5 * index + 5}", count) for index, count in sorted(lengths.items())]
    tables = [
        make_table(("characters", "occurrences"), statistics["classes"].items()),
        make_table(("length", "lines"), bins),
        make_table(("grade", "expressions"), statistics["grades"].items()),
    ]
    return "\n\n".join(filter(None, [coverage, *tables]))


def _describe_unusual(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """List the characters of the corpus that were replaced or left out, with their numbers."""
    rows = [
        (kind.replace("_", " "), facts["number"], facts["becomes"])
        for kind, facts in kinds.items()
        if facts["number"]
    ]
    return make_table(("in the corpus", "number", "becomes"), rows)


def _describe_left_out(characters: str, facts: Mapping[str, Any]) -> str:
    """List the characters that no line contains, with the number of corpus words lost with each."""
    if not characters:
        return ""
    cost = facts.get("cost", {})
    listed = [
        _name_character(char) + (f" ({cost[char]:,})" if char in cost else "")
        for char in sorted(characters, key=lambda char: -cost.get(char, 0))
    ]
    num_unlisted = len(listed) - MAX_LISTED_CHARACTERS
    more = f" and {num_unlisted} more" if num_unlisted > 0 else ""
    return (
        "Left out, because a font or the tokenizer does not have them, with the number of corpus words lost "
        f"with each: {', '.join(listed[:MAX_LISTED_CHARACTERS])}{more}."
    )


def _name_character(char: str) -> str:
    """Return a character, or its code point if it would be invisible."""
    return escape_markdown(char) if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"

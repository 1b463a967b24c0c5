"""Cards: the README.md of a dataset, in the form that the Hugging Face hub reads."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocr_ray.cli.flags import write_command
from ocr_ray.dataset.lines import Manifest, TextLine

NUM_SHOWN_LINES = 24
NUM_NAMED_CHARACTERS = 100
NUM_NAMED_CONFUSIONS = 30
KS_X_1001_SYLLABLES = 2350


def dataset_card(manifest: Manifest, lines: Sequence[TextLine] = ()) -> str:
    """Return a dataset's card; its header tells `datasets.load_dataset` which files are which split.

    `lines` are those of its picture, in their order. What is not known of a dataset is left out.
    """
    counts = manifest.counts
    splits = [split for split, count in counts["by_split"].items() if count]
    files = "".join(f"      - split: {split}\n        path: {split}/*.parquet\n" for split in splits)
    blocks = [
        "---\nlanguage: ko\ntask_categories: [image-to-text]\nconfigs:\n"
        f"  - config_name: default\n    data_files:\n{files or '      []'}---",
        f"# {counts['lines']:,} lines of text with their pictures",
        _describe_origin(manifest),
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
        _describe_balance(manifest.balance),
        _describe_left_out(manifest.config.get("left_out", ""), manifest.notes.get("left_out", {})),
        "Columns: `line_id`, `image`, `text` (what is printed), `markup` (with maths in `$…$` LaTeX), "
        "`source`, `font`, `page_id`, `page_order`, `width_px`, `height_px`, `style` (how it was drawn), "
        "`confidence` and `flags` (of the model that read it), `spliced_from` (the origin of each word).\n"
        "`manifest.json` holds the whole configuration, the digests of all parts and the versions.",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, in a paragraph or a cell of a table; of one line."""
    return re.sub(r"([\\`*_{}\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def make_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table with its cells escaped, or nothing where it would have no rows."""
    cells = [
        [f"{cell:,}" if isinstance(cell, int) else escape_markdown(str(cell)) for cell in row] for row in rows
    ]
    if not cells:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(names), ["---"] * len(names), *cells])


def _describe_origin(manifest: Manifest) -> str:
    job, seed = manifest.config.get("job"), manifest.config.get("seed")
    made = f"Made {manifest.created_at} by ocr_ray, configuration {manifest.config_sha256[:12]}"
    made += "." if seed is None else f", seed {seed}."
    if not job or not manifest.flags:
        return made
    return f"{made} To make it again:\n\n```bash\n{write_command(job, manifest.flags)}\n```"


def _describe_focus(focus: Mapping[str, Any]) -> str:
    """Say what lines of a focused dataset hold more often, and that the others do not look like it."""
    if not focus:
        return ""
    confusions, ignored = focus["confusions"], focus["ignored"]
    more = len(confusions) - NUM_NAMED_CONFUSIONS
    said = (
        f"**Focused**: {focus['lines_share']:.0%} of the lines hold more of what a model misread: "
        f"{len(confusions):,} confusions, {sum(each['count'] for each in confusions):,} of its "
        f"{focus['num_errors']:,} wrong characters. To be trained on besides other lines, not to evaluate on."
    )
    rows = [
        (_name_member(each["truth"]), _name_member(each["read"]), each["count"])
        for each in confusions[:NUM_NAMED_CONFUSIONS]
    ]
    named = ", ".join(f"{_name_character(char)} ({count:,})" for char, count in ignored.items())
    blocks = [
        said,
        make_table(("in print", "read as", "times"), rows),
        f"And {more:,} more." if more > 0 else "",
        f"Misread too, but no line can hold it: {named}." if named else "",
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
    facts = {font["name"]: font for font in fonts}
    rows = []
    for font, lines in by_font.items():
        known = facts.get(font, {})
        family = f"{known.get('family', '')}{' (stands in)' if known.get('stands_in') else ''}"
        rows.append((font, lines, family, known.get("version", ""), known.get("licence", "")))
    return make_table(("font", "lines", "family", "version", "licence"), rows)


def _describe_balance(balance: Mapping[str, Any]) -> str:
    rare = balance["rare"][:NUM_NAMED_CHARACTERS]
    more = len(balance["rare"]) - len(rare)
    named = f": {' '.join(map(_name_character, rare))}{f' and {more} more' if more else ''}" if rare else ""
    coverage = (
        f"{len(balance['characters']):,} different characters, among them {balance['ks_x_1001']:,} of the "
        f"{KS_X_1001_SYLLABLES:,} syllables of KS X 1001. "
        f"{len(balance['rare'])} were seen fewer than 20 times{named}."
    )
    lengths: Counter[int] = Counter()
    for length, count in balance["lengths"].items():
        lengths[max(0, int(length) - 1) // 5] += count
    bins = [(f"{5 * index + 1} to {5 * index + 5}", count) for index, count in sorted(lengths.items())]
    tables = [
        make_table(("characters", "seen"), balance["classes"].items()),
        make_table(("length", "lines"), bins),
        make_table(("grade", "expressions"), balance["grades"].items()),
    ]
    return "\n\n".join(filter(None, [coverage, *tables]))


def _describe_left_out(characters: str, facts: Mapping[str, Any]) -> str:
    """Say which characters no line has, and in brackets how many words of the corpus that cost."""
    if not characters:
        return ""
    cost = facts.get("cost", {})
    named = [
        _name_character(char) + (f" ({cost[char]:,})" if char in cost else "")
        for char in sorted(characters, key=lambda char: -cost.get(char, 0))
    ]
    more = len(named) - NUM_NAMED_CHARACTERS
    return (
        "Left out, because a font or the tokenizer lacks them, with the number of words of the corpus that "
        f"went with them: {', '.join(named[:NUM_NAMED_CHARACTERS])}{f' and {more} more' if more > 0 else ''}."
    )


def _name_character(char: str) -> str:
    """Return a character as it is, or its code point where it would not be seen."""
    return escape_markdown(char) if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"

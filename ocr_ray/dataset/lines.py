"""The data model of a dataset: lines, rejects, parts and the manifest."""

import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from ocr_ray.storage.json_fields import expect, expect_count, expect_counts, expect_hash
from ocr_ray.storage.strict_json import parse_json, to_json

SPLITS = ("train", "validation", "test")
LabelColumn = Literal["text", "markup"]
"""The column that a model learns to read."""
FIRST_NUMBERS = {"train": 0, "validation": 700_000_000, "test": 800_000_000}
"""First line number of each split; below 1,000,000,000 a `line_id` has nine digits."""
FIRST_SPLICED_NUMBER = 1_000_000_000
"""First number of lines spliced from crops; the splits are offset from it as above."""
DIGEST_MODULUS = 2**256

_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("line_id", pa.string()),
        ("image", _IMAGE_TYPE),
        ("text", pa.string()),
        ("markup", pa.string()),
        ("source", pa.string()),
        ("font", pa.string()),
        ("page_id", pa.string()),
        ("page_order", pa.int32()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("style", pa.string()),
        ("confidence", pa.float32()),
        ("flags", pa.list_(pa.string())),
        ("spliced_from", pa.list_(pa.struct([("line_id", pa.string()), ("word_index", pa.int32())]))),
    ],
    # Hugging Face `datasets` decodes images only if the schema declares them (datasets#5869).
    metadata={"huggingface": to_json({"info": {"features": {"image": {"_type": "Image"}}}})},
)
REJECT_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("page_id", pa.string()),
        ("box", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def is_lines_schema(schema: pa.Schema) -> bool:
    """Return whether a schema is `SCHEMA`, or that of earlier versions, which ended with `style`."""
    num_columns = 1 + SCHEMA.get_field_index("style")
    return any(schema.equals(known) for known in (SCHEMA, pa.schema(list(SCHEMA)[:num_columns])))


def index_in_split(number: int) -> int:
    """Return how many numbers of its split come before line `number`."""
    return number - max(first for first in FIRST_NUMBERS.values() if first <= number)


class WordOrigin(NamedTuple):
    """The line that a word was cut from."""

    line_id: str
    word_index: int
    """Position among the words of that line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine:
    """One line of text and its image: a row of a dataset."""

    line_id: str
    image_bytes: bytes
    text: str
    """The printed text, NFC."""
    markup: str
    """The text with maths in `$…$` LaTeX."""
    source: str
    """`words`, `sentence`, `arithmetic`, `mixed`, `page` or `spliced`."""
    width_px: int
    """Width before the line was resized."""
    height_px: int
    font: str | None = None
    page_id: str | None = None
    page_order: int | None = None
    style: str | None = None
    """JSON of `render.style.LineStyle`; only of rendered lines."""
    confidence: float | None = None
    """Of the model that read the text, from 0 to 1, rounded to 6 digits; only of lines from `label_pages`."""
    flags: tuple[str, ...] | None = None
    """Reasons to review the line: `low_confidence`, `no_ink`; only of lines from `label_pages`."""
    spliced_from: tuple[WordOrigin, ...] | None = None
    """The origin of each word; only of spliced lines."""
    grades: tuple[int, ...] = ()
    """School grades of its arithmetic; counted in the text statistics, neither stored nor in the digest."""

    def digest(self) -> bytes:
        """Return the row digest, 32 bytes.

        The SHA-256 of (line_id, image bytes, text, markup, font, source), each as its 8-byte little-endian
        length followed by UTF-8 or raw bytes, null as length 2**64 - 1.
        """
        sha = hashlib.sha256()
        for value in (self.line_id, self.image_bytes, self.text, self.markup, self.font, self.source):
            raw = value.encode() if isinstance(value, str) else value
            sha.update(struct.pack("<Q", 2**64 - 1 if raw is None else len(raw)))
            sha.update(raw or b"")
        return sha.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """An item that could not become a line, and the reason."""

    reason: str
    """A fixed word to count by, such as `missing_glyph`."""
    detail: str = ""
    number: int | None = None
    page_id: str | None = None
    box: str | None = None
    """For pages, the index of the box in the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCount:
    """A number counted in addition to lines and rejects while a part was made."""

    topic: str
    """Such as `warnings`."""
    name: str
    """Such as `text_not_in_problem`."""
    number: int = 1


PartRow = TextLine | Reject | TopicCount
"""What makers of parts yield."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """One part of a dataset: items [start, stop) of a split.

    An item is a line number for rendered and spliced lines, the index of a page for crops.
    """

    split: str
    index: int
    start: int
    stop: int

    @property
    def path(self) -> str:
        """Relative to the dataset, the same for every run."""
        return f"{self.split}/part-{self.index:05d}.parquet"

    @property
    def rejects_path(self) -> str:
        return f"rejects/{self.split}-part-{self.index:05d}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStats:
    """Counts and digests of a part, stored in its Parquet footer."""

    spec: PartSpec
    rows: int
    rows_sha256: str
    digest_sum: str
    """Sum of the row digests modulo 2**256, in hex: independent of how rows are divided into parts."""
    by_source: dict[str, int] = field(default_factory=dict)
    by_font: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    """Numbers by topic and name that cannot be counted again from rows and rejects."""
    size_bytes: int = 0
    """Size of the Parquet file, 0 until it is written."""

    @property
    def num_rejects(self) -> int:
        return sum(self.rejects.values())

    @classmethod
    def from_json(cls, text: str) -> "PartStats":
        """Return the statistics that a footer holds; raises ValueError or KeyError if they are damaged."""
        values = expect(parse_json(text), dict, "part_stats")
        spec = expect(values["spec"], dict, "spec")
        numbers = {name: expect_count(spec[name], f"spec.{name}") for name in ("index", "start", "stop")}
        topics = expect(values.get("counted", {}), dict, "counted")
        return cls(
            spec=PartSpec(split=expect(spec["split"], str, "spec.split"), **numbers),
            rows=expect_count(values["rows"], "rows"),
            rows_sha256=expect_hash(values["rows_sha256"], "rows_sha256"),
            digest_sum=expect_hash(values["digest_sum"], "digest_sum"),
            counted={topic: expect_counts(counts, f"counted.{topic}") for topic, counts in topics.items()},
            size_bytes=expect_count(values.get("size_bytes", 0), "size_bytes"),
            **{
                name: expect_counts(values.get(name, {}), name)
                for name in ("by_source", "by_font", "rejects")
            },
        )

    def to_json(self) -> str:
        return to_json(asdict(self))


class RowSummary:
    """Counts and digests of a part, updated row by row in the order of the part."""

    def __init__(self) -> None:
        self._rows_sha = hashlib.sha256()
        self._digest_sum = 0
        self._by_source: Counter[str] = Counter()
        self._by_font: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        self._counted: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, row: PartRow) -> None:
        """Add a line, a reject or a count."""
        if isinstance(row, Reject):
            self._rejects[row.reason] += 1
            return
        if isinstance(row, TopicCount):
            self._counted[row.topic][row.name] += row.number
            return
        digest = row.digest()
        self._rows_sha.update(digest)
        self._digest_sum = (self._digest_sum + int.from_bytes(digest, "big")) % DIGEST_MODULUS
        self._by_source[row.source] += 1
        if row.font is not None:
            self._by_font[row.font] += 1

    def to_stats(self, spec: PartSpec) -> PartStats:
        """Return the counts and digests so far."""
        return PartStats(
            spec=spec,
            rows=self._by_source.total(),
            rows_sha256=self._rows_sha.hexdigest(),
            digest_sum=f"{self._digest_sum:064x}",
            by_source=dict(sorted(self._by_source.items())),
            by_font=dict(sorted(self._by_font.items())),
            rejects=dict(sorted(self._rejects.items())),
            counted={topic: dict(sorted(names.items())) for topic, names in sorted(self._counted.items())},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of a complete dataset: `manifest.json`, written last."""

    config: dict[str, Any]
    config_sha256: str
    created_at: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    counts: dict[str, Any]
    balance: dict[str, Any]
    """The text statistics, see `TextStatistics.report`."""
    rejects: dict[str, int]
    parts: list[dict[str, Any]]
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    """Other numbers by topic and name, such as pages read or boxes out of scope."""
    flags: dict[str, Any] = field(default_factory=dict)
    """The flags of the job that wrote it."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Information that no row depends on: licences of fonts, characters left out."""


def lines_to_table(lines: Iterable[TextLine]) -> pa.Table:
    """Return the rows as a table of `SCHEMA`."""
    rows = list(lines)
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names if name != "image"}
    columns["image"] = [{"bytes": row.image_bytes, "path": None} for row in rows]
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def table_to_lines(table: pa.Table) -> list[TextLine]:
    """Return the rows of a table of `SCHEMA`; the inverse of `lines_to_table`.

    Columns after `style` may be missing, as in datasets of earlier versions; they are read as null.
    """
    rows = []
    for values in table.to_pylist():
        image = values.pop("image")
        if values.get("flags") is not None:
            values["flags"] = tuple(values["flags"])
        if values.get("spliced_from") is not None:
            values["spliced_from"] = tuple(WordOrigin(**origin) for origin in values["spliced_from"])
        rows.append(TextLine(image_bytes=image["bytes"], **values))
    return rows


def rejects_to_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return the rejects as a table of `REJECT_SCHEMA`."""
    return pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=REJECT_SCHEMA)

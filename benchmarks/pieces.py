"""Runs the pieces of a long benchmark, each in a process of its own, and keeps their results in a folder.

`results.json` is written after each piece, so that the next call goes on where the last one stopped;
`results.md` shows the same as tables. A piece that crashes, runs out of memory or takes too long is recorded
with its error and costs the other pieces nothing.
"""

import faulthandler
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from ocr_ray.errors import InputError
from ocr_ray.storage.strict_json import parse_json, to_json

Rows = list[dict[str, Any]]
"""The lines of a table. `holds` says whether a check holds."""
Outcome = dict[str, Any]
"""`status` is done, failed or left (for the next call). With it `rows` or `error`, `seconds`, `warnings`, and
the end of the output as `log`."""

LEFT: Outcome = {"status": "left"}
LOG_LINES, LOG_COLUMNS = 20, 300
"""The end of a piece's output that is kept."""
_ROWS, _LOG = "rows.json", "log.txt"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a benchmark."""

    name: str
    """Pieces whose names are the same up to the first underscore share a table."""
    work: Callable[[], Rows]
    """Pickled, and called in the process of the piece."""
    minutes: float
    """The most that it may take."""


@dataclass(kw_only=True)
class Results:
    """The results in a folder."""

    folder: Path
    machine: dict[str, Any] = field(default_factory=dict)
    """What the results were measured on."""
    pieces: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Return the results of earlier calls, empty if there are none.

        Raises:
            InputError: results.json is damaged.
        """
        path = folder / "results.json"
        if not path.exists():
            return cls(folder=folder)
        try:
            content = parse_json(path.read_bytes())
            return cls(folder=folder, machine=dict(content["machine"]), pieces=dict(content["pieces"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} must be of an earlier call, {error!r}; delete it, or choose another --out"
            ) from error

    def write(self) -> None:
        """Write both files, each atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = to_json({"machine": self.machine, "pieces": self.pieces}, indent=1)
        for name, text in (("results.json", f"{content}\n"), ("results.md", format_results(self))):
            unfinished = self.folder / f".{name}"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.rename(self.folder / name)

    def names_with(self, status: str) -> list[str]:
        """Return the names of the pieces with a status."""
        return [name for name, outcome in self.pieces.items() if outcome["status"] == status]

    def names_of_wrong(self) -> list[str]:
        """Return the names of the pieces with a check that does not hold."""
        return [
            name
            for name, outcome in self.pieces.items()
            if any(row.get("holds") is False for row in outcome.get("rows", ()))
        ]


def call(function: str, *arguments: Any) -> Rows:
    """Call a function by its name, `package.module:function`, which loads its module in the piece alone."""
    rows: Rows = resolve_name(function)(*arguments)
    return rows


def find_open(pieces: Sequence[Piece], results: Results, *, retry: bool) -> list[Piece]:
    """Return the pieces that are not done; those that failed only with `retry`."""
    wanted = ("left", "failed") if retry else ("left",)
    return [piece for piece in pieces if results.pieces.get(piece.name, LEFT)["status"] in wanted]


def run_pieces(pieces: Sequence[Piece], results: Results, *, end_s: float, context: BaseContext) -> None:
    """Run the pieces that fit in the time until `end_s` of `time.monotonic`; write the results after each."""
    for piece in pieces:
        if time.monotonic() + 60 * piece.minutes > end_s:
            log.info("%s: may take %g minutes, left for the next call", piece.name, piece.minutes)
            continue
        outcome = run_piece(piece, context)
        results.pieces[piece.name] = outcome
        results.write()
        log.info("%s: %s after %.1f s", piece.name, outcome.get("error", "done"), outcome["seconds"])


def run_piece(piece: Piece, context: BaseContext) -> Outcome:
    """Run a piece in a new process; at its end or its limit all processes that it has started are ended."""
    with tempfile.TemporaryDirectory(prefix="ocr_ray-piece-") as name:
        folder, started_s = Path(name), time.monotonic()
        process: Any = context.Process(target=_work, args=(piece.work, folder))  # type: ignore[attr-defined]
        process.start()
        try:
            process.join(60 * piece.minutes)
            exit_code = process.exitcode
        finally:
            with suppress(ProcessLookupError):  # it has no group until it calls setsid
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        path = folder / _LOG
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        outcome = {
            "seconds": round(time.monotonic() - started_s, 1),
            "warnings": _cut(dict.fromkeys(line for line in lines if line.startswith("WARNING "))),
            "log": _cut(lines),
        }
        if exit_code == 0 and (folder / _ROWS).exists():
            return {"status": "done", "rows": parse_json((folder / _ROWS).read_bytes()), **outcome}
        return {"status": "failed", "error": _describe(exit_code, lines, piece.minutes), **outcome}


def _work(work: Callable[[], Rows], folder: Path) -> None:
    """Write the rows of a piece, and its output to a log; runs in its process."""
    os.setsid()
    with (folder / _LOG).open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    (folder / _ROWS).write_text(to_json(work()), encoding="utf-8")


def _cut(lines: Iterable[str]) -> list[str]:
    return [line[:LOG_COLUMNS] for line in lines if line.strip()][-LOG_LINES:]


def _describe(exit_code: int | None, lines: Sequence[str], minutes: float) -> str:
    """Return why a piece failed: the last line of its log is the message of an exception."""
    if exit_code is None:
        return f"did not end within {minutes:g} minutes"
    if exit_code < 0:
        return f"ended by {signal.Signals(-exit_code).name}"
    return _cut(lines)[-1] if _cut(lines) else f"ended with exit code {exit_code} and no result"


def format_results(results: Results) -> str:
    """Return the results as Markdown: a table for each group of pieces, then what is missing."""
    groups: dict[str, Rows] = {}
    for name, outcome in results.pieces.items():
        groups.setdefault(name.partition("_")[0], []).extend(outcome.get("rows", ()))
    facts = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [f"# Results\n\nMachine: {facts}.\n"]
    parts += [f"## {group}\n\n{format_table(rows)}" for group, rows in groups.items() if rows]
    for title, key in (("Failed", "error"), ("Warnings", "warnings")):
        lines = [{"piece": name, key: of[key]} for name, of in results.pieces.items() if of.get(key)]
        parts += [f"## {title}\n\n{format_table(lines)}"] * bool(lines)
    if left := results.names_with("left"):
        parts.append(f"Left for the next call: {', '.join(left)}.\n")
    return "\n".join(parts)


def format_table(rows: Rows) -> str:
    """Return a Markdown table with the columns of all rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([_format(row.get(name)) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _format(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "**no**"}[value]
    if isinstance(value, list):
        return "<br>".join(map(_format, value))
    return f"{value:,}" if isinstance(value, int | float) else str(value).replace("|", "\\|")

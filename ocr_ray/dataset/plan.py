"""The plan of a dataset: what it is to hold, and the files it owns. plan.json is written first."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocr_ray.dataset.lines import (
    PartSpec,
)
from ocr_ray.errors import InputError
from ocr_ray.storage.location import (
    PROBE,
    Location,
    check_writable,
    delete_file,
    exists,
    list_files,
    preflight,
    read_json,
    write_json,
)

PLAN, MANIFEST, CARD, PICTURE = "plan.json", "manifest.json", "README.md", "lines.png"
GROWING_FIELD = "num_lines"
"""The one field of a plan that may change, upwards: more lines leave the earlier ones as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a dataset is to hold: the configuration that decides its rows, and its parts."""

    config: dict[str, Any]
    parts: tuple[PartSpec, ...]
    flags: dict[str, Any] = field(default_factory=dict)
    """How the job was called, by flag; recorded, decides nothing."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What is worth recording and decides no row."""
    extras: tuple[str, ...] = ()
    """Files that the job may write beside those of every dataset."""

    @property
    def config_sha256(self) -> str:
        fixed = {name: value for name, value in self.config.items() if name != GROWING_FIELD}
        canonical = json.dumps(fixed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The files that the dataset owns, relative to it."""
        paths = [path for part in self.parts for path in (part.path, part.rejects_path)]
        return [PLAN, *paths, *self.extras, PICTURE, CARD, MANIFEST]


def cut_parts(
    split: str, first: int, num_items: int, items_per_part: int, *, first_index: int = 0
) -> list[PartSpec]:
    """Return the parts that cover items [first, first + num_items) of a split; one, empty, for none."""
    starts = range(first, first + num_items, items_per_part) or [first]
    end = first + num_items
    return [
        PartSpec(split=split, index=index, start=start, stop=min(start + items_per_part, end))
        for index, start in enumerate(starts, start=first_index)
    ]


def check_reserved(
    out: Location, config: Mapping[str, Any], *, growing: str = GROWING_FIELD, flag: str = "--out-uri"
) -> None:
    """Check that a configuration may be made at `out`: nothing is there, or an earlier run of the same.

    Raises:
        InputError: the place cannot be written, there are files but no plan, or the plan differs; the message
            names the fields.
    """
    check_writable(out, flag)
    with preflight(out, flag) as place:
        plan = read_json(place / PLAN) if exists(place / PLAN) else None
        files = list_files(place) if plan is None else ()
        found = [name for name in files if not name.startswith(PROBE)][:3]
    if plan is None and found:
        raise InputError(
            f"{flag} must be empty or hold an earlier run of this job, {out} holds "
            f"{', '.join(found)} and no {PLAN}; choose another"
        )
    if plan is None:
        return
    if not isinstance(plan, dict) or "config" not in plan:
        raise InputError(f"{flag} must hold an earlier run of this job, {out / PLAN} is no plan of one")
    old, new = flatten(plan["config"]), flatten(json.loads(json.dumps(config)))
    if (shrunk := old.get(growing)) is not None and growing in new and new[growing] < shrunk:
        raise InputError(f"{growing} of {out} may only grow: it is {shrunk}, got {new[growing]}")
    differing = [
        f"{name}: {_shorten(old.get(name))} there, {_shorten(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if name != growing and old.get(name) != new.get(name)
    ]
    if differing:
        raise InputError(
            f"{out} was made with another configuration ({'; '.join(differing)}); choose another {flag}"
        )


def _shorten(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}…"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as one level of dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, item in value.items() for k, v in flatten(item, f"{prefix}.{name}".lstrip(".")).items()
    }


def write_plan(out: Location, plan: Plan) -> None:
    """Write the plan; a manifest of before is taken away first, since its existence means complete."""
    delete_file(out / MANIFEST)
    write_json(
        out / PLAN,
        {
            "config": plan.config,
            "config_sha256": plan.config_sha256,
            "flags": plan.flags,
            "names": plan.names,
        },
    )


def holds_plan(out: Location, plan: Plan) -> bool:
    """Return whether the plan that stands at `out` is this one, its number of lines included."""
    config = json.loads(json.dumps(plan.config))
    return exists(out / PLAN) and bool(read_json(out / PLAN)["config"] == config)

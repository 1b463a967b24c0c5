"""The plan of a dataset: its configuration and the files it owns. plan.json is written first."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocr_ray.dataset.lines import PartSpec
from ocr_ray.errors import InputError
from ocr_ray.storage.lease import LEASE
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
from ocr_ray.storage.strict_json import parse_json, to_json

PLAN, MANIFEST, CARD, CONTACT_SHEET = "plan.json", "manifest.json", "README.md", "lines.png"
GROWING_FIELD = "num_lines"
"""The only field of a plan that can change. It can grow, since more lines do not change earlier ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a dataset: the configuration that determines its rows, and its parts."""

    config: dict[str, Any]
    parts: tuple[PartSpec, ...]
    flags: dict[str, Any] = field(default_factory=dict)
    """The flags of the job; recorded only, no row depends on them."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Other information for the manifest that no row depends on; `balance` is added to its balance."""
    extras: tuple[str, ...] = ()
    """Files that the job can write in addition to those of every dataset."""

    @property
    def config_sha256(self) -> str:
        fixed = {name: value for name, value in self.config.items() if name != GROWING_FIELD}
        canonical = to_json(fixed, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """Paths of the files that the dataset owns, relative to it."""
        paths = [path for part in self.parts for path in (part.path, part.rejects_path)]
        return [PLAN, *paths, *self.extras, CONTACT_SHEET, CARD, MANIFEST]


def cut_parts(
    split: str, first: int, num_items: int, items_per_part: int, *, first_index: int = 0
) -> list[PartSpec]:
    """Return the parts that cover items [first, first + num_items) of a split; one empty part if none."""
    starts = range(first, first + num_items, items_per_part) or [first]
    end = first + num_items
    return [
        PartSpec(split=split, index=index, start=start, stop=min(start + items_per_part, end))
        for index, start in enumerate(starts, start=first_index)
    ]


def read_plan_config(out: Location, flag: str = "--out-uri") -> dict[str, Any] | None:
    """Return the configuration of an earlier run in `out`; None if there is none.

    Raises:
        InputError: `out` cannot be read.
    """
    with preflight(out, flag) as folder:
        plan = read_json(folder / PLAN) if exists(folder / PLAN) else None
    config = plan.get("config") if isinstance(plan, dict) else None
    return config if isinstance(config, dict) else None


def check_reserved(
    out: Location, config: Mapping[str, Any], *, growing: str = GROWING_FIELD, flag: str = "--out-uri"
) -> None:
    """Check that `out` is free for a configuration: empty, or an earlier run with the same configuration.

    Raises:
        InputError: `out` cannot be written, holds files but no plan, or the plan differs; the message lists
            the fields.
    """
    check_writable(out, flag)
    with preflight(out, flag) as folder:
        plan = read_json(folder / PLAN) if exists(folder / PLAN) else None
        names = list_files(folder) if plan is None else ()
        others = [name for name in names if not name.startswith(PROBE) and LEASE not in name][:3]
    if plan is None and others:
        raise InputError(
            f"{flag} must be empty or hold an earlier run of this job, {out} holds "
            f"{', '.join(others)} and no {PLAN}; choose another folder"
        )
    if plan is None:
        return
    if not isinstance(plan, dict) or "config" not in plan:
        raise InputError(f"{flag} must hold an earlier run of this job, {out / PLAN} is not a plan")
    old, new = flatten(plan["config"]), flatten(parse_json(to_json(config)))
    if type(shrunk := old.get(growing)) is int and growing in new and new[growing] < shrunk:
        raise InputError(f"{growing} of {out} can only grow: it is {shrunk}, got {new[growing]}")
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
    """Return a nested configuration as one dict with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        path: leaf
        for name, item in value.items()
        for path, leaf in flatten(item, f"{prefix}.{name}".lstrip(".")).items()
    }


def write_plan(out: Location, plan: Plan) -> None:
    """Delete an earlier manifest, whose existence means that the dataset is complete, and write the plan."""
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
    """Return whether plan.json of `out` is this plan, including its number of lines."""
    config = parse_json(to_json(plan.config))
    return exists(out / PLAN) and bool(read_json(out / PLAN)["config"] == config)

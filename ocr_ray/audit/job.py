"""A dataset audited: its parts against plan and manifest, its counts, some of its lines made again.

Nothing is written. What is wrong is told with its exact place, and how to mend it.
"""

import json
import logging
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import accumulate
from typing import Any, NoReturn

import tyro

from ocr_ray.audit.compare import compare_lines, format_comparison
from ocr_ray.audit.config import AuditConfig, MovedConfig
from ocr_ray.audit.expected import Claims, read_claims
from ocr_ray.audit.findings import Finding
from ocr_ray.audit.inspect_part import PartClaim, PartReport, Rules, inspect_part
from ocr_ray.audit.rerender import compare_rendered
from ocr_ray.cli.flags import list_arguments, write_command
from ocr_ray.cluster.map_tasks import map_tasks
from ocr_ray.cluster.progress import Progress
from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.lines import SPLITS
from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.plan import MANIFEST, PLAN, flatten
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.dataset.texts import require_lines
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.randomness import keyed_generator
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import plan_rendering
from ocr_ray.render.lines import RenderInputs, get_line_renderer
from ocr_ray.storage.location import Location, list_files, require_folder

log = logging.getLogger(__name__)

NUM_LISTED, NUM_LOGGED = 100, 20
"""Findings in the summary, and in the log."""


def audit_lines(config: AuditConfig) -> dict[str, Any]:
    """Return what was counted, once nothing wrong was found.

    Raises:
        InputError: the place holds no complete dataset, or lines are to be rendered again from inputs that
            are not those of its plan.
        ProductionError: something is wrong; its summary tells what and where.
    """
    started_s = time.monotonic()
    claims = read_claims(require_folder(config.lines_uri, "--lines-uri"))
    real = require_lines(config.compare, "--compare") if config.compare else None
    inputs = _plan_again(claims, config.moved) if config.rerender else None
    with ray_session(num_cpus=config.num_cpus, reads=[claims.place]):
        reports = list(_audit_parts(claims, config, inputs))
    findings, to_move = _gather_findings(claims, reports)
    summary = {
        "lines_uri": claims.place.uri,
        "parts": len(reports),
        "lines": sum(report.stats.rows for report in reports),
        "rejects": sum(report.stats.num_rejects for report in reports),
        "rerendered": sum(report.num_rerendered for report in reports),
        "seconds": round(time.monotonic() - started_s, 1),
        "num_findings": len(findings),
    }
    if findings:
        _fail(claims, findings, to_move, summary, config.moved)
    log.info("%s: nothing wrong in %d parts, %d lines", claims.place, summary["parts"], summary["lines"])
    if real:
        comparison = compare_lines(real, claims.place)
        log.info("real lines beside these:\n%s", format_comparison(comparison))
        summary["comparison"] = comparison
    return summary


def _plan_again(claims: Claims, moved: MovedConfig) -> RenderInputs:
    """Return what the lines were rendered from; InputError if it is not the same any more."""
    place, flags = claims.place, claims.plan.flags
    if not claims.rules.is_rendered:
        raise InputError(f"--rerender needs rendered lines, {place} holds lines of pages; leave it out")
    if not flags:
        raise InputError(f"--rerender needs the flags of the job, {place / PLAN} has none; leave it out")
    plan, inputs = plan_rendering(parse_flags(flags | _list_moved(moved)))
    if differing := _name_differing(claims.plan.config, json.loads(json.dumps(plan.config))):
        raise InputError(
            f"--rerender needs what {place} was rendered from, it differs in {'; '.join(differing)}; "
            "say where it is now, or install the same versions"
        )
    return inputs


def parse_flags(flags: Mapping[str, Any]) -> RenderConfig:
    """Return the configuration that `describe_flags` described.

    Raises:
        InputError: a flag is not known in this version.
    """
    try:
        return tyro.cli(RenderConfig, args=list_arguments(flags), console_outputs=False)
    except SystemExit as error:
        raise InputError(f"flags must be those of render_lines, got {dict(flags)}") from error


def _list_moved(moved: MovedConfig) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in asdict(moved).items() if value}


def _name_differing(there: Any, now: Any) -> list[str]:
    """Return the fields in which two nested values differ, with both values."""
    old, new = flatten(there), flatten(now)
    return [
        f"{name}: {str(old.get(name))[:64]} there, {str(new.get(name))[:64]} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _audit_parts(claims: Claims, config: AuditConfig, inputs: RenderInputs | None) -> Iterator[PartReport]:
    """Yield what was found in each part, in order; one task each."""
    numbers = _draw_numbers(claims, config.rerender)
    progress = Progress(claims.place.name, num_parts=len(claims.parts), num_pending=len(claims.parts))
    audit = partial(_audit_part, place=claims.place, rules=claims.rules, inputs=inputs)
    parts = ((claim, numbers.get(claim.spec.path, [])) for claim in claims.parts)
    for report in map_tasks(audit, parts, num_cpus=config.num_cpus):
        progress.add(report.stats)
        yield report


def _audit_part(
    part: tuple[PartClaim, Collection[int]], *, place: Location, rules: Rules, inputs: RenderInputs | None
) -> PartReport:
    """Inspect a part and make some of its lines again; all of them if its digest is wrong, to say which."""
    claim, numbers = part
    report = inspect_part(place, claim, rules)
    if inputs and any(finding.reason == "wrong_digest" for finding in report.findings):
        numbers = range(claim.spec.start, claim.spec.stop)
    if not inputs or not numbers:
        return report
    findings, num_rerendered = compare_rendered(place, claim.spec, numbers, get_line_renderer(inputs).render)
    return replace(report, findings=report.findings + findings, num_rerendered=num_rerendered)


def _draw_numbers(claims: Claims, count: int) -> dict[str, list[int]]:
    """Return that many different line numbers by the path of their part, the same for the same plan."""
    specs = [claim.spec for claim in claims.parts]
    starts = [0, *accumulate(spec.stop - spec.start for spec in specs)]
    random = keyed_generator(int(claims.plan.config_sha256[:15], 16), "rerendered lines", 0)
    drawn: dict[str, list[int]] = {}
    for place in random.choice(starts[-1], min(count, starts[-1]), replace=False).tolist():
        index = bisect_right(starts, place) - 1
        drawn.setdefault(specs[index].path, []).append(specs[index].start + place - starts[index])
    return drawn


def _gather_findings(claims: Claims, reports: list[PartReport]) -> tuple[list[Finding], list[str]]:
    """Return all that is wrong, in the order of the parts, and the files that a new run would not replace."""
    order = {claim.spec.path: rank for rank, claim in enumerate(claims.parts)}
    reports.sort(key=lambda report: order[report.stats.spec.path])
    findings = [finding for report in reports for finding in report.findings]
    to_move = [report.stats.spec.path for report in reports if report.findings and report.footer_agrees]
    strays = [
        path
        for path in list_files(claims.place)
        if path.endswith(".parquet") and path.split("/")[0] in SPLITS and path not in order
    ]
    whole = [] if findings else _check_whole(claims, reports)  # else it would only repeat what is wrong
    findings += [
        Finding(path=path, reason="foreign_part", detail="the dataset does not own it") for path in strays
    ]
    return findings + whole, to_move + strays + [MANIFEST] * bool(whole)


def _check_whole(claims: Claims, reports: Sequence[PartReport]) -> list[Finding]:
    """Return where the manifest's counts are not those of the parts, and pages that several parts hold."""
    stats = [report.stats for report in reports]
    counted = build_manifest(claims.plan, stats, balance=TextStatistics(), versions={})
    names = ("counts", "rejects")
    differing = _name_differing(
        {name: claims.manifest[name] for name in names}, {name: getattr(counted, name) for name in names}
    )
    pages = Counter(page_id for report in reports for page_id in report.page_ids)
    repeated = sorted(page_id for page_id, number in pages.items() if number > 1)
    differing += [f"pages in several parts: {', '.join(repeated[:3])}"] * bool(repeated)
    return [Finding(path=MANIFEST, reason="wrong_counts", detail=detail) for detail in differing]


def _fail(
    claims: Claims,
    findings: Sequence[Finding],
    to_move: Sequence[str],
    summary: Mapping[str, Any],
    moved: MovedConfig,
) -> NoReturn:
    """Log what is wrong and raise ProductionError with the way to mend it.

    Lines that are as they were written, but are drawn otherwise now, are not mended: to make some parts again
    would mix what two versions draw.
    """
    for finding in findings[:NUM_LOGGED]:
        lines = f" lines {finding.numbers}" if finding.numbers else ""
        log.error("%s: %s%s: %s", finding.path, finding.reason, lines, finding.detail)
    summary = {
        **summary,
        "by_reason": Counter(finding.reason for finding in findings),
        "findings": [asdict(finding) for finding in findings[:NUM_LISTED]],
    }
    redrawn, damaged = (
        {finding.path for finding in findings if finding.reason == reason}
        for reason in ("not_rerendered", "wrong_digest")
    )
    if redrawn - damaged:
        raise ProductionError(
            f"{claims.place} has lines that are as they were written, but this code or machine draws others; "
            "audit it with those that made it, or render it anew at another --out-uri",
            summary,
        )
    flags = claims.plan.flags | _list_moved(moved) | {"out-uri": claims.place.uri, "verify": "rows"}
    job = claims.plan.config["job"]
    command = write_command(job, flags) if claims.plan.flags else f"{job} as before, with --verify rows"
    move = f"move away {', '.join(to_move[:3])}{' …' * (len(to_move) > 3)}; then " if to_move else ""
    raise ProductionError(
        f"{claims.place} has {len(findings)} faults; to mend them {move}run: {command}",
        summary | {"move_away": list(to_move), "run": command},
    )

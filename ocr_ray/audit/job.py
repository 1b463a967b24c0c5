"""The job audit_lines: checks parts, rows and counts of a dataset, and renders some lines again.

Nothing is written but the page of a comparison. Each finding is reported with its file and lines, and with
the command that repairs it.
"""

import logging
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import accumulate
from typing import Any, NoReturn

from ocr_ray.audit.compare import compare_lines, format_comparison
from ocr_ray.audit.compare_page import PAGE, comparison_html
from ocr_ray.audit.config import AuditConfig, MovedConfig
from ocr_ray.audit.expected import ExpectedDataset, read_expected
from ocr_ray.audit.findings import Finding
from ocr_ray.audit.inspect_part import ExpectedPart, PartReport, Rules, inspect_part
from ocr_ray.audit.recorded_config import build_config
from ocr_ray.audit.rerender import compare_rendered
from ocr_ray.cli.flags import write_command
from ocr_ray.cluster.early_start import early_ray
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
from ocr_ray.storage.location import (
    Location,
    check_writable,
    list_files,
    locate,
    require_folder,
    write_bytes,
)
from ocr_ray.storage.strict_json import parse_json, to_json

log = logging.getLogger(__name__)

WORKER_MODULES = ("ocr_ray.audit.job", "ocr_ray.cluster.map_tasks")
"""What workers import while the driver reads the inputs."""
NUM_LISTED, NUM_LOGGED = 100, 20
"""Maximum numbers of findings in the summary and in the log."""


def audit_lines(config: AuditConfig) -> dict[str, Any]:
    """Return a summary of a dataset without findings.

    Raises:
        InputError: there is no complete dataset, or the inputs for --rerender are not those of its plan.
        ProductionError: there are findings; its summary lists them.
    """
    started_s = time.monotonic()
    expected = read_expected(require_folder(config.lines_uri, "--lines-uri"))
    if config.out_uri:
        check_writable(locate(config.out_uri, "--out-uri"), "--out-uri")
    with early_ray(num_cpus=config.num_cpus, dashboard=config.dashboard, modules=WORKER_MODULES):
        real = require_lines(config.compare, "--compare") if config.compare else None
        inputs = _plan_rerendering(expected, config.moved) if config.rerender else None
        from ocr_ray.cluster.session import ray_session

        with ray_session(num_cpus=config.num_cpus, reads=[expected.location]):
            reports = list(_audit_parts(expected, config, inputs))
    findings, to_move = _collect_findings(expected, reports)
    summary = {
        "lines_uri": expected.location.uri,
        "parts": len(reports),
        "lines": sum(report.stats.rows for report in reports),
        "rejects": sum(report.stats.num_rejects for report in reports),
        "rerendered": sum(report.num_rerendered for report in reports),
        "seconds": round(time.monotonic() - started_s, 1),
        "num_findings": len(findings),
    }
    if findings:
        _fail(expected, findings, to_move, summary, config.moved)
    log.info("%s: no findings in %d parts, %d lines", expected.location, summary["parts"], summary["lines"])
    if real:
        comparison = compare_lines(real, expected.location)
        log.info("compared with real lines:\n%s", format_comparison(comparison))
        if config.out_uri:
            page = locate(config.out_uri) / PAGE
            write_bytes(
                page, comparison_html(comparison, real, expected.location, expected.plan.flags).encode()
            )
            log.info("the comparison as a page: %s", page)
            summary["page"] = page.uri
        summary["comparison"] = {name: value for name, value in comparison.items() if name != "histograms"}
    return summary


def _plan_rerendering(expected: ExpectedDataset, moved: MovedConfig) -> RenderInputs:
    """Return the inputs that the lines were rendered from.

    Raises:
        InputError: they cannot be found or have changed since, or the dataset was not rendered.
    """
    location, flags = expected.location, expected.plan.flags
    if not expected.rules.is_rendered:
        raise InputError(f"--rerender needs rendered lines, {location} holds crops; leave it out")
    if not flags:
        raise InputError(f"--rerender needs the flags of the job, {location / PLAN} has none; leave it out")
    plan, inputs = plan_rendering(build_config(RenderConfig, flags | _list_moved(moved)))
    if differing := _list_differences(expected.plan.config, parse_json(to_json(plan.config))):
        raise InputError(
            f"--rerender needs the inputs that {location} was rendered from, these differ: "
            f"{'; '.join(differing)}; give their new locations, or install the same versions"
        )
    return inputs


def _list_moved(moved: MovedConfig) -> dict[str, Any]:
    """Return the flags of inputs that have moved."""
    return {name.replace("_", "-"): value for name, value in asdict(moved).items() if value}


def _list_differences(recorded: Any, current: Any) -> list[str]:
    """Return the fields in which two nested values differ, with both values."""
    old, new = flatten(recorded), flatten(current)
    return [
        f"{name}: {str(old.get(name))[:64]} there, {str(new.get(name))[:64]} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _audit_parts(
    expected: ExpectedDataset, config: AuditConfig, inputs: RenderInputs | None
) -> Iterator[PartReport]:
    """Yield the report of each part, in order; one task per part."""
    from ocr_ray.cluster.map_tasks import map_tasks
    from ocr_ray.cluster.progress import Progress

    numbers = _draw_numbers(expected, config.rerender)
    num_parts = len(expected.parts)
    progress = Progress(expected.location.name, num_parts=num_parts, num_pending=num_parts)
    audit = partial(_audit_part, dataset=expected.location, rules=expected.rules, inputs=inputs)
    parts = ((part, numbers.get(part.spec.path, [])) for part in expected.parts)
    for report in map_tasks(audit, parts, num_cpus=config.num_cpus):
        progress.add(report.stats)
        yield report


def _audit_part(
    part: tuple[ExpectedPart, Collection[int]],
    *,
    dataset: Location,
    rules: Rules,
    inputs: RenderInputs | None,
) -> PartReport:
    """Inspect a part and render the given lines again; all lines if its digest is wrong, to find which."""
    expected, numbers = part
    report = inspect_part(dataset, expected, rules)
    if inputs and any(finding.reason == "wrong_digest" for finding in report.findings):
        numbers = range(expected.spec.start, expected.spec.stop)
    if not inputs or not numbers:
        return report
    findings, num_rerendered = compare_rendered(
        dataset, expected.spec, numbers, get_line_renderer(inputs).render
    )
    return replace(report, findings=report.findings + findings, num_rerendered=num_rerendered)


def _draw_numbers(expected: ExpectedDataset, count: int) -> dict[str, list[int]]:
    """Return up to `count` different line numbers by the path of their part, the same for the same plan."""
    specs = [part.spec for part in expected.parts]
    starts = [0, *accumulate(spec.stop - spec.start for spec in specs)]
    random = keyed_generator(int(expected.plan.config_sha256[:15], 16), "rerendered lines", 0)
    drawn: dict[str, list[int]] = {}
    for position in random.choice(starts[-1], min(count, starts[-1]), replace=False).tolist():
        index = bisect_right(starts, position) - 1
        drawn.setdefault(specs[index].path, []).append(specs[index].start + position - starts[index])
    return drawn


def _collect_findings(
    expected: ExpectedDataset, reports: list[PartReport]
) -> tuple[list[Finding], list[str]]:
    """Return all findings, in the order of the parts, and the files that a new run would not replace."""
    order = {part.spec.path: rank for rank, part in enumerate(expected.parts)}
    reports.sort(key=lambda report: order[report.stats.spec.path])
    findings = [finding for report in reports for finding in report.findings]
    to_move = [report.stats.spec.path for report in reports if report.findings and report.footer_agrees]
    strays = [
        path
        for path in list_files(expected.location)
        if path.endswith(".parquet") and path.split("/")[0] in SPLITS and path not in order
    ]
    counts = [] if findings else _check_counts(expected, reports)  # after other findings they differ anyway
    findings += [
        Finding(path=path, reason="foreign_part", detail="the dataset does not own it") for path in strays
    ]
    return findings + counts, to_move + strays + [MANIFEST] * bool(counts)


def _check_counts(expected: ExpectedDataset, reports: Sequence[PartReport]) -> list[Finding]:
    """Return where the manifest's counts differ from those of the parts, and pages in several parts."""
    stats = [report.stats for report in reports]
    counted = build_manifest(expected.plan, stats, texts=TextStatistics(), versions={})
    names = ("counts", "rejects")
    differing = _list_differences(
        *({name: getattr(manifest, name) for name in names} for manifest in (expected.manifest, counted))
    )
    pages = Counter(page_id for report in reports for page_id in report.page_ids)
    repeated = sorted(page_id for page_id, number in pages.items() if number > 1)
    differing += [f"pages in several parts: {', '.join(repeated[:3])}"] * bool(repeated)
    return [Finding(path=MANIFEST, reason="wrong_counts", detail=detail) for detail in differing]


def _fail(
    expected: ExpectedDataset,
    findings: Sequence[Finding],
    to_move: Sequence[str],
    summary: Mapping[str, Any],
    moved: MovedConfig,
) -> NoReturn:
    """Log the findings and raise ProductionError with the command that repairs the dataset.

    There is none for lines that are intact but rendered differently now: making their parts again would mix
    the output of two versions.
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
            f"{expected.location} has intact lines that this code or machine renders differently; "
            "audit it with the code and machine that made it, or render it again at another --out-uri",
            summary,
        )
    flags = expected.plan.flags | _list_moved(moved) | {"out-uri": expected.location.uri, "verify": "rows"}
    job = expected.plan.config["job"]
    command = write_command(job, flags) if expected.plan.flags else f"{job} as before, with --verify rows"
    move = f"move away {', '.join(to_move[:3])}{' …' * (len(to_move) > 3)}; then " if to_move else ""
    raise ProductionError(
        f"{expected.location} has {len(findings)} findings; to repair it {move}run: {command}",
        summary | {"move_away": list(to_move), "run": command},
    )

"""The layers of the package and the allowed places of heavy libraries, held by reading every import.

layer 4  jobs/            flags and one call
layer 3  the wiring       Ray
layer 2  the rooms        one stage each, callable in a plain loop
layer 1  what is written, error counts, the files of a dataset
layer 0  the row vocabulary, URIs, errors, randomness, images
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"text": 1, "launch": 1, "render": 2, "pages": 2, "training": 2, "evaluation": 2}
MODULES = {
    "errors": 0,
    "randomness": 0,
    "lines": 0,
    "commands": 0,
    "findings": 0,
    "logs": 0,
    "storage": 0,
    "storage_errors": 0,
    "s3": 0,
    "images": 0,
    "metrics": 1,
    "parts": 1,
    "balance": 1,
    "manifests": 1,
    "labelled": 1,
    "cards": 1,
    "contact_sheet": 1,
    "cli": 3,
    "cluster": 3,
    "clustering": 3,
    "spot": 3,
    "shards": 3,
    "inspection": 2,
    "rerendering": 2,
    "comparison": 2,
    "claims": 3,
    "material": 3,
    "rendering": 3,
    "cropping": 3,
    "progress": 3,
    "quickstart": 3,
    "audit": 3,
    "planning": 3,
    "training/trainer": 3,
    "training/worker": 3,
    "stopping": 3,
    "surveying": 3,
    "stragglers": 3,
    "labelling": 3,
    "readers": 3,
    "evaluating": 3,
    "evaluation/predict": 3,
}
"""Modules that stand outside the rooms, or above the room whose folder they are in."""

ACROSS = {
    "storage": {"errors", "storage_errors", "s3"},
    "s3": {"errors"},
    "images": {"errors"},
    "logs": {"errors"},
    "pages": {"render/fonts"},
    "metrics": {"text/canonical"},
    "balance": {"text/hangul"},
    "parts": {"balance"},
    "manifests": {"parts", "balance"},
    "labelled": {"manifests"},
    "shards": {"cluster", "progress", "stragglers"},
    "stragglers": {"cluster"},
    "rendering": {"cluster", "shards", "material"},
    "cropping": {"cluster", "shards", "surveying"},
    "audit": {"cluster", "rendering", "progress", "claims"},
    "claims": {"rendering", "cropping"},
    "labelling": {"cluster", "shards", "readers", "surveying"},
    "stopping": {"cluster"},
    "surveying": {"cluster"},
    "readers": {"evaluation/predict"},
    "planning": {"rendering", "material"},
    "training/trainer": {"cluster", "stopping", "training/worker"},
    "training/worker": {"cluster", "progress", "stopping"},
    "evaluation/predict": {"cluster", "progress"},
    "evaluating": {"cluster", "evaluation/predict"},
    "quickstart": {"cluster", "rendering", "cropping", "training/trainer", "evaluating"},
}
"""Who may import whom within one layer, by module or room; modules of one room may import each other."""

HEAVY = {
    "cv2": ("render/", "pages/"),
    "torch": ("training/", "evaluation/predict"),
    "transformers": ("training/", "evaluation/predict"),
    "trdg": ("render/trdg",),
    "matplotlib": ("training/curves",),
    "tensorboardX": ("training/events",),
    "ray": tuple(sorted(name for name, layer in MODULES.items() if layer == 3)),
}
"""The libraries that cost memory, time or system packages, and the modules or rooms that may import them."""

PACKAGE_FILES = sorted(path for path in (ROOT / "ocr_ray").rglob("*.py") if path.name != "__init__.py")
JOB_FILES = sorted(path for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py")


def module_name(path: Path) -> str:
    """Return a file's name in the tables above: `lines`, `render/fonts`, `jobs/quickstart`."""
    name = path.relative_to(ROOT).with_suffix("").as_posix()
    return name.removeprefix("ocr_ray/")


def room_of(module: str) -> str:
    """Return the room that a module belongs to, or the module itself where it stands alone."""
    return module if module in MODULES else module.split("/")[0]


def layer_of(module: str) -> int:
    return 4 if module.startswith("jobs/") else MODULES.get(module, ROOMS.get(room_of(module), -1))


def read_imports(path: Path) -> list[str]:
    """Return the dotted name of everything a file imports, inside functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports must be absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_imports(path: Path) -> set[str]:
    """Return the modules of this project that a file imports, by their names in the tables above."""
    found = set()
    for name in read_imports(path):
        parts = name.split(".")
        if parts[0] not in ("ocr_ray", "jobs"):
            continue
        # `from ocr_ray.lines import TextLine` names a thing, `from ocr_ray import lines` a module.
        while parts and not (file := ROOT.joinpath(*parts).with_suffix(".py")).is_file():
            parts.pop()
        if parts:
            found.add(module_name(file))
    return found


def may_import(importer: str, imported: str) -> bool:
    if layer_of(imported) != layer_of(importer):
        return layer_of(imported) < layer_of(importer)
    if room_of(importer) == room_of(imported) and room_of(importer) in ROOMS:
        return True
    return imported in ACROSS.get(room_of(importer), set())


def test_every_module_has_a_place_in_the_table() -> None:
    homeless = [module_name(path) for path in PACKAGE_FILES if layer_of(module_name(path)) < 0]
    assert not homeless, f"give these modules a layer in MODULES or a room in ROOMS: {homeless}"


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    importer = module_name(path)
    wrong = [
        f"ocr_ray/{importer}.py (layer {layer_of(importer)}) imports {imported} (layer {layer_of(imported)})"
        for imported in sorted(own_imports(path))
        if not may_import(importer, imported)
    ]
    assert not wrong, "imports must point downwards, never up or across: " + "; ".join(wrong)


def test_imports_go_in_no_circle() -> None:
    graph = {module_name(path): own_imports(path) for path in PACKAGE_FILES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("path", PACKAGE_FILES + JOB_FILES, ids=module_name)
def test_heavy_libraries_are_imported_in_their_places_only(path: Path) -> None:
    module = module_name(path)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}, which belongs to {', '.join(HEAVY[library])}"
        for name in read_imports(path)
        if (library := name.split(".")[0]) in HEAVY
        and not any(
            module == place or (place[-1] == "/" and module.startswith(place)) for place in HEAVY[library]
        )
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("path", JOB_FILES, ids=module_name)
def test_a_job_is_one_short_main(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    body = ast.parse(source).body
    defined = [
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defined == ["main"], (
        f"{path.relative_to(ROOT)} must define `main` and nothing else, defines {defined}"
    )
    num_lines = len(source.splitlines())
    assert num_lines <= 40, f"{path.relative_to(ROOT)} must have at most 40 lines, has {num_lines}"


@pytest.mark.parametrize("path", JOB_FILES, ids=module_name)
def test_a_job_is_imported_by_no_one_and_reaches_only_for_the_wiring(path: Path) -> None:
    wrong = sorted(imported for imported in own_imports(path) if layer_of(imported) != 3)
    assert not wrong, f"{path.relative_to(ROOT)} must import layer 3 only, imports {', '.join(wrong)}"
    importers = [str(other) for other in PACKAGE_FILES + JOB_FILES if module_name(path) in own_imports(other)]
    assert not importers, f"{path.relative_to(ROOT)} is imported by {', '.join(importers)}"


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (["ocr_ray.render.trdg", "ocr_ray.text.sampler"], ["torch", "transformers", "ray"]),
        (["ocr_ray.render.lines", "ocr_ray.text.tokenizing"], ["torch", "transformers", "ray", "trdg"]),
        (["ocr_ray.pages.crop", "ocr_ray.pages.labels"], ["torch", "transformers", "ray", "trdg"]),
        (["ocr_ray.training.loop"], ["trdg", "ray", "cv2"]),
        (["ocr_ray.evaluation.report", "ocr_ray.metrics"], ["torch", "transformers", "ray", "cv2", "trdg"]),
    ],
    ids=["render", "render without trdg", "pages", "training", "evaluation"],
)
def test_a_stage_loads_no_library_of_another(modules: list[str], unwanted: list[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(*sorted(set({unwanted}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [], f"importing {modules} loads {run.stdout.strip()}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("jobs/quickstart", "quickstart", True),
        ("quickstart", "rendering", True),
        ("rendering", "quickstart", False),
        ("evaluation/predict", "training/trainer", False),
        ("rendering", "shards", True),
        ("shards", "rendering", False),
        ("cli", "cluster", False),
        ("shards", "parts", True),
        ("training/trainer", "training/loop", True),
        ("training/loop", "training/trainer", False),
        ("training/loop", "training/feed", True),
        ("training/feed", "evaluation/report", False),
        ("pages/maker", "render/fonts", True),
        ("pages/maker", "render/trdg", False),
        ("render/style", "text/corpus", True),
        ("text/corpus", "render/style", False),
        ("storage", "errors", True),
        ("errors", "storage", False),
    ],
)
def test_the_rule_itself_tells_down_from_up_and_across(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) == allowed

"""The rooms of the package: what each may import, and where heavy libraries may be used.

Every import of every file is read, those inside functions too.
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "errors": "",
    "randomness": "",
    "html_page": "",
    "storage": "errors",
    "text": "errors",
    "metrics": "text",
    "cli": "errors storage",
    "aws": "errors storage",
    "dataset": "errors randomness storage text cli",
    "textgen": "errors randomness storage text dataset",
    "model": "errors storage text dataset",
    "cluster": "errors storage cli dataset",
    "render": "errors randomness storage text cli dataset textgen model cluster",
    "pages": "errors randomness html_page storage text cli dataset model cluster",
    "training": "errors randomness storage text metrics cli dataset model cluster",
    "evaluation": "errors randomness html_page storage text metrics cli dataset model cluster",
    "audit": "errors randomness html_page storage text cli dataset textgen cluster render pages",
    "reading": "errors storage dataset model pages",
    "experiment": (
        "errors randomness html_page storage metrics cli dataset textgen model cluster render pages training "
        "evaluation"
    ),
    "quickstart": "experiment",
}
"""Each folder or module of the package, from the ground up, and what it may import: rooms above it only."""

HEAVY = {
    "cv2": "render pages dataset/versions",
    "torch": "model training",
    "transformers": "model training",
    "trdg": "render/trdg",
    "gradio": "reading/demo",
    "pypdfium2": "reading/files",
    "matplotlib": "training/tracking",
    "tensorboardX": "training/tracking",
    "wandb": "training/tracking/services",
    "mlflow": "training/tracking/services",
    "ray": "cluster aws */job evaluation/predict training/worker experiment/runs",
}
"""The libraries that cost memory, time or system packages, and the rooms or modules that may import them."""

DRIVERS = [
    *("ocr_ray.render.job", "ocr_ray.pages.crop_job", "ocr_ray.pages.label_job", "ocr_ray.audit.job"),
    *("ocr_ray.training.finished", "ocr_ray.evaluation.job", "ocr_ray.experiment.job"),
    "ocr_ray.reading.job",
]
"""What the jobs import before they know that there is work: the rest takes seconds."""
PART_MAKERS = ["ocr_ray.cluster.make_parts", "ocr_ray.render.lines", "ocr_ray.pages.crop_part"]
PACKAGE_FILES = sorted(path for path in (ROOT / "ocr_ray").rglob("*.py") if path.name != "__init__.py")
JOB_FILES = sorted(path for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py")


def module_name(path: Path) -> str:
    """Return a file's name in the tables above: `render/style`, `jobs/quickstart`."""
    return path.relative_to(ROOT).with_suffix("").as_posix().removeprefix("ocr_ray/")


def room_of(module: str) -> str:
    return module.split("/")[0]


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
    modules = set()
    for name in read_imports(path):
        parts = name.split(".")
        if parts[0] not in ("ocr_ray", "jobs"):
            continue
        # `from ocr_ray.metrics import cer` names a function, `from ocr_ray import metrics` a module.
        while parts and not (file := ROOT.joinpath(*parts).with_suffix(".py")).is_file():
            parts.pop()
        if parts:
            modules.add(module_name(file))
    return modules


def may_import(importer: str, imported: str) -> bool:
    room, other = room_of(importer), room_of(imported)
    return room == other or other in ROOMS[room].split()


def may_use(module: str, library: str) -> bool:
    return any(
        module == place or module.startswith(f"{place}/") or (place == "*/job" and module.endswith("job"))
        for place in HEAVY[library].split()
    )


def test_the_package_holds_the_rooms_of_the_list_and_at_most_six_modules() -> None:
    inside = {path.stem for path in (ROOT / "ocr_ray").iterdir() if path.name[0] not in "_."}
    assert inside - {"py"} == set(ROOMS)
    assert len(list((ROOT / "ocr_ray").glob("[a-z]*.py"))) <= 6


def test_a_room_imports_only_rooms_that_stand_above_it_in_the_list() -> None:
    order = list(ROOMS)
    wrong = [
        (room, other)
        for room, others in ROOMS.items()
        for other in others.split()
        if order.index(other) >= order.index(room)
    ]
    assert not wrong


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=module_name)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    importer = module_name(path)
    wrong = [imported for imported in sorted(own_imports(path)) if not may_import(importer, imported)]
    assert not wrong, f"{importer} imports {wrong}; its room may import {ROOMS[room_of(importer)]}"


def test_imports_go_in_no_circle() -> None:
    graph = {module_name(path): own_imports(path) for path in PACKAGE_FILES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("path", PACKAGE_FILES + JOB_FILES, ids=module_name)
def test_heavy_libraries_are_imported_in_their_places_only(path: Path) -> None:
    module = module_name(path)
    wrong = [
        name
        for name in read_imports(path)
        if (library := name.split(".")[0]) in HEAVY and not may_use(module, library)
    ]
    assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("path", JOB_FILES, ids=module_name)
def test_a_job_is_one_short_main(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    defined = [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert defined == ["main"], f"{module_name(path)} must define `main` and nothing else, defines {defined}"
    assert len(source.splitlines()) <= 40


@pytest.mark.parametrize("path", JOB_FILES, ids=module_name)
def test_a_job_is_imported_by_no_one(path: Path) -> None:
    importers = [str(other) for other in PACKAGE_FILES + JOB_FILES if module_name(path) in own_imports(other)]
    assert not importers, f"{module_name(path)} is imported by {', '.join(importers)}"


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (["ocr_ray.render.trdg", "ocr_ray.textgen.sampler"], ["torch", "transformers", "ray"]),
        (["ocr_ray.render.inputs", "ocr_ray.text.tokenizer"], ["torch", "transformers", "ray", "trdg"]),
        (["ocr_ray.pages.crop", "ocr_ray.pages.labels.read"], ["torch", "transformers", "ray", "trdg"]),
        (["ocr_ray.training.loop"], ["trdg", "ray", "cv2"]),
        (["ocr_ray.evaluation.report", "ocr_ray.metrics"], ["torch", "transformers", "ray", "cv2", "trdg"]),
        (DRIVERS, ["ray", "torch", "transformers", "pandas", "matplotlib", "tensorboardX", "trdg"]),
        (PART_MAKERS, ["ray.data", "ray.train", "torch", "transformers", "pandas", "matplotlib", "trdg"]),
    ],
    ids=[
        *("render", "render without trdg", "pages", "training", "evaluation"),
        *("jobs until work begins", "workers that make parts"),
    ],
)
def test_a_room_loads_no_library_of_another(modules: list[str], unwanted: list[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(*sorted(set({unwanted}) & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [], f"importing {modules} loads {run.stdout.strip()}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("quickstart", "experiment/job", True),
        ("render/job", "quickstart", False),
        ("render/job", "pages/crop_job", False),
        ("pages/label_job", "model/reader", True),
        ("model/reader", "pages/crop", False),
        ("cluster/produce", "render/job", False),
        ("cluster/produce", "dataset/parts", True),
        ("training/loop", "training/data/loader", True),
        ("training/loop", "evaluation/report", False),
        ("textgen/corpus", "render/style", False),
        ("storage/location", "errors", True),
        ("errors", "storage/location", False),
    ],
)
def test_the_list_itself_tells_right_from_wrong(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) == allowed

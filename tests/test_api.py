"""The public names of `import ocr_ray`: the import is light, and the documented examples run."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.data

import ocr_ray
from ocr_ray.dataset.open_lines import as_datasets, open_lines
from ocr_ray.errors import InputError
from ocr_ray.model.recognizer import load_recognizer
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import render_lines

FUNCTIONS = [name for name in ocr_ray.__all__ if name[0].islower()]


@pytest.fixture(scope="module")
def folder(ray_session, fonts, model_folder, tmp_path_factory) -> Path:
    """The working directory of the examples: `data/lines` holds six lines, `models/best_ocr` a model."""
    folder = tmp_path_factory.mktemp("api")
    names = tuple(font.name for font in fonts)
    render_lines(
        RenderConfig(out_uri=str(folder / "data/lines"), num_lines=6, fonts=names, validation_share=0)
    )
    shutil.copytree(model_folder, folder / "models/best_ocr")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function_runs(name: str, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(ocr_ray, name), name)
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_importing_the_package_imports_none_of_its_rooms_and_no_library() -> None:
    program = "import sys, ocr_ray; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = run.stdout.split()
    assert [name for name in imported if name.startswith("ocr_ray")] == ["ocr_ray"]
    assert not {"numpy", "pyarrow", "PIL", "ray", "torch", "transformers", "tyro"} & set(imported)


def test_every_public_name_is_there_and_others_are_not() -> None:
    assert set(ocr_ray.__all__) <= set(dir(ocr_ray))
    assert all(getattr(ocr_ray, name) is not None for name in ocr_ray.__all__)
    with pytest.raises(AttributeError, match="no attribute 'render_page'"):
        ocr_ray.render_page  # noqa: B018


@pytest.mark.slow
def test_lines_are_read_by_index_and_in_order(folder: Path) -> None:
    lines = open_lines(str(folder / "data/lines"))
    assert [line.line_id for line in lines] == [f"{number:09d}" for number in range(6)]
    assert lines[-1] == lines[5] == lines[4:][1]
    assert [row["text"] for row in as_datasets(str(folder / "data/lines"))] == [line.text for line in lines]
    with pytest.raises(IndexError, match="less than 6, got 6"):
        lines[6]


@pytest.mark.slow
def test_a_missing_datasets_package_is_named(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"as_datasets needs the package datasets: pip install \"datasets\""):
        as_datasets(str(folder / "data/lines"))


@pytest.mark.slow
def test_loader_processes_read_lines_in_order(folder: Path) -> None:
    lines = open_lines(str(folder / "data/lines"))
    loader = torch.utils.data.DataLoader(lines, batch_size=2, num_workers=2, collate_fn=list)
    assert [line for batch in loader for line in batch] == list(lines)


@pytest.mark.slow
def test_a_wrong_dataset_split_or_image_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="complete dataset"):
        open_lines(str(tmp_path))
    with pytest.raises(InputError, match="must be one of train, validation, test, got 'dev'"):
        open_lines(str(folder / "data/lines"), "dev")
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(InputError, match=r"notes\.png must be a PNG or JPEG file"):
        load_recognizer(str(folder / "models/best_ocr"), use_gpu=False).read([tmp_path / "notes.png"])

"""`ocr-ray read` and `ocr_ray.read`: lines, pages, folders and PDFs, and what cannot be read."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import ocr_ray
from ocr_ray.cli.commands import run_named_job
from ocr_ray.dataset.images import encode_as_file
from ocr_ray.errors import InputError
from ocr_ray.model.pixels import make_pixels
from ocr_ray.model.recognizer import Recognizer, load_recognizer
from ocr_ray.render.one_line import render_line

TEXTS = ["탁자 7개에 앉으려고", "3 × 8 = 24", "모두 몇 개인지"]


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def model(model_folder: Path, tmp_path_factory) -> str:
    """The tiny model, whose readings end after seven tokens."""
    folder = tmp_path_factory.mktemp("short") / "model"
    shutil.copytree(model_folder, folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**generation, "max_length": 8}))
    return str(folder)


@pytest.fixture(scope="module")
def recognizer(model: str) -> Recognizer:
    return load_recognizer(model, use_gpu=False)


@pytest.fixture(scope="module")
def page(fonts) -> Image.Image:
    """Three lines of print at x 20 and y 20, 60, 100."""
    image = Image.new("L", (400, 160), 255)
    face = ImageFont.truetype(io.BytesIO(fonts[1].content), 20, fonts[1].face)
    for rank, text in enumerate(TEXTS):
        ImageDraw.Draw(image).text((20, 20 + 40 * rank), text, 0, font=face)
    return image


@pytest.fixture
def files(page: Image.Image, tmp_path: Path) -> Path:
    """A folder with an image of a line, a page, and a label of the page with two boxes."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    render_line(TEXTS[1]).save(folder / "line.png")
    page.save(folder / "sub" / "page.png")
    (folder / ".hidden.png").write_text("no image")
    boxes = [{"type": "line", "bbox": [10, y, 390, y + 30], "text": ""} for y in (95, 15)]
    label = {"OCR_info": [{"question_text": "", "question_bbox": boxes}]}
    (folder / "sub" / "page.json").write_text(json.dumps(label))
    return folder


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        run_named_job("read", arguments=words)
    return int(exit_info.value.code or 0)


def test_a_line_is_read_as_it_is_and_a_page_line_by_line(recognizer, page, tmp_path) -> None:
    line = render_line(TEXTS[1])
    (whole,) = ocr_ray.read(recognizer, line)
    (alone,) = recognizer.read([line])
    assert (whole.text, whole.confidence, whole.box) == (
        alone.text,
        alone.confidence,
        (0, 0, line.width, line.height),
    )
    lines = ocr_ray.read(recognizer, [page])
    crops = [page.crop(found.box) for found in lines]
    assert [found.text for found in lines] == [reading.text for reading in recognizer.read(crops)]
    assert [(found.file, found.page, found.box[1] // 40) for found in lines] == [
        ("image 0", 1, rank) for rank in range(3)
    ]
    photo = page.transpose(Image.Transpose.ROTATE_90)  # stored on its side, as cameras do
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.png", exif=exif)
    assert [found.box for found in ocr_ray.read(recognizer, tmp_path / "photo.png")] == [
        found.box for found in lines
    ]


def test_grey_images_stay_grey_on_their_way_to_the_model(recognizer, page) -> None:
    line = render_line(TEXTS[0])
    opened = [Image.open(io.BytesIO(encode_as_file(image, "x"))) for image in (line, line.convert("RGB"))]
    grey, coloured = (make_pixels(recognizer._model, [image]) for image in opened)
    assert [image.mode for image in opened] == ["L", "RGB"]
    assert (str(grey.dtype), str(coloured.dtype)) == ("torch.uint8", "torch.float32")  # the fast path
    (one,), (other,) = recognizer.read([line]), recognizer.read([line.convert("RGB")])
    assert (one.text, one.confidence) == (other.text, pytest.approx(other.confidence, rel=1e-4))
    paper = Image.merge("LA", (Image.new("L", line.size, 0), line.point(lambda level: 255 - level)))
    assert recognizer.read([paper])[0].text  # black on transparent paper, which is put on white
    with pytest.raises(InputError, match=r"image of image 1 must have 8 bits"):
        recognizer.read([line, Image.fromarray(np.zeros((9, 9), np.uint16))])


def test_a_folder_gives_json_lines_in_the_order_of_names(files, model, capsys) -> None:
    assert run(str(files), "--model", model) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [f"{files}/line.png"] + 3 * [f"{files}/sub/page.png"]
    assert all(line.keys() == {"file", "page", "box", "text", "confidence", "flags"} for line in lines)
    assert all(0 < line["confidence"] < 1 for line in lines)


def test_boxes_are_those_of_the_label_in_its_order(files, recognizer, tmp_path) -> None:
    page, label = files / "sub/page.png", files / "sub/page.json"
    for boxes in (label, label.parent):
        lines = ocr_ray.read(recognizer, page, boxes=str(boxes))
        assert [line.box for line in lines] == [(10, 95, 390, 125), (10, 15, 390, 45)]
    (tmp_path / "notes.txt").write_text("no label")
    (tmp_path / "empty").mkdir()
    for images, boxes, message in (
        (files, label, "--boxes must be a folder of labels for 2 images"),
        (page, tmp_path / "none.json", r"--boxes must be an existing file or folder, .*none\.json"),
        (page, tmp_path / "notes.txt", r"the label of .*page\.png must hold boxes of lines: bad_json"),
        (page, tmp_path / "empty", r"--boxes must hold a label for each image, .*empty has no page\.json"),
    ):
        with pytest.raises(InputError, match=message):
            ocr_ray.read(recognizer, images, boxes=str(boxes))


def test_a_terminal_shows_a_table_unless_json_is_asked_for(files, model, monkeypatch) -> None:
    for flags, first in (([], "image"), (["--json"], "{")):
        shown = Terminal()
        monkeypatch.setattr(sys, "stdout", shown)
        assert run(str(files / "line.png"), "--model", model, *flags) == 0
        assert shown.getvalue().lstrip("\x1b[0123456789m").startswith(first)
        assert "line.png" in shown.getvalue()


def test_a_pdf_is_read_page_by_page(recognizer, page, tmp_path) -> None:
    path = tmp_path / "pages.pdf"
    blank = Image.new("L", page.size, 255)
    page.save(path, save_all=True, append_images=[blank, page], resolution=100)  # drawn at 200 dpi
    lines = ocr_ray.read(recognizer, path)
    assert [line.page for line in lines] == [1, 1, 1, 3, 3, 3]
    wanted = [[2 * side for side in line.box] for line in ocr_ray.read(recognizer, page)]
    for line, box in zip(lines, [*wanted, *wanted], strict=True):
        assert np.abs(np.subtract(line.box, box)).max() <= 6
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError, match=r"pages\.pdf must be a PDF that opens without a password"):
        ocr_ray.read(recognizer, path)


def test_a_missing_pdf_library_is_named(recognizer, tmp_path, monkeypatch) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(InputError, match=r'a\.pdf needs the package pypdfium2: pip install "ocr_ray\[pdf\]"'):
        ocr_ray.read(recognizer, tmp_path / "a.pdf")


def test_a_broken_image_among_others_is_named_and_the_others_are_read(files, model, capfd) -> None:
    (files / "broken.png").write_bytes((files / "line.png").read_bytes()[:200])
    (files / "notes.png").write_text("no image")
    assert run(str(files), "--model", model) == 1
    shown = capfd.readouterr()
    names = [Path(json.loads(line)["file"]).name for line in shown.out.splitlines()]
    assert names == ["line.png", *3 * ["page.png"]]
    assert "broken.png must be a PNG, JPEG or PDF file" in shown.err
    assert f"2 of the images cannot be read as a whole: {files}/broken.png, {files}/notes.png" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.png"], "an image must be an existing file or folder, none.png does not exist"),
        (["empty"], "empty must hold images (.png, .jpg, .pdf), the folder has none"),
        (["notes.txt"], "notes.txt must be a PNG, JPEG or PDF file: a page must be"),
        (["page.png", "--model", "empty"], "a model must be a Hugging Face folder with config.json"),
    ],
)
def test_a_wrong_input_exits_2_with_its_name(
    words, message, page, model, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").write_text("no image")
    page.save("page.png")
    assert run(*words, *([] if "--model" in words else ["--model", model])) == 2
    shown = capfd.readouterr()
    assert message in " ".join(shown.err.split())
    assert shown.out == ""
    assert "Traceback" not in shown.err

"""The model of the package reads fonts that it never saw, drawn by Pillow and not by this package."""

import io
from pathlib import Path

import jiwer
import pytest
from PIL import Image, ImageDraw, ImageFont

import ocr_ray
import ocr_ray.model
from ocr_ray.model.facts import read_facts
from ocr_ray.render.fonts.find import find_fonts
from ocr_ray.storage.location import locate_model

FOLDER = Path(ocr_ray.model.__path__[0]) / "base"
UNSEEN_FONTS = ("나눔스퀘어", "나눔명조")
TEXTS = (
    "학생들이 탁자 7개에 똑같이 나누어",
    "개에 6명씩 앉았다면 학생은 모두",
    "삼각형의 넓이는 몇 cm인지 구해",
    "한 변의 길이가 9 cm인 정사각형",
    "몫과 나머지를 차례로 구해 보세요.",
    "두 수의 합이 가장 큰 것을 고르",
    "35 + 48 = 83",
    "144 ÷ 12 = □",
    "① 28 ② 35 ③ 42",
    "0.7 + 1.5 = 2.2",
)
MAX_CER = 0.15


def draw(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (round(right - left) + 8, round(bottom - top) + 8), 255)
    ImageDraw.Draw(image).text((4 - left, 4 - top), text, font=font, fill=20)
    return image


@pytest.mark.parametrize("name", UNSEEN_FONTS)
def test_it_reads_lines_in_a_font_that_training_never_saw(name: str) -> None:
    (found,) = find_fonts((name,))
    font = ImageFont.truetype(io.BytesIO(found.content), 24, index=found.face)
    readings = ocr_ray.load_recognizer("base").read([draw(text, font) for text in TEXTS])
    assert jiwer.cer(list(TEXTS), [reading.text for reading in readings]) < MAX_CER


def test_it_is_small_and_names_no_place_of_the_machine_that_made_it() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    for path in files:
        if path.suffix in (".json", ".md"):
            assert '": "/' not in path.read_text(encoding="utf-8")
    assert read_facts(locate_model("base")).label_column == "text"

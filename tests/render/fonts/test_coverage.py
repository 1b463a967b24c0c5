import pytest
from builders.fonts import save_font, start_font

from ocr_ray.render.fonts.coverage import find_drawable, find_shared_drawable
from ocr_ray.render.fonts.find import Font

BOX = ((100, 0), (100, 700), (400, 700), (400, 0))
SHIFTED_BOX = tuple((x + 125, y) for x, y in BOX)  # 6 px at 48 px
TRIANGLE = ((100, 0), (250, 700), (400, 0))
BLANK = ()
KS_X_1001 = [bytes([row, cell]).decode("euc_kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)]


def build_font(outlines: dict[str, tuple], *, notdef: tuple = BOX, mapped_to_notdef: str = "") -> Font:
    """Return a font with one polygon per character."""
    builder = start_font(outlines, notdef=notdef)
    for table in builder.font["cmap"].tables:
        table.cmap |= dict.fromkeys(map(ord, mapped_to_notdef), ".notdef")
    return Font(name="polygons", file_name="polygons.ttf", content=save_font(builder))


@pytest.mark.parametrize("notdef", [BOX, BLANK], ids=["box", "blank"])
def test_a_character_with_ink_of_its_own_is_drawable(notdef: tuple) -> None:
    font = build_font({"a": TRIANGLE, "d": BLANK}, notdef=notdef, mapped_to_notdef="b")
    assert find_drawable(font, "abcd") == {"a"}


@pytest.mark.parametrize("copy", [BOX, SHIFTED_BOX], ids=["in place", "shifted"])
def test_the_box_for_missing_characters_is_drawable_only_for_box_characters(copy: tuple) -> None:
    font = build_font({"a": TRIANGLE, "가": copy, "□": copy, "ㅁ": copy, "口": BLANK}, mapped_to_notdef="▯")
    assert find_drawable(font, "a가□ㅁ口▯") == set("a□ㅁ")


def test_white_space_can_be_blank_but_not_a_box_or_missing() -> None:
    font = build_font({"a": TRIANGLE, " ": BLANK, "\u3000": BOX, "\u200b": BLANK})
    assert find_drawable(font, "a \u3000\u200b\u00a0") == set("a ")


def test_characters_of_every_font_are_shared_and_the_others_listed_by_font() -> None:
    full = build_font({"a": TRIANGLE, "b": TRIANGLE, "c": TRIANGLE})
    partial = Font(name="some", file_name="x", content=build_font({"c": TRIANGLE, "b": BLANK}).content)
    assert find_shared_drawable([full, partial], "cab") == (frozenset("c"), {"some": ["a", "b"]})
    assert find_shared_drawable([full], "ab") == (frozenset("ab"), {})


def test_the_installed_fonts_draw_ks_x_1001_and_the_signs_of_arithmetic(fonts) -> None:
    wanted = {
        *KS_X_1001,
        *"0123456789+-×÷=□()<>{}:%.,?!~·…°℃→○△☆①②③④⑤㉠㉡㉢㉣㉤㉥㉮㉯㉰㉱ㄱㄴㄷㄹㅁㅂ〈〉²³ ",
    }
    assert len(wanted) > len(KS_X_1001) == 2350
    assert find_shared_drawable(fonts, wanted) == (wanted, {})

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from builders.training_data import draw_text
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.training.data.augment import (
    Augmentation,
    AugmentConfig,
    Augmenter,
    apply_augmentation,
    draw_augmentation,
)

LINE = draw_text("desk 216 + 80 = 296")
ALWAYS = AugmentConfig(share=1.0, edge_px=(-3, 3), slant=(-0.12, 0.12))
Floats = npt.NDArray[np.float64]


def as_stored(line: Image.Image) -> Image.Image:
    """Return the line as a dataset stores it: a square of 384 px."""
    return Image.open(io.BytesIO(encode_image(line, ImageConfig(format="png"))))


def draw_bar(width: int = 60, height: int = 40) -> Image.Image:
    """Return a black bar of 6 x 20 px in the middle of white paper."""
    pixels = np.full((height, width), 255, np.uint8)
    pixels[height // 2 - 10 : height // 2 + 10, width // 2 - 3 : width // 2 + 3] = 0
    return Image.fromarray(pixels)


def darkness_of(image: Image.Image) -> Floats:
    """Return how dark each pixel is, 0 (white) to 1."""
    return 1 - np.asarray(image, dtype=np.float64) / 255


def change(image: Image.Image, size_px: tuple[int, int] | None = None, **drawn: object) -> Image.Image:
    return apply_augmentation(image, Augmentation(**drawn), size_px or image.size)  # type: ignore[arg-type]


def mean_and_variance(weights: Floats) -> tuple[float, float]:
    positions = np.arange(len(weights))
    mean = float((weights * positions).sum() / weights.sum())
    return mean, float((weights * (positions - mean) ** 2).sum() / weights.sum())


@pytest.mark.parametrize("source", ["words", "sentence", "arithmetic", "mixed"])
def test_rendered_lines_stay_as_they_are(source: str) -> None:
    augment = Augmenter(config=ALWAYS)
    assert augment(LINE, source=source, line_id="000000001", epoch=0) is LINE


@pytest.mark.parametrize("source", ["page", "spliced"])
def test_a_line_of_real_print_looks_different_in_every_epoch(source: str) -> None:
    augment = Augmenter(config=ALWAYS)
    looks = {augment(LINE, source=source, line_id="p#1", epoch=epoch).tobytes() for epoch in range(20)}
    assert len(looks | {LINE.tobytes()}) == 21


def test_a_line_depends_on_seed_epoch_and_id_and_on_no_line_before_it() -> None:
    def draw(seed: int, epoch: int, line_id: str) -> Augmentation:
        return draw_augmentation(ALWAYS, seed=seed, epoch=epoch, line_id=line_id)

    one = draw(7, 3, "쪽#1")
    assert len({draw(*key) for key in [(7, 3, "쪽#1"), (8, 3, "쪽#1"), (7, 4, "쪽#1"), (7, 3, "쪽#2")]}) == 4
    assert draw(7, 3, "쪽#1") == one
    # Fixed values: a run resumed with a later version must see the same lines.
    assert one.edges_px == (-3, 0, -3, 1)
    assert one.slant == pytest.approx(0.0432397363)


def test_threads_give_the_pixels_of_a_plain_loop() -> None:
    augment = Augmenter(config=AugmentConfig(share=0.5), seed=3)

    def change_line(number: int) -> bytes:
        return augment(LINE, source="page", line_id=f"p#{number}", epoch=1).tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(change_line, range(200))) == [change_line(number) for number in range(200)]


def test_each_change_is_applied_to_its_share_of_lines_within_its_range() -> None:
    config = AugmentConfig(share=0.3, black=(5, 64), white=(200, 250), edge_px=(1, 3))
    drawn = [draw_augmentation(config, seed=0, epoch=0, line_id=str(number)) for number in range(4000)]
    plain = Augmentation()
    for field in fields(Augmentation):
        met = [value for one in drawn if (value := getattr(one, field.name)) != getattr(plain, field.name)]
        assert 0.27 < len(met) / len(drawn) < 0.33, field.name  # 4 standard deviations
        low, high = getattr(config, {"edges_px": "edge_px"}.get(field.name, field.name))
        values = np.array(met)
        assert low <= values.min() <= low + (high - low) / 20, field.name
        assert high - (high - low) / 20 <= values.max() <= high, field.name


def test_changes_are_drawn_independently() -> None:
    drawn = [draw_augmentation(AugmentConfig(), seed=0, epoch=0, line_id=str(i)) for i in range(4000)]
    met = np.array(
        [
            [one.blur_px > 0, one.slant != 0, one.ink_px != 0, one.white < 255, one.jpeg_quality is not None]
            for one in drawn
        ]
    )
    correlations = np.corrcoef(met.T) - np.eye(met.shape[1])
    assert np.abs(correlations).max() < 0.07


def test_values_do_not_depend_on_the_share() -> None:
    few, all_ = (
        [draw_augmentation(config, seed=0, epoch=0, line_id=str(i)).blur_px for i in range(100)]
        for config in (AugmentConfig(share=0.2), ALWAYS)
    )
    assert {blur_px for blur_px in few if blur_px} < set(all_)


@pytest.mark.parametrize("seed", range(12))
def test_a_stored_square_is_changed_like_the_line_before_it_was_stretched(seed: int) -> None:
    drawn = draw_augmentation(ALWAYS, seed=seed, epoch=0, line_id="p#1")
    drawn = replace(drawn, jpeg_quality=None)  # its blocks lie on other pixels
    line = LINE.resize((380, 24), Image.Resampling.BILINEAR)
    as_native, as_square = (
        np.asarray(apply_augmentation(image, drawn, line.size).resize((384, 384)), dtype=np.float64)
        for image in (line, as_stored(line))
    )
    assert np.abs(as_native - as_square).mean() < 2.0
    as_if_square = apply_augmentation(as_stored(line), drawn, (384, 384)).resize((384, 384))
    assert np.abs(as_native - np.asarray(as_if_square)).mean() > 3.0  # what ignoring the stretch would give


def test_a_line_with_one_faint_change_keeps_its_sharpness() -> None:
    line = LINE.resize((380, 24), Image.Resampling.BILINEAR)
    stored = as_stored(line)
    faint = change(stored, line.size, black=1).resize((384, 384), Image.Resampling.BILINEAR)
    gradients = [
        np.abs(np.diff(np.asarray(image, dtype=np.float64), axis=0)).max() for image in (stored, faint)
    ]
    assert gradients[1] > 0.93 * gradients[0]
    assert np.abs(np.asarray(faint, dtype=np.float64) - np.asarray(stored)).mean() < 2.0


@pytest.mark.parametrize("ink_px", [0.4, 1.0, 2.6, -0.4, -1.0, -2.6])
def test_strokes_become_wider_or_narrower_by_the_drawn_width(ink_px: float) -> None:
    dark = darkness_of(change(draw_bar(), ink_px=ink_px))
    assert dark[20].sum() == pytest.approx(6 + ink_px, abs=0.02)  # across the bar
    assert dark[:, 30].sum() == pytest.approx(20 + ink_px, abs=0.02)  # along it
    assert mean_and_variance(dark.sum(axis=0))[0] == pytest.approx(29.5)  # it stays in its place


def test_strokes_of_a_squeezed_line_become_wider_by_pixels_of_the_line() -> None:
    squeezed = draw_bar().resize((30, 40), Image.Resampling.BOX)
    dark = darkness_of(change(squeezed, (60, 40), ink_px=1.0))
    assert dark[20].sum() == pytest.approx((6 + 1) / 2, abs=0.02)
    assert dark[:, 15].sum() == pytest.approx(20 + 1, abs=0.02)


@pytest.mark.parametrize(("width", "scale"), [(60, 1.0), (30, 0.5)])
def test_blur_spreads_ink_by_its_variance_on_both_axes(width: int, scale: float) -> None:
    line = draw_bar().resize((width, 40), Image.Resampling.BOX)
    before, after = darkness_of(line), darkness_of(change(line, (60, 40), blur_px=1.6))
    assert after.sum() == pytest.approx(before.sum(), rel=0.02)
    for axis, own_scale in ((0, scale), (1, 1.0)):
        grown = mean_and_variance(after.sum(axis=axis))[1] - mean_and_variance(before.sum(axis=axis))[1]
        assert grown == pytest.approx((1.6 * own_scale) ** 2, rel=0.15)


def test_a_slant_leans_print_to_the_right_and_loses_none_of_it() -> None:
    line = draw_bar(width=8)  # with 1 px of paper on each side of the bar
    dark = darkness_of(change(line, slant=0.25))
    assert dark.sum() == pytest.approx(darkness_of(line).sum(), rel=0.01)
    rows = np.flatnonzero(dark.sum(axis=1) > 3)
    top, bottom = (mean_and_variance(dark[row])[0] for row in (rows[1], rows[-2]))
    assert top - bottom == pytest.approx(0.25 * (rows[-2] - rows[1]), abs=0.1)


def test_a_tilt_raises_the_right_end_of_a_line_and_loses_no_ink() -> None:
    pixels = np.full((12, 400), 255, np.uint8)
    pixels[:, 4::8] = 0
    tilted = change(Image.fromarray(pixels), tilt_px=3.0)
    dark = darkness_of(tilted)
    assert dark.sum() == pytest.approx(12 * 50, rel=0.01)
    left, right = (
        mean_and_variance(dark[:, columns].sum(axis=1))[0] for columns in (slice(8), slice(-8, None))
    )
    assert left - right == pytest.approx(3.0 * 392 / 400, abs=0.1)


@pytest.mark.parametrize("drawn", [{"slant": 0.4}, {"tilt_px": 6.0}])
def test_a_squeezed_line_is_sheared_as_the_line_before_it_was_squeezed(drawn: dict[str, float]) -> None:
    def spread(line: Image.Image, axis: int) -> float:
        """By how much the shear widens the print along an axis: a variance."""
        before, after = (
            darkness_of(image).sum(axis=axis) for image in (line, change(line, (60, 40), **drawn))
        )
        return mean_and_variance(after)[1] - mean_and_variance(before)[1]

    line = draw_bar()
    for size in ((30, 40), (60, 20)):
        squeezed = line.resize(size, Image.Resampling.BOX)
        for axis in (0, 1):
            own = spread(squeezed, axis) * (line.size[axis] / size[axis]) ** 2
            assert own == pytest.approx(spread(line, axis), rel=0.1, abs=0.3), (size, axis)


def test_what_a_shear_uncovers_is_paper() -> None:
    sheared = np.asarray(change(change(draw_bar(), black=40, white=220), slant=0.3, tilt_px=4.0))
    assert set(sheared[[0, 0, -1, -1], [0, -1, 0, -1]]) == {220}


def test_edges_lose_paper_but_never_ink() -> None:
    line = draw_bar()
    cut = change(line, edges_px=(-30, -30, -30, -30))
    assert cut.size == (6, 20)
    assert darkness_of(cut).min() == 1.0
    assert change(line, edges_px=(-1, -2, -3, -4)).size == (60 - 4, 40 - 6)


def test_edges_gain_what_the_paper_is_and_move_the_print_by_as_much() -> None:
    line = change(draw_bar(), black=40, white=220)
    wide = change(line, edges_px=(5, 1, 2, 3))
    assert wide.size == (67, 44)
    assert wide.crop((5, 1, 65, 41)).tobytes() == line.tobytes()
    assert set(np.asarray(wide)[0]) == {220}


def test_a_line_without_ink_loses_nothing() -> None:
    assert change(Image.new("L", (30, 10), 250), edges_px=(-3, -3, -3, -3)).size == (30, 10)


def test_contrast_moves_black_and_white_and_keeps_all_levels_in_order() -> None:
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    moved = np.asarray(change(levels, black=50, white=203))[0].astype(int)
    assert (moved[0], moved[100], moved[255]) == (50, 110, 203)
    assert (np.diff(moved) >= 0).all()


def test_a_jpeg_of_less_quality_is_further_from_the_line() -> None:
    far = [np.abs(darkness_of(change(LINE, jpeg_quality=q)) - darkness_of(LINE)).mean() for q in (90, 60, 30)]
    assert 0 < far[0] < far[1] < far[2] < 0.05


def test_the_default_ranges_leave_print_clearly_darker_than_paper() -> None:
    # Its strokes are as thin as those of a page of 15 px: 1 to 2 px.
    line = LINE.resize((LINE.width * 5 // 8, 20), Image.Resampling.LANCZOS)
    for number in range(300):
        image = apply_augmentation(
            line, draw_augmentation(ALWAYS, seed=0, epoch=0, line_id=f"p#{number}"), line.size
        )
        paper, ink = np.percentile(np.asarray(image), (90, 3))
        assert paper - ink > 64


SIDES = st.integers(1, 80)


@settings(max_examples=200, deadline=None)
@given(
    stored=st.tuples(SIDES, SIDES),
    size_px=st.tuples(SIDES, SIDES),
    seed=st.integers(0, 2**63 - 1),
    grey=st.sampled_from(["noise", "paper", "ink"]),
)
def test_lines_of_any_size_come_out_as_greyscale_lines(
    stored: tuple[int, int], size_px: tuple[int, int], seed: int, grey: str
) -> None:
    shape = stored[::-1]
    noise = np.random.default_rng(seed % 2**32).integers(0, 256, shape, dtype=np.uint8)
    pixels = {"noise": noise, "paper": np.full(shape, 255, np.uint8), "ink": np.zeros(shape, np.uint8)}[grey]
    config = AugmentConfig(share=1.0, edge_px=(-32, 32), slant=(-0.5, 0.5), tilt_px=(-8, 8), ink_px=(-2, 4))
    augment = Augmenter(config=config, seed=seed)
    image = augment(Image.fromarray(pixels), source="page", line_id="p#1", epoch=0, size_px=size_px)
    assert image.mode == "L"
    assert min(image.size) >= 1
    assert image.resize((384, 384)).size == (384, 384)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 1.5}, r"augment\.share must be from 0 to 1, got 1\.5"),
        ({"blur_px": (1.0, 0.5)}, r"augment\.blur_px must be two values .* lower first"),
        ({"blur_px": (-1.0, 0.5)}, r"augment\.blur_px must be two values from 0 to 4"),
        ({"jpeg_quality": (1, 90)}, r"augment\.jpeg_quality must be two values from 10 to 95"),
        ({"black": (0, 180)}, r"augment\.black must stay 64 grey values or more below augment\.white"),
    ],
)
def test_invalid_ranges_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**values)  # type: ignore[arg-type]


def test_a_share_of_0_changes_nothing() -> None:
    assert Augmenter(config=AugmentConfig(share=0.0))(LINE, source="page", line_id="p", epoch=0) is LINE

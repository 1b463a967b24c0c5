import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders.standin_model import STANDIN_FILES, write_standin
from builders.stub_lines import make_line
from builders.training_data import make_tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ocr_ray.dataset.lines import LabelColumn, lines_to_table
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.storage.location import locate
from ocr_ray.text.hangul import FIRST_SYLLABLE, LAST_SYLLABLE, nfc
from ocr_ray.training.data.label_check import (
    LabelKey,
    check_labels,
    hash_tokenizer,
    load_lengths,
    save_lengths,
)
from ocr_ray.training.data.row_groups import Split, open_split

SYLLABLES = [chr(code) for code in range(ord(FIRST_SYLLABLE), ord(LAST_SYLLABLE) + 1)]
KEY = LabelKey(dataset_digest="ab", tokenizer_sha256="cd", label_column="text", max_tokens=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("labels") / "model")


@pytest.fixture(scope="module")
def ocr(folder: Path) -> OcrModel:
    """Its decoder holds 64 tokens; most syllables take three."""
    return load_model(folder)


def make_split(place: Path, texts: Sequence[str], *, rows_per_group: int = 3, column: str = "text") -> Split:
    """Write lines with these labels in parts of 12; their ids are 0, 1, …"""
    place.mkdir(parents=True, exist_ok=True)
    for part, start in enumerate(range(0, len(texts), 12)):
        rows = [
            replace(make_line(start + row), line_id=f"{start + row}", **{column: text})
            for row, text in enumerate(texts[start : start + 12])
        ]
        pq.write_table(
            lines_to_table(rows), place / f"part-{part:05d}.parquet", row_group_size=rows_per_group
        )
    return open_split("crops", locate(str(place)))


def with_words(ocr: OcrModel, words: Sequence[str], normalizer: Any = None) -> OcrModel:
    """Return the model with a tokenizer that knows these words alone, as far as they stand between spaces."""
    start, pad, end, unknown = special = ("<s>", "<pad>", "</s>", "<unk>")  # numbered as the model's own
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processors.BertProcessing((end, 2), (start, 0))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, cls_token=start, unk_token=unknown, pad_token=pad
    )
    changed = replace(ocr, tokenizer=fast)
    assert [nfc(back) for back in changed.decode(changed.encode_labels([words[0]]))] == [nfc(words[0])]
    return changed


@pytest.mark.parametrize("column", ["text", "markup"])
def test_lengths_are_those_of_the_tokenizer_file_in_the_order_of_the_split(
    ocr: OcrModel, folder: Path, tmp_path: Path, column: LabelColumn
) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("탁자 한 개에 3 × 8 = 24□①"), rng.integers(0, 21))) for _ in range(200)]
    split = make_split(tmp_path, texts, column=column)
    lengths = check_labels(ocr, split, column)
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert lengths.tolist() == [len(oracle.encode(text).ids) for text in texts]
    assert lengths.dtype == np.uint16


def test_every_syllable_of_hangul_survives_a_byte_level_tokenizer(ocr: OcrModel, tmp_path: Path) -> None:
    texts = ["".join(SYLLABLES[start : start + 12]) for start in range(0, len(SYLLABLES), 12)]
    lengths = check_labels(ocr, make_split(tmp_path / "standin", texts, rows_per_group=12), "text")
    assert lengths[:-1].min() > 12  # several tokens each
    tiny = make_tiny_model(tmp_path / "tiny")
    assert len(check_labels(tiny, make_split(tmp_path / "lines", texts), "text")) == len(texts)


def test_a_split_without_lines_has_no_lengths(ocr: OcrModel, tmp_path: Path) -> None:
    assert check_labels(ocr, make_split(tmp_path, []), "text").shape == (0,)


def test_spaces_at_the_ends_and_decomposed_hangul_are_no_loss(ocr: OcrModel, tmp_path: Path) -> None:
    check_labels(ocr, make_split(tmp_path / "spaces", [" 탁자 ", "\u1112\u1161\u11ab"]), "text")
    for name, normalizer in (("nfd", normalizers.NFD()), ("nfc", normalizers.NFC())):
        words = ["한", "\u1112\u1161\u11ab", "24"]
        check_labels(
            with_words(ocr, words, normalizer),
            make_split(tmp_path / name, ["한 24", "\u1112\u1161\u11ab"]),
            "text",
        )


def test_labels_that_the_decoder_cannot_hold_are_counted_and_the_longest_named(
    ocr: OcrModel, tmp_path: Path
) -> None:
    texts = ["7"] * 30
    texts[4], texts[11], texts[20], texts[29] = "□7" * 30, "□7" * 16, "□7" * 40, "□7" * 20
    lengths = [len(ids) for ids in ocr.encode_labels(texts)]
    assert sum(length > 64 for length in lengths) == 4
    message = (
        f"a label must have at most 64 tokens, 4 of the 30 lines of crops, column text, have more: "
        f"line 20 has {lengths[20]}, line 4 has {lengths[4]}, line 29 has {lengths[29]}; leave them out"
    )
    with pytest.raises(InputError) as error:
        check_labels(ocr, make_split(tmp_path, texts), "text")
    assert str(error.value).startswith(message)


def test_a_label_of_exactly_the_decoders_positions_fits(ocr: OcrModel, tmp_path: Path) -> None:
    text = next(
        text for n in range(80) if len(ocr.encode_labels([text := "7 " * (n // 2) + "7" * (n % 2)])[0]) == 64
    )
    assert check_labels(ocr, make_split(tmp_path / "64", [text]), "text").tolist() == [64]
    with pytest.raises(InputError, match=r"at most 64 tokens, 1 of the 1 lines .* line 0 has 6[56]"):
        check_labels(ocr, make_split(tmp_path / "65", [text + " 7"]), "text")


def test_labels_that_do_not_survive_are_counted_with_what_came_back(ocr: OcrModel, tmp_path: Path) -> None:
    texts = ["24 개", "24 ㉠", "24 □", "개", "□ 개", "□"]
    with pytest.raises(InputError) as error:
        check_labels(with_words(ocr, ["24", "개"]), make_split(tmp_path, texts), "text")
    message = str(error.value)
    assert message.startswith(
        "a label must survive the tokenizer, 4 of the 6 lines of crops, column text, do not:"
        " line 2 '24 □' -> '24', line 4 '□ 개' -> '개', line 5 '□' -> ''; most often lost: '□㉠'; leave them"
    )


@pytest.mark.parametrize("text", ["두  칸", "끝 </s> 표", "<pad>"])
def test_spaces_and_special_tokens_that_would_be_swallowed_are_refused(
    ocr: OcrModel, tmp_path: Path, text: str
) -> None:
    changed = with_words(ocr, ["두", "칸"]) if text == "두  칸" else ocr
    with pytest.raises(InputError, match=r"1 of the 2 lines of crops, column text, do not: line 1 '"):
        check_labels(changed, make_split(tmp_path, ["두 칸", text]), "text")


def test_both_problems_are_in_one_message(ocr: OcrModel, tmp_path: Path) -> None:
    split = make_split(tmp_path, ["24 " * 70, "□"])
    with pytest.raises(InputError, match=r"line 0 has 72; leave .* 1 of the 2 lines .* line 1 '□' -> ''"):
        check_labels(with_words(ocr, ["24"]), split, "text")


def test_a_tokenizer_that_was_made_to_truncate_and_pad_before_does_neither(
    ocr: OcrModel, tmp_path: Path
) -> None:
    split = make_split(tmp_path, ["두 칸 7", "7"] * 60)
    lengths = [len(ids) for ids in ocr.encode_labels(["두 칸 7", "7"])]
    ocr.tokenizer(["두 칸"] * 3, padding="max_length", truncation=True, max_length=5)
    assert check_labels(ocr, split, "text").tolist() == lengths * 60


def test_errors_of_threads_are_raised(ocr: OcrModel, tmp_path: Path) -> None:
    split = make_split(tmp_path, ["7"] * 40)
    (tmp_path / "part-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"part-00002.parquet must be an intact Parquet file"):
        check_labels(ocr, split, "text")


def test_a_tokenizer_is_identified_by_its_own_files(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    for name in ("preprocessor_config.json", "generation_config.json", "model.safetensors"):
        (copy / name).write_bytes(b"{}")
    assert hash_tokenizer(copy) == hash_tokenizer(folder)
    found = {hash_tokenizer(folder)}
    names = sorted(name for name in STANDIN_FILES if "token" in name or name in ("vocab.json", "merges.txt"))
    for name in names:
        changed = tmp_path / name
        shutil.copytree(folder, changed)
        content = (folder / name).read_bytes()
        (changed / name).write_bytes(content[:-1] + b"x")
        found.add(hash_tokenizer(changed))
        (changed / name).unlink()
        found.add(hash_tokenizer(changed))
    assert len(found) == 1 + 2 * len(names)
    assert len(names) == 5


def test_a_file_that_holds_the_next_one_makes_another_tokenizer(tmp_path: Path) -> None:
    for name, separators in (("one", (b"\n", b" 1\n", b" 6\n")), ("two", (None,))):
        for number, separator in enumerate(separators):
            place = tmp_path / f"{name}-{number}"
            place.mkdir()
            joined = b"" if separator is None else b"tokenizer_config.json" + separator + b"second"
            (place / "tokenizer.json").write_bytes(b"first" + joined)
            if separator is None:
                (place / "tokenizer_config.json").write_bytes(b"second")
    assert len({hash_tokenizer(place) for place in tmp_path.iterdir()}) == 4


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2**16 - 1)))
def test_lengths_are_loaded_as_they_were_saved(tmp_path: Path, values: list[int]) -> None:
    place = locate(str(tmp_path / "labels"))
    save_lengths(place, KEY, np.array(values, dtype=np.uint16))
    loaded = load_lengths(place, KEY)
    assert loaded is not None
    assert loaded.dtype == np.uint16
    assert loaded.tolist() == values


def test_nothing_is_loaded_for_other_rows_tokenizers_columns_or_positions(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    save_lengths(place, KEY, np.arange(9, dtype=np.uint16))
    for change in (
        {"dataset_digest": "ac"},
        {"tokenizer_sha256": "ce"},
        {"label_column": "markup"},
        {"max_tokens": 63},
    ):
        assert load_lengths(place, replace(KEY, **change)) is None  # type: ignore[arg-type]
    assert load_lengths(place, KEY) is not None
    other = replace(KEY, label_column="markup")
    (tmp_path / KEY.file_name).rename(tmp_path / other.file_name)
    assert load_lengths(place, other) is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_ignored(tmp_path: Path, data: st.DataObject) -> None:
    place = locate(str(tmp_path))
    save_lengths(place, KEY, np.arange(50, dtype=np.uint16))
    file = tmp_path / KEY.file_name
    content = bytearray(file.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[where] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)
    else:
        file.write_bytes(content[:where])
    assert load_lengths(place, KEY) is None


def test_lengths_take_less_than_a_byte_a_line(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).normal(25, 8, 100_000).clip(3, 128).astype(np.uint16)
    save_lengths(locate(str(tmp_path)), KEY, lengths)
    assert (tmp_path / KEY.file_name).stat().st_size < 100_000


@pytest.mark.slow
def test_lengths_are_saved_on_s3(bucket: str) -> None:
    place = locate(f"{bucket}/runs/a/labels")
    assert load_lengths(place, KEY) is None
    save_lengths(place, KEY, np.arange(300, dtype=np.uint16))
    loaded = load_lengths(place, KEY)
    assert loaded is not None
    assert loaded.tolist() == list(range(300))

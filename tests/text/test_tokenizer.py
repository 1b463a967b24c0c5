import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ocr_ray.text.tokenizer import count_tokens, find_changed, find_unencodable

TEXTS = ["삼각형의 넓이는 몇 cm²인가요?", "24-(3+5)×2 = 8", "1000000", "□ ÷ 4", "㉠ + ㉡", "쏀뷁"]


def make_byte_level(*, prefix_space: bool = False) -> str:
    """Return a byte-level BPE like RoBERTa's, with truncation and padding enabled."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    return tokenizer.to_str()


def make_character_level(alphabet: str, *, unknown_is_special: bool) -> str:
    """Return a tokenizer with one token for each character of the alphabet and one for all others."""
    vocabulary = {"[UNK]": 0, **{char: number for number, char in enumerate(alphabet, 1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    if unknown_is_special:
        tokenizer.add_special_tokens(["[UNK]"])
    return tokenizer.to_str()


BYTE_LEVEL = make_byte_level()
PREFIX_SPACE = make_byte_level(prefix_space=True)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_byte_level_tokenizer_keeps_every_text(text: str) -> None:
    assert find_unencodable(BYTE_LEVEL, text) == frozenset()
    assert find_changed(BYTE_LEVEL, [text]) == []


@pytest.mark.parametrize("unknown_is_special", [True, False])
@pytest.mark.parametrize("alphabet", ["나눗셈 1", "1 2", "x ", "[] "])
def test_characters_outside_the_vocabulary_are_lost(alphabet: str, unknown_is_special: bool) -> None:
    tokenizer = make_character_level(alphabet, unknown_is_special=unknown_is_special)
    assert find_unencodable(tokenizer, alphabet + "뷁AU") == set("뷁AU")


def test_changed_texts_are_returned_with_the_decoded_text() -> None:
    tokenizer = make_character_level("가나 12+", unknown_is_special=True)
    texts = ["가 1+2", "가÷나", "A", unicodedata.normalize("NFD", "가나")]
    assert find_changed(tokenizer, texts) == [("가÷나", "가나"), ("A", "")]


def test_one_additional_leading_space_is_no_change() -> None:
    tokenizer = Tokenizer.from_str(PREFIX_SPACE)
    assert tokenizer.decode(tokenizer.encode("1").ids) == " 1"
    assert find_changed(PREFIX_SPACE, TEXTS) == []
    spaced = Tokenizer.from_str(make_character_level("가나", unknown_is_special=True))
    spaced.decoder = decoders.WordPiece()
    assert find_changed(spaced.to_str(), ["가나"]) == [("가나", "가 나")]
    assert find_unencodable(spaced.to_str(), "가나 ") == {" "}


def test_tokens_are_counted_without_truncation_and_with_special_tokens() -> None:
    tokenizer = Tokenizer.from_str(BYTE_LEVEL)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = ["", *TEXTS * 500]  # several batches
    assert count_tokens(BYTE_LEVEL, texts) == [len(tokenizer.encode(text).tokens) for text in texts]
    assert count_tokens(BYTE_LEVEL, iter(["", "漢"])) == [2, 5]  # three bytes that were never merged

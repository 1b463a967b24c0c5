"""One tokenizer for rendering, training and reading, whatever files it comes in."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders.standin_model import SENTENCEPIECE_TEXTS, use_sentencepiece, write_standin
from tokenizers import Tokenizer
from transformers import BertTokenizer

from ocr_ray.errors import InputError
from ocr_ray.model.load import copy_processor_files, load_model
from ocr_ray.model.tokenizer import load_tokenizer
from ocr_ray.model.tokenizer_json import read_tokenizer
from ocr_ray.storage.location import copy_files, list_files, locate
from ocr_ray.text.tokenizer import count_tokens, find_changed, find_unencodable

torch.set_num_threads(1)

TEXTS = [
    "3 × 8 = 24",
    "그림 7개, 탁자 63명",
    "똑같이 나누어  앉으려고 합니다",
    "12 ÷ 3 + 4 - 5 = □",
    "뷁 1000",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_standin(tmp_path / "model")


def keep_tokenizer_json(folder: Path) -> None:
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()


def keep_merges(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def write_wordpieces(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json"):
        (folder / name).unlink()
    words = sorted(set("".join(TEXTS[:4]).replace(" ", "")))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{word}" for word in words)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False)
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizer", "do_lower_case": false}'
    )


@pytest.mark.parametrize(
    "make",
    [keep_tokenizer_json, keep_merges, write_wordpieces, use_sentencepiece],
    ids=lambda make: make.__name__,
)
def test_texts_are_checked_with_the_tokenizer_that_training_uses(folder: Path, make) -> None:
    make(folder)
    theirs = load_tokenizer(folder)
    ours = Tokenizer.from_str(read_tokenizer(str(folder)))
    ids = theirs(TEXTS).input_ids
    assert [encoding.ids for encoding in ours.encode_batch(TEXTS)] == ids
    assert len({token for of_text in ids for token in of_text}) > 20
    assert ours.decode_batch(ids, skip_special_tokens=True) == theirs.batch_decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def test_a_sentencepiece_model_alone_gives_the_pieces_of_sentencepiece_everywhere(
    folder: Path, tmp_path: Path
) -> None:
    reader = use_sentencepiece(folder)
    unknown = reader.unk_id()
    expected = [
        [0, *(3 if piece == unknown else piece + 1 for piece in pieces), 2] for pieces in reader.encode(TEXTS)
    ]
    assert any(3 in tokens for tokens in expected)
    ocr = load_model(folder)
    assert ocr.encode_labels(TEXTS) == expected
    assert ocr.decode(expected[:2]) == TEXTS[:2]
    as_json = read_tokenizer(str(folder))
    assert count_tokens(as_json, TEXTS) == list(map(len, expected))
    assert find_unencodable(as_json, "뷁가3×÷□개 ") == {"뷁", "가"} - set("".join(SENTENCEPIECE_TEXTS))
    assert find_changed(as_json, TEXTS[:2]) == []
    copy_processor_files(folder, tmp_path / "copy")  # as into every checkpoint
    copied = (tmp_path / "copy" / "sentencepiece.bpe.model").read_bytes()
    assert copied == (folder / "sentencepiece.bpe.model").read_bytes()


def test_a_tokenizer_is_read_without_a_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    ours = Tokenizer.from_str(read_tokenizer(str(tmp_path / "alone")))
    assert ours.get_vocab() == Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()


@pytest.mark.slow
def test_a_tokenizer_is_read_from_s3_without_the_weights(bucket: str, folder: Path) -> None:
    use_sentencepiece(folder)
    copy_files(locate(str(folder)), locate(f"{bucket}/model"), list(list_files(locate(str(folder)))))
    assert read_tokenizer(f"{bucket}/model") == read_tokenizer(str(folder))
    with pytest.raises(InputError, match=r"--model: s3://.*/nothing must hold"):
        read_tokenizer(f"{bucket}/nothing")


@pytest.mark.parametrize("content", [None, "{", '"model"', "[]", "{}"])
def test_a_folder_without_a_tokenizer_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=f"{tmp_path} must hold"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_that_is_missing_is_no_empty_vocabulary(folder: Path) -> None:
    """transformers would make a tokenizer of special tokens alone, which reads every text as unknown."""
    use_sentencepiece(folder)
    (folder / "sentencepiece.bpe.model").unlink()
    with pytest.raises(
        InputError, match=rf"--model: {folder} must hold the vocabulary of its tokenizer.*spm"
    ):
        read_tokenizer(str(folder))


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"an existing folder, s3://bucket/key or a hub id"):
        read_tokenizer("./no/such/folder")


def test_an_unavailable_hub_id_is_rejected_without_loading_torch(tmp_path: Path) -> None:
    """Runs in another process, because the hub library reads HF_HUB_OFFLINE only once."""
    program = (
        "import sys\n"
        "from ocr_ray.model.tokenizer_json import read_tokenizer\n"
        "try: read_tokenizer('no-one/no-such-model')\n"
        "except ValueError as error: print(error)\n"
        "print('loaded:', *{'torch', 'transformers', 'ray'} & set(sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(
        "'no-one/no-such-model' is neither an existing folder nor a model that the hub"
    )
    assert run.stdout.endswith("\nloaded:\n")

"""Inputs of lines, limited to the characters of the fonts and the tokenizer."""

import pytest
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ocr_ray.dataset.manifest import build_manifest
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.inputs import check_tokenizer, load_inputs
from ocr_ray.render.job import plan_rendering
from ocr_ray.textgen.sampler import CHARACTERS, REQUIRED_CHARACTERS, TextConfig, TextSampler


@pytest.fixture(scope="module")
def corpus_uri(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "a.txt").write_text("학교 앞에서 세 사람이 기다린다.\n\n넓이가 3㎠이다.")
    return str(folder)


def test_unusual_characters_of_the_corpus_are_counted_in_the_balance_with_what_they_become(
    fonts, tmp_path
) -> None:
    (tmp_path / "a.txt").write_text("나무\t꽃이 \u200b피고 나랏말 ᄊᆞ미")
    corpus_uri = str(tmp_path)
    plan, inputs = plan_rendering(
        RenderConfig(out_uri="x", num_lines=10, sources=SourceConfig(corpus_uri=corpus_uri))
    )
    assert inputs.text_inputs.words == ("꽃이", "나랏말", "나무", "피고")
    manifest = build_manifest(plan, [], texts=TextStatistics(), versions={})
    unusual = manifest.balance["unusual_in_corpus"]
    numbers = {kind: facts["number"] for kind, facts in unusual.items() if facts["number"]}
    assert numbers == {"tab": 1, "zero_width": 1, "old_hangul": 1}
    assert unusual["tab"]["becomes"] == "a space"
    assert "balance" not in manifest.notes


def write_tokenizer(folder, alphabet: str) -> str:
    """Write a tokenizer with one token per character; return its folder."""
    vocabulary = {"[UNK]": 0, **{char: number for number, char in enumerate(sorted(alphabet), 1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_corpus_gives_distinct_words_and_on_request_canonical_passages(fonts, corpus_uri) -> None:
    sources = SourceConfig(corpus_uri=corpus_uri)
    without = load_inputs(sources, TextConfig(), fonts)
    assert "사람이" in without.text.words
    assert without.text.passages == ()
    running = load_inputs(sources, TextConfig(sentence_share=0.5), fonts)
    assert running.text.passages == ("학교 앞에서 세 사람이 기다린다.", "넓이가 3cm²이다.")
    assert without.identity == running.identity


def test_characters_that_a_tokenizer_loses_are_left_out_of_every_line(fonts, corpus_uri, tmp_path) -> None:
    kept = (CHARACTERS | set("학교앞에서세사람이기다린넓가")) - set("②힝교")
    sources = SourceConfig(corpus_uri=corpus_uri, model=write_tokenizer(tmp_path / "model", "".join(kept)))
    loaded = load_inputs(sources, TextConfig(), fonts)
    assert set(loaded.notes["left_out"]["unencodable"]) == set("②힝교")
    assert loaded.notes["left_out"]["cost"]["교"] == 2
    assert "학교" not in loaded.text.words
    sampler = TextSampler(loaded.text, TextConfig())
    assert not set("②힝교") & {char for number in range(3_000) for char in sampler.draw(1, number).text}
    counts = check_tokenizer(loaded, TextConfig(), seed=1)
    assert counts["most_tokens"] == 30  # one per character of the longest line


def test_a_tokenizer_without_digits_is_rejected(fonts, tmp_path) -> None:
    model = write_tokenizer(tmp_path / "model", "".join(CHARACTERS - set("37")))
    with pytest.raises(
        InputError, match=r"every font must draw 3 7, and the tokenizer of --model must keep them"
    ):
        load_inputs(SourceConfig(model=model), TextConfig(), fonts)


def test_a_tokenizer_that_changes_whole_lines_is_rejected(fonts, tmp_path) -> None:
    """Single characters survive, but 1,000 becomes 1000."""
    folder = tmp_path / "model"
    write_tokenizer(folder, "".join(CHARACTERS))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace(Regex("(?<=[0-9]),(?=000)"), "")
    tokenizer.save(str(folder / "tokenizer.json"))
    loaded = load_inputs(SourceConfig(model=str(folder)), TextConfig(), fonts)
    with pytest.raises(InputError, match=r"must give back every text, it changed .*1,000.* to .*1000"):
        check_tokenizer(loaded, TextConfig(), seed=1)


def test_backgrounds_are_identified_by_content_and_other_files_rejected(fonts, tmp_path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    sources = SourceConfig(pictures_uri=str(tmp_path))
    first = load_inputs(sources, TextConfig(), fonts)
    assert len(first.backgrounds) == len(first.identity["pictures"]) == 1
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    assert load_inputs(sources, TextConfig(), fonts).identity != first.identity
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"--pictures-uri must contain only valid images: .*b.jpg must be"):
        load_inputs(sources, TextConfig(), fonts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="--pictures-uri must contain images"):
        load_inputs(SourceConfig(pictures_uri=str(tmp_path / "empty")), TextConfig(), fonts)


def test_every_required_character_can_occur_in_a_line() -> None:
    assert REQUIRED_CHARACTERS <= CHARACTERS

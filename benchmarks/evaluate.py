"""How fast lines are read: `python -m benchmarks.evaluate [--sizes tiny small] [--device cuda]`.

A line of JSON for each model on standard output, `ratio` is lines per second, ours over a plain loop: the
model's own processor, `model.generate`, `batch_decode`, batch by batch in the order of the dataset. Both
read the same rendered lines of 5 to 30 characters (squares of 384 px, JPEG) with the same weights, batch,
precision, greedy search and threads of torch, and take turns; the best of each counts. `ratio_of_cpu` is the
same per second of CPU time of the whole process, by median turns.

Weights are random, which end no line or all at once: both sides end each line where its label ends, by the
same hook on the decoder, which tells lines by what the encoder made of them.
"""

import io
import statistics
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

from benchmarks.train_data import Size, draw_lines, print_case, print_note, write_dataset, write_model
from ocr_ray.dataset.lines import TextLine
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.predict import read_part
from ocr_ray.model.load import load_model
from ocr_ray.model.options import Decoding, Precision
from ocr_ray.model.precision import autocast

NUM_MARKS = 8
"""Values of the encoder's first place by which lines are told apart."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure reading against a plain loop over `model.generate`."""

    sizes: tuple[Size, ...] = ("tiny", "small")
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision | None = None
    """None: bf16 on a GPU, else fp32."""
    batch_size: int | None = None
    """None: 64 on a GPU, else 16."""
    lines: int | None = None
    """None: 4,096 on a GPU; else 256 of the tiny model, 64 of the small one."""
    turns: int = 3
    """Of each side."""


class LineEnds:
    """Ends lines where their labels end: a hook on a decoder."""

    def __init__(self, network: Any, ends: torch.Tensor, marks: torch.Tensor, lengths: torch.Tensor) -> None:
        """Tokens that end a line; marks (lines, `NUM_MARKS`) and tokens of each line."""
        self._ends, self._marks, self._lengths = ends, marks, lengths
        network.decoder.register_forward_hook(self._end, with_kwargs=True)

    def _end(self, _: Any, __: Any, inputs: dict[str, Any], outputs: Any) -> Any:
        marks = inputs["encoder_hidden_states"][:, 0, :NUM_MARKS].float()
        lengths = self._lengths[torch.cdist(marks, self._marks).argmin(1)]
        is_end = inputs["past_key_values"].get_seq_length() >= lengths
        logits = outputs.logits
        logits[:, -1, self._ends] = torch.where(is_end, 1e4, -1e4)[:, None].to(logits.dtype)
        return outputs


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One model, and lines to read with it."""

    model: Path
    lines: Sequence[TextLine]
    part: LinesPart
    decoding: Decoding
    device: torch.device


def plant_ends(network: Any, scene: Scene, pixel_values: Callable[[Sequence[bytes]], torch.Tensor]) -> None:
    """Let a network end each line where its label ends."""
    tokenizer = AutoTokenizer.from_pretrained(scene.model)
    tokens = tokenizer([line.text for line in scene.lines]).input_ids
    marks = []
    with torch.inference_mode(), autocast(scene.decoding.precision, scene.device):
        for start in range(0, len(scene.lines), 16):
            images = [line.image_bytes for line in scene.lines[start : start + 16]]
            states = network.encoder(pixel_values(images).to(scene.device))[0]
            if hasattr(network, "enc_to_dec_proj"):
                states = network.enc_to_dec_proj(states)
            marks.append(states[:, 0, :NUM_MARKS].float().clone())
    LineEnds(
        network,
        torch.as_tensor(network.generation_config.eos_token_id, device=scene.device).reshape(-1),
        torch.cat(marks),
        torch.tensor([len(ids) - 2 for ids in tokens], device=scene.device),
    )


def make_plain_loop(scene: Scene) -> Callable[[], list[str]]:
    """Return the loop of transformers' own documentation."""
    network: Any = VisionEncoderDecoderModel.from_pretrained(scene.model).to(scene.device).eval()
    processor = AutoImageProcessor.from_pretrained(scene.model)
    tokenizer = AutoTokenizer.from_pretrained(scene.model)

    def prepare(images: Sequence[bytes]) -> torch.Tensor:
        opened = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
        pixel_values: torch.Tensor = processor(images=opened, return_tensors="pt").pixel_values
        return pixel_values

    def read() -> list[str]:
        texts = []
        for start in range(0, len(scene.lines), scene.decoding.batch_size):
            some = scene.lines[start : start + scene.decoding.batch_size]
            pixel_values = prepare([line.image_bytes for line in some]).to(scene.device)
            with torch.inference_mode(), autocast(scene.decoding.precision, scene.device):
                tokens = network.generate(pixel_values, do_sample=False, num_beams=1)
            texts += tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return texts

    plant_ends(network, scene, prepare)
    return read


def make_ours(scene: Scene) -> Callable[[], list[str]]:
    """Return how `evaluate_trocr` reads a part, from Parquet."""
    from ocr_ray.model.pixels import make_pixel_values

    ocr = load_model(scene.model)
    ocr.network.to(scene.device)

    def read() -> list[str]:
        texts: list[str] = read_part(ocr, scene.part, "text", scene.decoding)["prediction"].to_pylist()
        return texts

    plant_ends(ocr.network, scene, lambda images: make_pixel_values(ocr, images))
    return read


def measure(config: Config, size: Size, folder: Path) -> None:
    """Print how one model reads."""
    is_gpu = config.device == "cuda"
    num_lines = config.lines or (4096 if is_gpu else {"tiny": 256, "small": 64}[size])
    lines = draw_lines(num_lines)
    dataset = write_dataset(folder / f"lines-{size}", lines, num_lines)
    write_model(folder / size, size)
    scene = Scene(
        model=folder / size,
        lines=lines,
        part=LinesPart(dataset="lines", location=dataset.place / "train/part-00000.parquet"),
        decoding=Decoding(
            batch_size=config.batch_size or (64 if is_gpu else 16),
            precision=config.precision or ("bf16" if is_gpu else "fp32"),
        ),
        device=torch.device(config.device),
    )
    sides = {"plain": make_plain_loop(scene), "ours": make_ours(scene)}
    texts = {name: read() for name, read in sides.items()}  # a first turn, which counts for nothing
    tidy = [[unicodedata.normalize("NFC", text).strip() for text in some] for some in texts.values()]
    same = sum(a == b for a, b in zip(*tidy, strict=True))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(config.turns):
        for name, read in sides.items():
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            read()
            took = (time.perf_counter() - started_s, time.process_time() - started_cpu_s)
            seconds[name].append(took)
            print_note(f"  {size}, {name}: {num_lines / took[0]:.2f} lines/s")
    best = {name: min(took[0] for took in some) for name, some in seconds.items()}
    cpu = {name: statistics.median(took[1] for took in some) for name, some in seconds.items()}
    print_case(
        size,
        best["plain"] / best["ours"],
        ratio_of_cpu=round(cpu["plain"] / cpu["ours"], 3),
        lines_per_second={name: round(num_lines / some, 2) for name, some in best.items()},
        same_readings=f"{same} of {num_lines}",
        batch=scene.decoding.batch_size,
        precision=scene.decoding.precision,
        device=config.device,
    )


def main() -> None:
    """Run the benchmark."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for size in config.sizes:
            measure(config, size, Path(folder))


if __name__ == "__main__":
    main()

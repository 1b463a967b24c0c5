"""Inference throughput: `python -m benchmarks.evaluate [--sizes tiny small] [--device cuda]`.

Compares `evaluate_trocr` with a plain loop over the model's own processor, `model.generate` and
`batch_decode`, batch by batch in dataset order. Both read the same rendered lines of 5 to 30 characters (384
px squares, JPEG) with the same weights, batch size, precision, greedy search and torch threads, and take
turns; the best turn of each counts. Prints a line of JSON per model: `ratio` is lines per second over that of
the plain loop, `ratio_of_cpu` the same per second of CPU time of the process, from the median turn.

The weights are random, and such a model ends no line or all of them at the same token. A hook on both
decoders therefore ends each line at the length of its label; it recognises a line by the encoder's output.
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
from ocr_ray.model.fit import CACHE
from ocr_ray.model.load import load_model
from ocr_ray.model.options import Decoding, Precision
from ocr_ray.model.precision import autocast
from ocr_ray.model.read import CPU_BATCH_SIZE, GPU_BATCH_SIZE

NUM_KEY_VALUES = 8
"""Values of the first encoder state that identify a line."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure inference throughput against a plain loop over `model.generate`."""

    sizes: tuple[Size, ...] = ("tiny", "small")
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision | None = None
    """Default: bf16 on a GPU, else fp32."""
    batch_size: int | None = None
    """Of both sides. Default: that of `evaluate_trocr`, 512 on a GPU, else 16."""
    lines: int | None = None
    """Default: 4,096 on a GPU; on a CPU 256 for the tiny model, 64 for the small one."""
    turns: int = 3
    """Measured runs of each side."""


class LineEnds:
    """A decoder hook that ends each line at the length of its label."""

    def __init__(
        self, network: Any, *, end_tokens: torch.Tensor, keys: torch.Tensor, lengths: torch.Tensor
    ) -> None:
        """`keys` (lines, `NUM_KEY_VALUES`) identify the lines, `lengths` are their numbers of tokens."""
        self._end_tokens, self._keys, self._lengths = end_tokens, keys, lengths
        self._num_before: int | torch.Tensor = 0
        network.decoder.register_forward_pre_hook(self._count, with_kwargs=True)
        network.decoder.register_forward_hook(self._end, with_kwargs=True)

    def _count(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        # A cache with fixed memory does not count the tokens of its step.
        self._num_before = inputs[CACHE].get_seq_length()

    def _end(self, _: Any, __: Any, inputs: dict[str, Any], outputs: Any) -> Any:
        keys = inputs["encoder_hidden_states"][:, 0, :NUM_KEY_VALUES].float()
        lengths = self._lengths[torch.cdist(keys, self._keys).argmin(1)]
        is_end = self._num_before + inputs["input_ids"].shape[1] >= lengths
        logits = outputs.logits
        logits[:, -1, self._end_tokens] = torch.where(is_end, 1e4, -1e4)[:, None].to(logits.dtype)
        return outputs


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A model, and lines to read with it."""

    model: Path
    lines: Sequence[TextLine]
    part: LinesPart
    decoding: Decoding
    device: torch.device


def set_line_ends(
    network: Any, inputs: Inputs, make_pixel_values: Callable[[Sequence[bytes]], torch.Tensor]
) -> None:
    """Make a network end each line at the length of its label."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    tokens = tokenizer([line.text for line in inputs.lines]).input_ids
    keys = []
    with torch.inference_mode(), autocast(inputs.decoding.precision, inputs.device):
        for start in range(0, len(inputs.lines), 16):
            images = [line.image_bytes for line in inputs.lines[start : start + 16]]
            states = network.encoder(make_pixel_values(images).to(inputs.device))[0]
            if hasattr(network, "enc_to_dec_proj"):
                states = network.enc_to_dec_proj(states)
            keys.append(states[:, 0, :NUM_KEY_VALUES].float().clone())
    LineEnds(
        network,
        end_tokens=torch.as_tensor(network.generation_config.eos_token_id, device=inputs.device).reshape(-1),
        keys=torch.cat(keys),
        lengths=torch.tensor([len(ids) - 2 for ids in tokens], device=inputs.device),
    )


def make_plain_loop(inputs: Inputs) -> Callable[[], list[str]]:
    """Return the loop of the transformers documentation."""
    network: Any = VisionEncoderDecoderModel.from_pretrained(inputs.model).to(inputs.device).eval()
    processor = AutoImageProcessor.from_pretrained(inputs.model)
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)

    def prepare(images: Sequence[bytes]) -> torch.Tensor:
        opened = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
        pixel_values: torch.Tensor = processor(images=opened, return_tensors="pt").pixel_values
        return pixel_values

    batch_size = inputs.decoding.batch_size or len(inputs.lines)

    def read() -> list[str]:
        texts = []
        for start in range(0, len(inputs.lines), batch_size):
            lines = inputs.lines[start : start + batch_size]
            pixel_values = prepare([line.image_bytes for line in lines]).to(inputs.device)
            with torch.inference_mode(), autocast(inputs.decoding.precision, inputs.device):
                tokens = network.generate(pixel_values, do_sample=False, num_beams=1)
            texts += tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return texts

    set_line_ends(network, inputs, prepare)
    return read


def make_evaluation_loop(inputs: Inputs) -> Callable[[], list[str]]:
    """Return the loop of `evaluate_trocr` over a part, from Parquet."""
    from ocr_ray.model.pixels import make_pixel_values

    ocr = load_model(inputs.model)
    ocr.network.to(inputs.device)

    def read() -> list[str]:
        texts: list[str] = read_part(ocr, inputs.part, "text", inputs.decoding)["prediction"].to_pylist()
        return texts

    set_line_ends(ocr.network, inputs, lambda images: make_pixel_values(ocr, images))
    return read


def measure(config: Config, size: Size, folder: Path) -> None:
    """Print the throughput of one model."""
    is_gpu = config.device == "cuda"
    num_lines = config.lines or (4096 if is_gpu else {"tiny": 256, "small": 64}[size])
    lines = draw_lines(num_lines)
    dataset = write_dataset(folder / f"lines-{size}", lines, num_lines)
    write_model(folder / size, size)
    inputs = Inputs(
        model=folder / size,
        lines=lines,
        part=LinesPart(dataset="lines", location=dataset.folder / "train/part-00000.parquet"),
        decoding=Decoding(
            batch_size=config.batch_size or (GPU_BATCH_SIZE if is_gpu else CPU_BATCH_SIZE),
            precision=config.precision or ("bf16" if is_gpu else "fp32"),
        ),
        device=torch.device(config.device),
    )
    sides = {"plain": make_plain_loop(inputs), "ours": make_evaluation_loop(inputs)}
    texts = {name: read() for name, read in sides.items()}  # warm-up
    normalised = [[unicodedata.normalize("NFC", text).strip() for text in side] for side in texts.values()]
    num_same = sum(a == b for a, b in zip(*normalised, strict=True))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(config.turns):
        for name, read in sides.items():
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            read()
            took = (time.perf_counter() - started_s, time.process_time() - started_cpu_s)
            seconds[name].append(took)
            print_note(f"  {size}, {name}: {num_lines / took[0]:.2f} lines/s")
    best = {name: min(took[0] for took in turns) for name, turns in seconds.items()}
    cpu = {name: statistics.median(took[1] for took in turns) for name, turns in seconds.items()}
    print_case(
        size,
        best["plain"] / best["ours"],
        ratio_of_cpu=round(cpu["plain"] / cpu["ours"], 3),
        lines_per_second={name: round(num_lines / best_s, 2) for name, best_s in best.items()},
        same_readings=f"{num_same} of {num_lines}",
        batch=inputs.decoding.batch_size,
        precision=inputs.decoding.precision,
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

"""The checks of `benchmarks.gpu`: what is computed on a GPU is right, whatever its speed.

A row's `holds` says whether the result is within the row's tolerance.
"""

import hashlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_pieces import ROOT, make_setup
from benchmarks.gpu_settings import DETERMINISTIC, SIDES, Bench, count_loader_threads
from benchmarks.pieces import Rows
from benchmarks.train_data import SEED
from benchmarks.train_sides import LR, Clock, Enough, train_ours
from ocr_ray.errors import InputError
from ocr_ray.model.decoding import decode_greedily, encode
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.precision import autocast, check_precision, set_tf32
from ocr_ray.storage.location import locate
from ocr_ray.training.checkpoint import TrainState
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.loop import RECORDS_PER_EPOCH, Hooks, Metrics, train
from ocr_ray.training.setup import TrainData

LOSS_TOLERANCES = {
    ("fp32 default", "fp32 uncompiled"): 1e-3,
    ("bf16 default", "bf16 uncompiled"): 5e-3,
    ("bf16 default", "fp32 uncompiled"): 1e-2,
}
"""The largest relative difference of a step's loss from that of another side, whose weights began the same.
bf16 rounds by up to 0.4 %; losses are means over hundreds of tokens."""
TIES = {"fp32": 1e-4, "bf16": 0.1}
"""Two tokens whose logits differ by less, in standard deviations of the logits, may be told apart by rounding
alone, so either is right."""
MODELS = [("deit", "trocr"), ("vit", "roberta"), ("deit", "trocr-sinusoidal")]
SHARES_OF_ENDS = (0.0, 0.3)
"""Shares of the vocabulary that end a line: random weights seldom choose a single end token."""
NUM_READ = 64
NUM_SYNC_STEPS = 10


def train_few(
    bench: Bench,
    model: Path,
    *,
    report: Callable[[Metrics, Path], None] = lambda metrics, folder: None,
    resume_from: Path | None = None,
    **flags: Any,
) -> tuple[OcrModel, TrainState]:
    """Train an epoch of a few steps; `report` gets the checkpoints, one half-way."""
    batch, num_steps = bench.sizes.check_batch, bench.sizes.check_steps
    config = TrainConfig(
        epochs=1,
        batch_size=batch,
        lr=LR,
        seed=SEED,
        validate_every_lines=num_steps // 2 * batch,
        checkpoint_every_minutes=0,
        loader_threads=count_loader_threads(bench.device),
        **flags,
    )
    ocr = load_model(model)
    ocr.network.to(bench.device)
    dataset = LineDataset(name="few_lines", folder=locate(str(bench.folder / "few_lines")))
    data = TrainData(datasets=(dataset,))
    return ocr, train(ocr, data, config, hooks=Hooks(report=report), resume_from=resume_from)


def compare_losses(bench: Bench) -> Rows:
    """Return the differences between the losses of precisions and of compiled and uncompiled steps."""
    model = write_without_dropout(bench)
    losses: dict[str, list[float]] = {}
    for precision in ("fp32", "bf16"):
        with suppress(InputError):  # some CPUs have no bf16
            check_precision(precision, torch.device(bench.device))
            for side, flags in SIDES.items():
                _, state = train_few(bench, model, precision=precision, **flags)
                losses[f"{precision} {side}"] = [r["loss"] for r in state.history if r["kind"] == "train"]
    return [
        {
            "losses": name,
            "compared_with": other,
            "steps": len(losses[name]),
            "last_loss": round(losses[name][-1], 4),
            "largest_difference": float(
                f"{(difference := find_difference(losses[name], losses[other])):.2g}"
            ),
            "tolerance": tolerance,
            "holds": difference <= tolerance,
        }
        for (name, other), tolerance in LOSS_TOLERANCES.items()
        if name in losses
    ]


def find_difference(values: list[float], others: list[float]) -> float:
    """Return the largest relative difference between values in the same places."""
    return max(abs(value - other) / abs(other) for value, other in zip(values, others, strict=True))


def write_without_dropout(bench: Bench) -> Path:
    """Write the model without dropout, whose masks are others once compiled; return its folder."""
    folder = bench.folder / "no_dropout"
    shutil.copytree(bench.folder / bench.sizes.model, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    for part in ("encoder", "decoder"):
        config[part] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def compare_resumed(bench: Bench) -> Rows:
    """Return whether a run that ended half-way and resumed has the weights of an undisturbed one."""
    model = bench.folder / bench.sizes.model
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        kept = Path(name) / "checkpoint"

        def keep(_: Metrics, folder: Path) -> None:
            shutil.copytree(folder, kept)
            raise Enough

        whole, _ = train_few(bench, model, **DETERMINISTIC)
        with suppress(Enough):
            train_few(bench, model, report=keep, **DETERMINISTIC)
        resumed, _ = train_few(bench, model, resume_from=kept, **DETERMINISTIC)
    expected, hashed = hash_weights(whole), hash_weights(resumed)
    num_steps = bench.sizes.check_steps
    row = {"steps": num_steps, "resumed_after": num_steps // 2, "weights_sha256": expected[:16]}
    return [row | {"resumed_weights_sha256": hashed[:16], "holds": hashed == expected}]


def hash_weights(ocr: OcrModel) -> str:
    """Return the hash of all weights."""
    content = hashlib.sha256()
    for weights in ocr.network.state_dict().values():
        content.update(weights.cpu().numpy().tobytes())
    return content.hexdigest()


def compare_tokens(bench: Bench) -> Rows:
    """Return how many lines greedy reading writes as `generate` does, for some kinds of models."""
    path = ROOT / "tests/builders/standin_model.py"
    spec: Any = importlib.util.spec_from_file_location("standin_model", path)
    standin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(standin)
    rows = []
    for encoder, decoder in MODELS:
        folder = standin.write_standin(
            bench.folder / f"{encoder}-{decoder}", encoder=encoder, decoder=decoder
        )
        ocr = load_model(folder)
        ocr.network.to(bench.device).eval()
        shape = (NUM_READ, 3, standin.IMAGE_SIZE, standin.IMAGE_SIZE)
        pixels = torch.rand(shape, generator=torch.Generator().manual_seed(SEED))
        for precision in TIES if bench.device == "cuda" else ("fp32",):
            set_tf32(precision)
            for share in SHARES_OF_ENDS:
                set_ends(ocr, share)
                with autocast(precision, ocr.device):
                    counts = compare_lines(ocr, pixels.to(bench.device), TIES[precision])
                row = {"model": f"{encoder}, {decoder}", "precision": precision, "share_of_ends": share}
                rows.append(row | counts | {"holds": not counts["different"]})
    return rows


def set_ends(ocr: OcrModel, share: float) -> None:
    """Let a share of the vocabulary end a line."""
    others = torch.randperm(ocr.network.config.decoder.vocab_size, generator=torch.Generator().manual_seed(0))
    ends = {ocr.end_token_id, *others[: int(share * len(others))].tolist()}
    ocr.network.generation_config.eos_token_id = sorted(ends)


@torch.inference_mode()
def compare_lines(ocr: OcrModel, pixels: torch.Tensor, tie: float) -> dict[str, int]:
    """Return the number of lines with the tokens of `generate`, with a tie, and with others."""
    network = ocr.network
    theirs = network.generate(pixels, do_sample=False, num_beams=1)
    ours = decode_greedily(ocr, encode(ocr, pixels)).tokens
    length = max(theirs.shape[1], ours.shape[1])
    pad = network.generation_config.pad_token_id
    theirs, ours = (torch.nn.functional.pad(t, (0, length - t.shape[1]), value=pad) for t in (theirs, ours))
    counts = {"same": 0, "ties": 0, "different": 0}
    for row, differs in enumerate((theirs != ours).cpu()):
        if not differs.any():
            counts["same"] += 1
            continue
        position = int(differs.int().argmax())
        logits = (
            network(pixel_values=pixels[row : row + 1], decoder_input_ids=theirs[row : row + 1, :position])
            .logits[0, -1]
            .float()
        )
        gap = (logits[theirs[row, position]] - logits[ours[row, position]]).abs()
        counts["ties" if gap <= tie * logits.std() else "different"] += 1
    return counts


@dataclass(kw_only=True)
class SyncClock(Clock):
    """Makes CUDA raise an error if one of ten steps waits for the GPU."""

    first: int
    """The step after a record of the history, which waits."""

    def tick(self) -> None:
        number = self.num_started - self.first
        if self.setup.device == "cuda" and number in (0, NUM_SYNC_STEPS):
            torch.cuda.set_sync_debug_mode("error" if number == 0 else "default")
        super().tick()


def check_synchronisation(bench: Bench) -> Rows:
    """Train ten steps in which nothing may wait for the GPU; a step that waits is an error."""
    record_every = bench.sizes.lines // bench.sizes.sync_batch // RECORDS_PER_EPOCH
    assert record_every > NUM_SYNC_STEPS, "there must be ten steps between two records"
    first = -(-bench.sizes.warmup_steps // record_every) * record_every
    setup = make_setup(bench, bench.sizes.sync_batch, num_steps=1, warmup_steps=first + NUM_SYNC_STEPS + 1)
    clock = SyncClock(setup=setup, first=first)
    train_ours(setup, loader_threads=count_loader_threads(bench.device), clock=clock)
    return [
        {
            "steps": NUM_SYNC_STEPS,
            "batch": bench.sizes.sync_batch,
            "device": bench.device,
            "holds": True,
        }
    ]

"""Writes the model of `recipes/base.sh` in 16 bits: `python recipes/ship.py FROM TO`.

Its card, README.md, is written by hand.
"""

import json
import sys
from pathlib import Path
from shutil import copyfile

import torch
from transformers import VisionEncoderDecoderModel

FILES = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
METRICS = "metrics.json"
LICENSE = "apache-2.0"


def main(source: Path, target: Path) -> None:
    """Write weights in fp16 and the files of tokenizer and image processor."""
    network = VisionEncoderDecoderModel.from_pretrained(source, dtype=torch.float16)
    network.save_pretrained(target)
    for name in FILES:
        copyfile(source / name, target / name)
    root = source.resolve().parents[1]  # of the recipe
    metrics = json.loads((source / METRICS).read_text(encoding="utf-8").replace(f"{root}/", "runs/base/"))
    text = json.dumps({**metrics, "license": LICENSE}, indent=2, ensure_ascii=False)
    (target / METRICS).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

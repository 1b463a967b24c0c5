"""Writes the model of `recipes/base.sh` in 16 bits: `python recipes/ship.py FROM TO`.

Its card, README.md, is written by hand.
"""

import sys
from pathlib import Path
from shutil import copyfile

import torch
from transformers import VisionEncoderDecoderModel

FILES = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "metrics.json")


def main(source: Path, target: Path) -> None:
    """Write weights in fp16 and the files of tokenizer and image processor."""
    network = VisionEncoderDecoderModel.from_pretrained(source, dtype=torch.float16)
    network.save_pretrained(target)
    for name in FILES:
        copyfile(source / name, target / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

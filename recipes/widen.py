"""Copies a model of `recipes/base.sh` for wider images: `python recipes/widen.py FROM TO WIDTH_PX`.

The encoder has no positions of its own, so only the image processor changes.
"""

import json
import shutil
import sys
from pathlib import Path


def main(source: Path, target: Path, width_px: int) -> None:
    """Write a copy of a model folder whose image processor makes images of a width."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    file = target / "preprocessor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["size"]["max_width"] = settings["pad_size"]["width"] = width_px
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

"""Datasets of lines opened with Ray Data."""

import ray.data

from ocr_ray.dataset.open_lines import list_parts


def as_ray_dataset(lines_uri: str, split: str = "train") -> ray.data.Dataset:
    """Return a split as a `ray.data.Dataset`; Ray is started by the first call that needs it.

    Raises:
        InputError: it is no complete dataset, or has no such split.

    Examples:
        >>> import ocr_ray
        >>> dataset = ocr_ray.as_ray_dataset("data/lines", "train")
        >>> dataset.count()
        6
    """
    parts = list_parts(lines_uri, split)
    return ray.data.read_parquet([part.path for part in parts], filesystem=parts[0].filesystem)

"""Publishing datasets and models on the Hugging Face hub, and the licence that their sources leave them.

The pages of AI Hub must not be passed on, nor what is made from them: crops, lines with their texts, and
models that were trained on either.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from ocr_ray.dataset.plan import MANIFEST
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import Location, local_copy, read_json

AI_HUB = "AI Hub"
"""Stands for the licence of AI Hub, which the hub has no name for."""
DATASET_FILES = ("README.md", "*.jpg", "*.png", MANIFEST, "train/*", "validation/*", "test/*")
"""What is published of a dataset; the other files are for its maker: plan, rejects, previews of pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """Licence, and publishing on the Hugging Face hub."""

    license: str | None = None
    """Licence for the card, as the hub names it, such as cc-by-4.0; it says that you may give the sources on.
    Default: unknown, and for pages and their texts that of AI Hub, which forbids to publish them."""
    push_to_hub: str | None = None
    """Repository of the Hugging Face hub that gets the result, such as me/lines; private if it is new.
    Refused for what is made from pages of AI Hub. Needs HF_TOKEN or `hf auth login`."""

    def __post_init__(self) -> None:
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise ValueError(
                f"license must be the hub's name of one, such as cc-by-4.0, got {self.license!r}"
            )


def find_license(config: Mapping[str, Any], flags: Mapping[str, Any]) -> str | None:
    """Return the licence of a dataset by its configuration and flags: given, AI_HUB, or None if unknown."""
    from_pages = config.get("job") != "render_lines" or "texts-uri" in flags
    return flags.get("license") or (AI_HUB if from_pages else None)


def read_licenses(datasets: Mapping[str, Location]) -> dict[str, str | None]:
    """Return the licence of each dataset by its name."""
    manifests = {name: read_json(folder / MANIFEST) for name, folder in datasets.items()}
    return {
        name: find_license(manifest.get("config") or {}, manifest.get("flags") or {})
        for name, manifest in manifests.items()
    }


def describe_license(license_name: str | None) -> dict[str, Any]:
    """Return the metadata of a card about a licence."""
    if license_name == AI_HUB:
        return {"license": "other", "license_name": "ai-hub", "license_link": "https://www.aihub.or.kr"}
    return {"license": license_name or "unknown"}


def check_push(config: HubConfig, license_name: str | None) -> None:
    """Check that the result of a job may and can be published, if it is to be.

    Raises:
        InputError: AI Hub's licence forbids it, the name is none, or the hub does not know the user.
    """
    if config.push_to_hub is None:
        return
    if license_name == AI_HUB:
        raise InputError(
            "--push-to-hub must not publish what is made from pages of AI Hub, whose licence forbids it; "
            "leave it out, or make the crops of pages of your own with --license and their licence"
        )
    try:
        validate_repo_id(config.push_to_hub)
        HfApi().whoami()
    except HFValidationError as error:
        raise InputError(f"--push-to-hub must be a repository such as me/lines: {error}") from error
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"--push-to-hub needs a token in HF_TOKEN or of `hf auth login` that the hub knows: {error}"
        ) from error


def push(
    folder: Location,
    repository: str,
    kind: Literal["dataset", "model"],
    patterns: Sequence[str] | None = None,
) -> str:
    """Upload the files of a folder that fit `patterns`; return the address of the commit.

    Raises:
        ProductionError: the hub refuses it or cannot be reached.
    """
    api = HfApi()
    try:
        api.create_repo(repository, repo_type=kind, private=True, exist_ok=True)
        with local_copy(folder) as path:
            commit = api.upload_folder(
                repo_id=repository,
                repo_type=kind,
                folder_path=path,
                allow_patterns=None if patterns is None else list(patterns),
                commit_message="Upload by ocr_ray",
            )
    except (OSError, HfHubHTTPError) as error:
        raise ProductionError(
            f"{folder} is complete, but was not uploaded to {repository}: {error}; run the same command again"
        ) from error
    return str(commit.commit_url)

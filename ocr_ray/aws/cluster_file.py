"""A cluster file as it is written, and what may be wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ocr_ray.errors import InputError

PLACEHOLDER = "CHANGE-ME"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must be changed before `ray up`."""

    field: str
    """The place: `provider.region`, `line 12`, `s3://bucket/folder`."""
    message: str
    """What must hold, what was got, what to do."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """A cluster file as written, without Ray's defaults; what has a wrong shape reads as empty."""

    text: str
    config: Mapping[str, Any]

    @property
    def region(self) -> str:
        return str(self.section("provider").get("region", ""))

    @property
    def zones(self) -> list[str]:
        zones = str(self.section("provider").get("availability_zone", "")).split(",")
        return [zone.strip() for zone in zones if zone.strip()]

    @property
    def uris(self) -> list[str]:
        """The folders that jobs use."""
        uris = self.section("metadata").get("uris")
        return [str(uri).rstrip("/") for uri in uris] if isinstance(uris, list) else []

    @property
    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """The node types by name, the head's too."""
        types = self.section("available_node_types")
        return {str(name): node for name, node in types.items() if isinstance(node, Mapping)}

    @property
    def head(self) -> str:
        return str(self.config.get("head_node_type", ""))

    def section(self, name: str) -> Mapping[str, Any]:
        return mapping(self.config, name)

    def commands(self, name: str) -> list[str]:
        found = self.config.get(name)
        return [str(command) for command in found] if isinstance(found, list) else []

    def node_config(self, node_type: str) -> Mapping[str, Any]:
        """What EC2 is asked for."""
        return mapping(self.nodes.get(node_type, {}), "node_config")

    def profile(self, node_type: str) -> str:
        """The name of the instance profile; none: empty."""
        profile = mapping(self.node_config(node_type), "IamInstanceProfile")
        return str(profile.get("Name") or str(profile.get("Arn", "")).rsplit("/", 1)[-1])


def mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the mapping of a name; an empty one where there is none."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def mappings(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the mappings in the list of a name; none where there is no list."""
    found = value.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def read_cluster_file(path: Path) -> ClusterFile:
    """Return what a file says.

    Raises:
        InputError: there is none, or it is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--cluster must be a YAML file that can be read, {path} cannot: {error}") from error
    if not isinstance(config, Mapping):
        raise InputError(f"--cluster must hold the fields of a cluster, {path} does not")
    return ClusterFile(text, config)

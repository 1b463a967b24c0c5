"""A cluster file as written, and the faults that checks report."""

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
    """Where it is: `provider.region`, `line 12`, `s3://bucket/folder`."""
    message: str
    """What must hold, what is there, what to do."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """A cluster file as written, without Ray's defaults; a value of the wrong type reads as empty."""

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
        """The S3 folders that jobs use."""
        uris = self.section("metadata").get("uris")
        return [str(uri).rstrip("/") for uri in uris] if isinstance(uris, list) else []

    @property
    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """The node types by name, including the head's."""
        types = self.section("available_node_types")
        return {str(name): node for name, node in types.items() if isinstance(node, Mapping)}

    @property
    def head(self) -> str:
        return str(self.config.get("head_node_type", ""))

    def section(self, name: str) -> Mapping[str, Any]:
        return get_mapping(self.config, name)

    def commands(self, name: str) -> list[str]:
        commands = self.config.get(name)
        return [str(command) for command in commands] if isinstance(commands, list) else []

    def node_config(self, node_type: str) -> Mapping[str, Any]:
        """The request for an EC2 instance of a node type."""
        return get_mapping(self.nodes.get(node_type, {}), "node_config")

    def profile(self, node_type: str) -> str:
        """The name of the instance profile, or an empty string."""
        profile = get_mapping(self.node_config(node_type), "IamInstanceProfile")
        return str(profile.get("Name") or str(profile.get("Arn", "")).rsplit("/", 1)[-1])


def get_mapping(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the mapping at a key, or an empty one."""
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def get_mappings(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the mappings in the list at a key; an empty list if there is no list."""
    value = parent.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def read_cluster_file(path: Path) -> ClusterFile:
    """Return the content of a cluster file.

    Raises:
        InputError: it cannot be read, or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"--cluster must be a readable YAML file, {path} is not: {error}") from error
    if not isinstance(config, Mapping):
        raise InputError(f"--cluster must hold the fields of a cluster file, {path} does not")
    return ClusterFile(text, config)

"""A cluster file as written, and the faults that checks report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ocr_ray.errors import InputError
from ocr_ray.storage.uri import parse_uri

PLACEHOLDER = "CHANGE-ME"
MAX_VALUES = 100_000
"""Values of a file, with what aliases repeat; the checks and Ray visit each."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must be changed before `ray up`, or should be."""

    field: str
    """Where it is: `provider.region`, `line 12`, `s3://bucket/folder`."""
    message: str
    """What must hold, what is there, what to do."""
    is_warning: bool = False
    """Whether it is only reported: `ray up` works, and what it protects has other protection too."""

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
        """The S3 folders that jobs use; those that `find_wrong_uris` reports are left out."""
        return [uri for uri, error in self._parse_uris() if not error]

    def find_wrong_uris(self) -> list[str]:
        """Return what is wrong with folders; keys in them are not shown."""
        return [error for _, error in self._parse_uris() if error]

    def _parse_uris(self) -> Iterator[tuple[str, str]]:
        uris = self.section("metadata").get("uris")
        for uri in map(str, uris) if isinstance(uris, list) else ():
            try:
                scheme, path = parse_uri(uri, "metadata.uris")
                error = "" if scheme == "s3" else f"must be s3:// folders, got {uri!r}"
                yield f"s3://{path}", error
            except InputError as invalid:
                yield "", str(invalid).removeprefix("metadata.uris").lstrip(": ")

    @property
    def other_actions(self) -> tuple[str, ...]:
        """The actions that policies may allow on purpose, although the cluster does not need them."""
        actions = self.section("metadata").get("other_actions")
        return tuple(map(str, actions)) if isinstance(actions, list) else ()

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

    def group_ids(self, node_type: str) -> list[str]:
        """The security groups that a node type names."""
        node = self.node_config(node_type)
        lists = [node.get("SecurityGroupIds")]
        lists += [interface.get("Groups") for interface in get_mappings(node, "NetworkInterfaces")]
        return [str(group) for groups in lists if isinstance(groups, list) for group in groups]

    def subnet_ids(self, node_type: str) -> list[str]:
        """The subnets that a node type names."""
        node = self.node_config(node_type)
        subnets = node.get("SubnetIds")
        found = list(subnets) if isinstance(subnets, list) else []
        found += [interface.get("SubnetId") for interface in get_mappings(node, "NetworkInterfaces")]
        return [str(subnet) for subnet in found if subnet]

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


def find_file(local: Any) -> Path | None:
    """Return the absolute path of a file or folder of this machine; None if there is none."""
    try:
        return Path(str(local)).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # no such file, user or name, or links in a circle
        return None


def read_cluster_file(path: Path) -> ClusterFile:
    """Return the content of a cluster file.

    Raises:
        InputError: it cannot be read, is not YAML, or is not a mapping with the fields of a cluster file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--cluster must be a cluster file, {path} cannot be read: {error.strerror}; "
            "the clone has one, cluster.yaml"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"--cluster must be UTF-8, byte {error.start} of {path} is not; save it as UTF-8"
        ) from error
    except ValueError as error:  # a path with a NUL or a lone surrogate
        raise InputError(f"--cluster must be the path of a file, got {str(path)!r}: {error}") from error
    config = _parse(path, text)
    if (num_values := _count_values(config, {})) > MAX_VALUES:
        raise InputError(
            f"--cluster must have at most {MAX_VALUES} values, aliases included, {path} has {num_values}"
        )
    if not isinstance(config, Mapping):
        got = "is empty" if config is None else f"holds a {type(config).__name__}"
        raise InputError(
            f"--cluster must be a YAML mapping with provider, available_node_types and the other fields of "
            f"cluster.yaml, {path} {got}"
        )
    return ClusterFile(text, config)


def _parse(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, Loader=StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1} of {path}" if mark else str(path)
        raise InputError(f"--cluster must be YAML, {place}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"--cluster must be text, line {line} of {path} has a control character") from error
    except ValueError as error:  # a date that does not exist
        raise InputError(f"--cluster must be YAML, {path} has a value that is none: {error}") from error
    except RecursionError as error:
        raise InputError(
            f"--cluster must not be nested so deeply, or refer to itself, as {path} does"
        ) from error


def _count_values(value: Any, known: dict[int, int]) -> int:
    """Return the number of values in a value; `known` has those of the objects that were counted, by id."""
    if id(value) not in known:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        known[id(value)] = 1 + sum(_count_values(child, known) for child in children)
    return known[id(value)]


class StrictLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without what makes a cluster file mean something else than a reader sees.

    A key that is given twice would count with its last value only, and an anchor inside itself has no end.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} is given twice, first in line {lines[key.value]}",
                    problem_mark=key.start_mark,
                )
            lines[str(key.value)] = key.start_mark.line + 1
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            node = self.anchors.get(event.anchor)
            if node is not None and node.end_mark is None:
                raise yaml.MarkedYAMLError(
                    problem=f"*{event.anchor} is inside &{event.anchor}", problem_mark=event.start_mark
                )
        return super().compose_node(parent, index)

"""Endpoint, region and checksums of S3, as environment and configuration files of AWS name them.

pyarrow takes an endpoint only as an argument. The order is that of all AWS tools:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

import configparser
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ocr_ray.errors import InputError
from ocr_ray.storage.uri import has_secret

CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"
WHEN_SUPPORTED, WHEN_REQUIRED = "when_supported", "when_required"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-f:.]+")
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{0,63}(?<!-)")
_AWS_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "api.aws")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Where S3 is and how it is addressed."""

    scheme: str = "https"
    address: str = ""
    """`host:port`; empty for the endpoint of the region."""
    region: str = ""
    checksums: str = WHEN_SUPPORTED


def find_settings() -> S3Settings:
    """Return the settings for S3 in environment, configuration files and their profile.

    Servers other than AWS get checksums only if these are asked for: many, such as Ceph before 2024, refuse
    uploads whose checksum comes at the end.

    Raises:
        InputError: a setting is not valid; the message names the variable or file.
    """
    profile, sections, paths = _read_profile()
    name, url = _find_endpoint(profile, sections, paths)
    scheme, address = _parse_endpoint(url, name) if url else ("https", "")
    host = urlsplit(f"//{address}").hostname or ""
    is_aws = not address or any(host == domain or host.endswith(f".{domain}") for domain in _AWS_DOMAINS)
    standard = WHEN_SUPPORTED if is_aws else WHEN_REQUIRED
    key = CHECKSUMS.removeprefix("AWS_").lower()
    checksums = (os.environ.get(CHECKSUMS) or profile.get(key) or standard).lower()
    if checksums not in (WHEN_SUPPORTED, WHEN_REQUIRED):
        raise InputError(f"{CHECKSUMS} must be {WHEN_SUPPORTED} or {WHEN_REQUIRED}, got {checksums!r}")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or profile.get("region", "")
    if not _REGION.fullmatch(region):
        raise InputError(f"AWS_REGION, or region in {paths}, must be like ap-northeast-2, got {region!r}")
    return S3Settings(scheme=scheme, address=address, region=region, checksums=checksums)


def _find_endpoint(
    profile: Mapping[str, str], sections: Mapping[str, Mapping[str, str]], paths: str
) -> tuple[str, str]:
    """Return the name of the setting that gives the endpoint, and its URL; empty without one."""
    ignored = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    if (ignored or profile.get("ignore_configured_endpoint_urls", "")).lower() == "true":
        return "", ""
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(variable):
            return variable, url
    if services := profile.get("services"):
        if f"services {services}" not in sections:
            raise InputError(f"services = {services} must name a section [services {services}] of {paths}")
        if url := _read_nested(sections[f"services {services}"].get("s3", "")).get("endpoint_url"):
            return f"endpoint_url in {paths}", url
    return f"endpoint_url in {paths}", profile.get("endpoint_url", "")


def _parse_endpoint(url: str, name: str) -> tuple[str, str]:
    if has_secret(url) or "@" in url:
        raise InputError(f"{name} must not contain a user and password, keys have their own variables")
    try:
        parts = urlsplit(url)
        is_valid = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0 and url.isprintable()
    except ValueError:  # the port is no number, or a bracket is missing
        is_valid = False
    if not is_valid or parts.scheme not in ("http", "https"):
        raise InputError(f"{name} must be http://host:port or https://…, got {url!r}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise InputError(
            f"{name} must be http://host:port without a path, got {url!r}; name the bucket in the "
            "s3:// URIs; S3 below a path of a server cannot be used"
        )
    return parts.scheme, parts.netloc.removesuffix(":")


def _read_profile() -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]], str]:
    """Return the settings of the chosen profile, all sections, and where they were looked for."""
    config, credentials = (
        # Path.expanduser would raise for an unknown user.
        Path(os.path.expanduser(os.path.expandvars(os.environ.get(variable) or standard)))  # noqa: PTH111
        for variable, standard in (
            ("AWS_CONFIG_FILE", "~/.aws/config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        )
    )
    sections = {_normalise(name): values for name, values in _read_sections(config).items()}
    profiles = _read_sections(credentials)
    chosen = os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    name = f"profile {chosen or 'default'}"
    if chosen not in (None, "default") and name not in sections and chosen not in profiles:
        raise InputError(f"AWS_PROFILE must name a profile of {config} or {credentials}, got {chosen!r}")
    return {**sections.get(name, {}), **profiles.get(chosen or "default", {})}, sections, str(config)


def _read_sections(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read([path], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} must be a configuration file of AWS: {reason}") from error
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _normalise(section: str) -> str:
    """Return `profile NAME`, also for `[default]` and names in quotes, or `services NAME`."""
    try:
        words = shlex.split(section)
    except ValueError:
        return section
    return "profile default" if words == ["default"] else " ".join(words)


def _read_nested(text: str) -> dict[str, str]:
    """Return the settings in the indented lines below a name."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}

"""Where S3 is: the same endpoint as boto3's, from the same variables and files."""

import boto3
import pytest

from ocr_ray.errors import InputError
from ocr_ray.storage.endpoint import S3Settings, find_settings

SERVICES = """
[profile lab]
region = eu-north-1
services = lab-services
endpoint_url = http://global:1

[services lab-services]
dynamodb =
  endpoint_url = http://not-s3:2
s3 =
  max_concurrent_requests = 3
  endpoint_url = https://of-s3:3

[services]
s3 =
  endpoint_url = http://nobody:4
"""
DEFAULT = "[default]\nendpoint_url = http://minio:9000/\nregion = ap-northeast-2\n"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Writes configuration files and variables, and returns the settings found in them."""
    for name in ("ENDPOINT_URL", "ENDPOINT_URL_S3", "PROFILE", "DEFAULT_PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def find(config: str = "", credentials: str = "", **variables: str) -> S3Settings:
        (tmp_path / ".aws").mkdir(exist_ok=True)
        (tmp_path / ".aws/config").write_text(config, encoding="utf-8")
        (tmp_path / ".aws/credentials").write_text(credentials, encoding="utf-8")
        for name, value in variables.items():
            monkeypatch.setenv(f"AWS_{name}", value.replace("HOME", str(tmp_path)))
        return find_settings()

    return find


@pytest.mark.parametrize(
    ("config", "credentials", "variables", "address"),
    [
        ("", "", {}, ""),
        (DEFAULT, "", {}, "minio:9000"),
        ("[profile default]\nendpoint_url=http://quoted:1", "", {}, "quoted:1"),
        (DEFAULT, "", {"ENDPOINT_URL": "http://env:1"}, "env:1"),
        (DEFAULT, "", {"ENDPOINT_URL": ""}, "minio:9000"),
        (SERVICES, "", {"PROFILE": "lab"}, "of-s3:3"),
        (SERVICES, "", {}, ""),
        (SERVICES, "", {"PROFILE": "lab", "ENDPOINT_URL": "http://env:1"}, "env:1"),
        (
            SERVICES,
            "",
            {"ENDPOINT_URL": "http://env:1", "ENDPOINT_URL_S3": "http://env-of-s3:2"},
            "env-of-s3:2",
        ),
        (SERVICES.replace("s3 =", "sqs ="), "", {"PROFILE": "lab"}, "global:1"),
        (DEFAULT, "", {"IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, ""),
        (DEFAULT, "", {"IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "ENDPOINT_URL": "http://env:1"}, ""),
        (DEFAULT, "", {"IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, "minio:9000"),
        (DEFAULT + "ignore_configured_endpoint_urls = true", "", {"ENDPOINT_URL_S3": "http://env:1"}, ""),
        ('[profile "my lab"]\nendpoint_url = http://mine', "", {"PROFILE": "my lab"}, "mine"),
        (DEFAULT, "[lab]\nendpoint_url = http://of-credentials", {"PROFILE": "lab"}, "of-credentials"),
        (DEFAULT, "", {"CONFIG_FILE": "HOME/.aws/credentials"}, ""),
        ("", DEFAULT, {"CONFIG_FILE": "~/.aws/credentials"}, "minio:9000"),
        (DEFAULT, "", {"CONFIG_FILE": "/no/such/file"}, ""),
        (SERVICES, "", {"PROFILE": "lab", "DEFAULT_PROFILE": "default", "ENDPOINT_URL_S3": "http://e"}, "e"),
        ("[default]\nendpoint_url = https://[::1]:9000", "", {}, "[::1]:9000"),
        (DEFAULT, "", {"CONFIG_FILE": "~nobody-of-this-name/config"}, ""),
        (DEFAULT.replace("endpoint_url = ", "Endpoint_URL: ").replace("\n", "\r\n"), "", {}, "minio:9000"),
    ],
)
def test_the_endpoint_is_that_of_boto3(config, credentials, variables, address, settings) -> None:
    if variables.get("DEFAULT_PROFILE"):
        config += DEFAULT
    found = settings(config, credentials, **variables)
    assert found.address == address
    region = found.region or "us-east-1"
    url = boto3.session.Session().client("s3", region_name=region).meta.endpoint_url
    expected = f"{found.scheme}://{address}" if address else f"https://s3.{region}.amazonaws.com"
    assert url.rstrip("/").replace("s3.us-east-1.", "s3.") == expected.replace("s3.us-east-1.", "s3.")


def test_the_region_is_that_of_boto3(settings) -> None:
    assert settings(SERVICES, PROFILE="lab").region == "eu-north-1" == boto3.session.Session().region_name
    assert (
        settings(DEFAULT, PROFILE="default").region == "ap-northeast-2" == boto3.session.Session().region_name
    )


@pytest.mark.parametrize(
    "url",
    [
        *["localhost:9000", "//localhost", "ftp://host", "http://", "http://:9000", "http://host:port"],
        *["http://host:99999", "http://[::1", "http://ho st", "http://host\n", "http://host/path"],
        *["http://서버:9000", "http://a%20b:1", "http:\\\\host", "http://host ; mine", '"http://host"'],
        *["http://host/bucket/", "https://host?x=1", "http://host#x", "s3://bucket"],
    ],
)
def test_an_endpoint_that_is_no_server_is_refused_with_its_setting(url: str, settings) -> None:
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL must be http"):
        settings(ENDPOINT_URL=url)
    if "\n" not in url:
        with pytest.raises(InputError, match=r"endpoint_url in .*/\.aws/config must be http"):
            settings(f"[default]\nendpoint_url = {url}\n", ENDPOINT_URL="")


@pytest.mark.parametrize(
    "url", ["http://user:secret@127.0.0.1:9", "s3://us/er:secret@host", "http://h?key=secret"]
)
def test_an_endpoint_with_a_password_is_refused_and_not_shown(url: str, settings) -> None:
    for config, variables in (
        ("", {"ENDPOINT_URL": url}),
        (f"[default]\nendpoint_url={url}", {"ENDPOINT_URL": ""}),
    ):
        with pytest.raises(InputError, match="must not contain a user and password") as refusal:
            settings(config, **variables)
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "variables", "message"),
    [
        (DEFAULT, {"PROFILE": "labb"}, r"AWS_PROFILE must name a profile of .*/config or .*, got 'labb'"),
        ("[default]\nservices = x", {}, r"services = x must name a section \[services x\] of .*/config"),
        (
            "aws_secret_access_key = abc",
            {},
            r"/config must be a configuration file of AWS: File contains no sec",
        ),
        (
            "[default]\nregion = Asia Pacific (Seoul)",
            {},
            r"region in .*/config, must be like ap-northeast-2, got",
        ),
        ("", {"REGION": "ap-northeast-2 "}, "AWS_REGION, or region in .* must be like ap-northeast-2, got"),
        ("[default]\nrequest_checksum_calculation = never", {}, "must be when_supported or when_required"),
    ],
)
def test_a_setting_that_is_not_valid_is_refused(config, variables, message, settings) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        settings(config, **variables)
    assert "abc" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "checksums"),
    [
        ("", "when_supported"),
        ("https://s3.ap-northeast-2.amazonaws.com", "when_supported"),
        ("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", "when_supported"),
        ("https://notamazonaws.com", "when_required"),
        ("http://127.0.0.1:7480", "when_required"),
    ],
)
def test_only_aws_gets_checksums_unless_they_are_asked_for(url: str, checksums: str, settings) -> None:
    assert settings(ENDPOINT_URL=url).checksums == checksums
    config = "[default]\nrequest_checksum_calculation = WHEN_SUPPORTED"
    assert settings(config).checksums == "when_supported"
    assert settings(config, REQUEST_CHECKSUM_CALCULATION="when_required").checksums == "when_required"

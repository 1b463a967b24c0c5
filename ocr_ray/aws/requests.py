"""Requests to AWS for checks, each sent once; what AWS refuses becomes a fault."""

import re
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ocr_ray.aws.cluster_file import ClusterFile, Fault


class Account:
    """Sends requests to AWS in the region of a cluster file and collects the faults."""

    def __init__(self, file: ClusterFile) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self._clients: dict[str, Any] = {}
        self._answers: dict[tuple[str, ...], Any] = {}

    def is_reachable(self) -> bool:
        """Return whether AWS accepts the credentials; adds a fault if it does not."""
        identity = self.call(
            "AWS",
            "sts",
            "get_caller_identity",
            remedy="`aws configure` or `aws sso login` sets credentials; --skip-aws skips these checks",
        )
        return identity is not None

    def call(
        self, field: str, service: str, action: str, *, remedy: str, missing: str = "", **arguments: Any
    ) -> Any:
        """Return the answer of AWS to a request, sent once; if it refuses, add a fault and return None.

        If it refuses with the error code `missing`, nothing is wrong, and the answer is empty.
        """
        request = (service, action, repr(arguments))
        if request not in self._answers:
            try:
                self._answers[request] = getattr(self._client(service), action)(**arguments)
            # The others are of AWS_ENDPOINT_URL, credential_process and settings that are not numbers.
            except (ClientError, BotoCoreError, OSError, ValueError) as error:
                self._answers[request] = error
        answer = self._answers[request]
        if missing and isinstance(answer, ClientError) and answer.response["Error"]["Code"] == missing:
            return {}
        if isinstance(answer, Exception):
            message = re.sub(r"\s+", " ", str(answer))
            self.add(
                field, f"AWS must allow {service}:{action.replace('_', '-')}, it answers: {message}; {remedy}"
            )
            return None
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.Session(region_name=self.file.region or None)  # fails on an unknown AWS_PROFILE
            self._clients[service] = session.client(service)
        return self._clients[service]

    def add(self, field: str, message: str, *, is_warning: bool = False) -> None:
        """Add a fault."""
        self.faults.append(Fault(field, message, is_warning))

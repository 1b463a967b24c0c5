"""What several tests stand on: fonts of this machine, an S3 server, one Ray session, lines to train on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, find_available_fonts

if TYPE_CHECKING:
    from ocr_ray.training.data.row_groups import LineDataset

os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def fonts() -> list[Font]:
    return find_available_fonts(DEFAULT_FONTS)


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[None]:
    """A real HTTP S3 endpoint; its place and keys are in the environment before Ray starts its workers."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield
    server.stop()


@pytest.fixture(scope="session")
def bucket(s3_environment: None) -> str:
    boto3.client("s3").create_bucket(Bucket="ocr-ray-test")
    return "s3://ocr-ray-test"


@pytest.fixture(scope="session")
def ray_session(s3_environment: None) -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with a tokenizer of the texts of `dataset` and `short`."""
    from builders.training_data import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("model") / "model").folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> "LineDataset":
    """37 lines to train on, three to validate with."""
    from builders.training_data import make_dataset

    return make_dataset(tmp_path_factory.mktemp("lines"), 37, 3)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> "LineDataset":
    """Ten lines to train on, three to validate with."""
    from builders.training_data import make_dataset

    return make_dataset(tmp_path_factory.mktemp("short"), 10, 3)

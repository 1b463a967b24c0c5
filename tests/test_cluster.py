from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from ocr_ray.cluster import count_workers
from ocr_ray.errors import InputError

CONFIG = yaml.safe_load(Path(__file__).parents[1].joinpath("cluster.yaml").read_text())


def test_ray_accepts_the_cluster_file() -> None:
    validate_config(prepare_config(dict(CONFIG)))


def test_the_head_runs_no_tasks_and_its_dashboard_is_not_public() -> None:
    assert CONFIG["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert any("--dashboard-host=127.0.0.1" in command for command in CONFIG["head_start_ray_commands"])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_more_workers_than_there_can_ever_be_are_refused() -> None:
    assert count_workers(None, use_gpu=False) == count_workers(2, use_gpu=False) == 2
    with pytest.raises(
        InputError, match="3 workers need a CPU each, there are 2 and can be no more than 2; give"
    ):
        count_workers(3, use_gpu=False)
    with pytest.raises(InputError, match="1 workers need a GPU each, there are 0"):
        count_workers(None, use_gpu=True)

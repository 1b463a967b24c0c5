from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CONFIG = yaml.safe_load(Path(__file__).parents[1].joinpath("cluster.yaml").read_text())


def test_ray_accepts_the_cluster_file() -> None:
    validate_config(prepare_config(dict(CONFIG)))


def test_the_head_runs_no_tasks_and_its_dashboard_is_not_public() -> None:
    assert CONFIG["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert any("--dashboard-host=127.0.0.1" in command for command in CONFIG["head_start_ray_commands"])

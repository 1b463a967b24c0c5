import pytest

from ocr_ray.cluster import count_workers
from ocr_ray.errors import InputError


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

"""The precision to read with; imports torch only if it has to ask a GPU."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, get_args

from ocr_ray.model.options import Precision, PrecisionChoice, choose_precision

log = logging.getLogger(__name__)


def settle_precision(
    chosen: PrecisionChoice,
    plan: Mapping[str, Any] | None,
    *,
    use_gpu: bool,
    call_on_gpu: Callable[..., Any],
) -> Precision:
    """Return the precision to read with. auto: that of an earlier run, otherwise that of the device.

    `plan` is the configuration of the earlier run, if there is one; without a precision it read in fp32.
    `call_on_gpu` calls a function where a GPU is, if this process has none.

    Raises:
        InputError: there is no GPU.
    """
    if chosen != "auto":
        return chosen
    if plan is not None:
        kept: Precision = plan.get("precision", "fp32")
        return kept if kept in get_args(Precision) else "fp32"
    if not use_gpu:
        return choose_precision(None)
    from ocr_ray.model.precision import find_capability

    capability = find_capability(call_on_gpu)
    precision = choose_precision(capability)
    log.info("precision %s, chosen for a GPU of capability %d.%d", precision, *capability)
    return precision

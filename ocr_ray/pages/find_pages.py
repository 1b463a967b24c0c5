"""The pages at a place, and their labels looked through over the cluster before any image is opened."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray

from ocr_ray.cluster.session import find_limit
from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import InputError
from ocr_ray.pages.files.store import Listing, PageFile, PageStore, pair_pages
from ocr_ray.storage.location import Location, locate

PAGES_PER_TASK, TASKS_AHEAD = 1024, 256
"""Labels read in one task, and tasks handed to Ray at once where no limit of CPUs is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPages:
    """What lies at a place of pages; no label is read yet."""

    place: Location
    store: PageStore
    listing: Listing
    files: Sequence[PageFile]
    rejects: tuple[Reject, ...]
    others: dict[str, int]
    """Files that belong to no problem, by kind."""


def find_pages(pages_uri: str) -> FoundPages:
    """Return the pages at a place.

    Raises:
        InputError: it cannot be read, or there are none.
    """
    place = locate(pages_uri)
    try:
        store = PageStore(place)
    except InputError as error:
        raise InputError(f"--pages-uri: {error}") from error
    listing = store.list()
    files, unpaired, others = pair_pages(listing.files)
    if not files:
        raise InputError(
            "--pages-uri must hold images (.png, .jpg) and labels (.json) of the same names; "
            f"found no pair among the {len(listing.files)} files of {place}"
        )
    rejects = (*listing.rejects, *unpaired)
    return FoundPages(place=place, store=store, listing=listing, files=files, rejects=rejects, others=others)


def survey(
    found: FoundPages, look: Callable[[PageStore, Sequence[PageFile]], pa.Table], *, num_cpus: int | None
) -> Iterator[pa.Table]:
    """Yield what `look` says of all pages, in their order; it runs in tasks, `num_cpus` at once at most."""
    task = ray.remote(_call).options(num_cpus=1)
    num_ahead = min(num_cpus or TASKS_AHEAD, find_limit(use_gpu=False) or TASKS_AHEAD)
    ahead: deque[ray.ObjectRef[pa.Table]] = deque()
    for start in range(0, len(found.files), PAGES_PER_TASK):
        ahead.append(task.remote(look, found.store, found.files[start : start + PAGES_PER_TASK]))
        if len(ahead) == num_ahead:
            yield ray.get(ahead.popleft())
    while ahead:
        yield ray.get(ahead.popleft())


def _call(
    look: Callable[[PageStore, Sequence[PageFile]], pa.Table], store: PageStore, files: Sequence[PageFile]
) -> pa.Table:
    return look(store, files)

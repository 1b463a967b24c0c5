"""Pages loaded from a store: image and label together, the next ones ahead."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ocr_ray.dataset.lines import PartRow, Reject, TopicCount
from ocr_ray.pages.files.page_image import PageImage, decode_page
from ocr_ray.pages.files.store import MAX_IMAGE_BYTES, PageFile, PageStore
from ocr_ray.pages.labels.fields import MAX_LABEL_BYTES
from ocr_ray.pages.labels.page_label import BoxFormat, PageLabel
from ocr_ray.pages.labels.read import read_label

PAGES_AHEAD = 8
"""Pages loaded while others are cropped: a request to S3 takes longer than a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPage:
    """A page with its label, its image still encoded."""

    label: PageLabel
    label_bytes: bytes
    image_bytes: bytes

    def open(self) -> PageImage:
        """Return the image, decoded to fit the label; raises as `decode_page` does."""
        return decode_page(self.image_bytes, self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLoader:
    """Loads pages from a store, and accounts for the files that make no page."""

    store: PageStore
    box_format: BoxFormat
    rejects: tuple[Reject, ...] = ()
    """Files that make no page."""
    out_of_scope: Mapping[str, int]
    """Number of pages that are no problem, by kind."""

    def load(self, file: PageFile) -> LoadedPage:
        """Return a page.

        Raises:
            RowError: its label cannot be read, or its image file cannot.
        """
        label_bytes = self.store.read(file.label_path, MAX_LABEL_BYTES)
        return LoadedPage(
            label=read_label(label_bytes, file.page_id, box_format=self.box_format),
            label_bytes=label_bytes,
            image_bytes=self.store.read(file.image_path, MAX_IMAGE_BYTES),
        )

    def load_ahead(self, files: Iterable[PageFile]) -> Iterator[tuple[PageFile, Future[LoadedPage]]]:
        """Yield each file with its page or the `RowError` of loading it; the next pages load in parallel."""
        ahead: deque[tuple[PageFile, Future[LoadedPage]]] = deque()
        with ThreadPoolExecutor(PAGES_AHEAD) as pool:
            for file in files:
                ahead.append((file, pool.submit(self.load, file)))
                if len(ahead) > PAGES_AHEAD:
                    yield ahead.popleft()
            yield from ahead

    def account_for_other_files(self) -> Iterator[PartRow]:
        """Yield the rejects and counts of files that make no page; they go into a dataset's first part."""
        for reject in self.rejects:
            yield reject
            yield TopicCount(topic="pages", name="rejected")
        for kind, number in self.out_of_scope.items():
            yield TopicCount(topic="pages_out_of_scope", name=kind, number=number)
        yield TopicCount(topic="pages", name="read", number=0)


def count_warnings(warnings: Mapping[str, int] | Iterable[str]) -> Iterator[TopicCount]:
    """Yield the counts of what is odd about a page."""
    for name, number in Counter(warnings).items():
        yield TopicCount(topic="warnings", name=name, number=number)


def count_boxes(label: PageLabel, num_rejected: int) -> Iterator[TopicCount]:
    """Yield the counts of a page's boxes: each was cut, was rejected, or is out of scope."""
    yield TopicCount(topic="boxes", name="cut", number=len(label.boxes) - num_rejected)
    yield TopicCount(topic="boxes", name="rejected", number=num_rejected)
    for kind, number in label.out_of_scope.items():
        yield TopicCount(topic="boxes_out_of_scope", name=kind, number=number)

"""Several files read as one: the pieces of a zip."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


class JoinedFile(io.RawIOBase):
    """A random-access file made of several of pyarrow, one after the other; `read_at` is thread-safe."""

    def __init__(self, files: Sequence[Any]) -> None:
        super().__init__()
        self._files = files
        self._starts: list[int] = [0, *accumulate(file.size() for file in files)]
        self._position = 0

    def size(self) -> int:
        return self._starts[-1]

    def read_at(self, num_bytes: int, offset: int) -> bytes:
        """Return the bytes from `offset` on, fewer at the end of the last file."""
        contents: list[bytes] = []
        end = min(offset + num_bytes, self.size())
        while offset < end:
            index = bisect_right(self._starts, offset) - 1  # the last that starts here: others are empty
            stop = min(end, self._starts[index + 1])
            content = bytes(self._files[index].read_at(stop - offset, offset - self._starts[index]))
            if not content:
                break
            contents.append(content)
            offset += len(content)
        return b"".join(contents)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size()}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        content = self.read_at(len(buffer), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

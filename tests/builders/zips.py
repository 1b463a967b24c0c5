"""Zips that no zip program writes: wrong sizes, odd names, shared offsets."""

import struct
import zlib
from dataclasses import dataclass

UTF8 = 1 << 11


@dataclass(frozen=True, kw_only=True)
class ZipMember:
    """One member as it is written; None stands for the true value."""

    name: bytes
    content: bytes = b""
    deflate: bool = False
    flags: int = 0
    mode: int = 0o100644
    system: int = 3
    method: int | None = None
    size: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    crc: int | None = None
    offset: int | None = None
    extra: bytes = b""

    def packed_content(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if not self.deflate:
            return self.content
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.content) + packer.flush()


def make_zip(*members: ZipMember, prefix: bytes = b"", count: int | None = None) -> bytes:
    """Return a zip of the members in this order; `count` is the number of entries that it declares."""
    body, directory = bytearray(), bytearray()
    for member in members:
        packed = member.packed_content()
        method = (8 if member.deflate else 0) if member.method is None else member.method
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        size = len(member.content) if member.size is None else member.size
        packed_size = len(packed) if member.packed_size is None else member.packed_size
        common = struct.pack("<HHIIII", member.flags, method, 0, crc, packed_size, size)
        length = struct.pack("<H", len(member.name))
        offset = len(body) if member.offset is None else member.offset
        body += b"PK\3\4" + struct.pack("<H", 20) + common + length + b"\0\0" + member.name + packed
        directory += b"PK\1\2" + struct.pack("<BBH", 20, member.system, 20) + common + length
        directory += struct.pack("<HHHHII", len(member.extra), 0, 0, 0, member.mode << 16, offset)
        directory += member.name + member.extra
    num = len(members) if count is None else count
    end = struct.pack("<HHHHIIH", 0, 0, num & 0xFFFF, num & 0xFFFF, len(directory), len(body), 0)
    return prefix + bytes(body + directory) + b"PK\5\6" + end

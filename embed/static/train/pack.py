"""Writes and reads model.bin. The bytes are drawn in ../format.go."""

import pathlib
import struct

import numpy as np

import folding

MAGIC = b"FRSHSTAT"
FORMAT = 1
# Magic, format, rows, dim, bytes of the name, bytes of the vocabulary, runs, bytes of the expansions.
HEAD = struct.Struct("<8s7I")


def crc32c_table() -> list[int]:
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli). A second or two for 8 MB, which saves a dependency."""
    table, crc = crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (scales [rows] float32, codes [rows, dim] int8) with rows ≈ scales · codes and |code| ≤ 127."""
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    codes = np.rint(rows / np.maximum(scales, 1e-20)[:, None]).clip(-127, 127).astype(np.int8)
    return scales, codes


def write(path: pathlib.Path, name: str, vocabulary: list[str], rows: np.ndarray) -> None:
    scales, codes = quantise(rows)
    label = name.encode()
    pieces = "".join(piece + "\n" for piece in vocabulary).encode()
    runs, expansions = folding.table()
    folded = "".join(expansion + "\n" for expansion in expansions).encode()
    body = HEAD.pack(MAGIC, FORMAT, *codes.shape, len(label), len(pieces), len(runs), len(folded)) + label + pieces
    body += b"".join(folding.RUN.pack(*run) for run in runs) + folded
    body += scales.astype("<f4").tobytes() + codes.tobytes()
    path.write_bytes(body + struct.pack("<I", crc32c(body)))


def read(path: pathlib.Path) -> tuple[str, list[str], np.ndarray]:
    """Returns (name, vocabulary, rows [rows, dim] float32)."""
    data = path.read_bytes()
    magic, form, count, dim, label, pieces, runs, folded = HEAD.unpack_from(data)
    assert magic == MAGIC and form == FORMAT and crc32c(data[:-4]) == struct.unpack("<I", data[-4:])[0], path
    at = HEAD.size
    name, at = data[at : at + label].decode(), at + label
    vocabulary, at = data[at : at + pieces].decode().split("\n")[:-1], at + pieces
    at += runs * folding.RUN.size + folded
    scales, at = np.frombuffer(data, "<f4", count, at), at + 4 * count
    codes = np.frombuffer(data, np.int8, count * dim, at).reshape(count, dim)
    return name, vocabulary, scales[:, None] * codes.astype(np.float32)

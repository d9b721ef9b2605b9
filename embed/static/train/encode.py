"""Keeps the teacher's vectors of texts on disk, so that a run that was broken off goes on where it stood."""

import hashlib
import pathlib

import numpy as np

SHARD = 20_000


def teacher_vectors(teacher, tokenizer, texts: list[str], folder: pathlib.Path) -> np.ndarray:
    """Returns [len(texts), 384] float16, one file of SHARD texts at a time, named by the hash of its texts."""
    folder.mkdir(exist_ok=True)
    parts = []
    for start in range(0, len(texts), SHARD):
        shard = texts[start : start + SHARD]
        path = folder / (hashlib.sha256("\n".join(shard).encode()).hexdigest()[:16] + ".npy")
        if not path.exists():
            ids = [encoding.ids for encoding in tokenizer.encode_batch(shard, add_special_tokens=False)]
            half = path.with_suffix(".part.npy")
            np.save(half, teacher.vectors(ids).astype(np.float16))
            half.rename(path)
            print(f"teacher: {start + len(shard)} of {len(texts)} texts", flush=True)
        parts.append(np.load(path))
    return np.concatenate(parts)

"""A digest of samples and weights that does not depend on how they are divided into parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy.typing as npt

from gmm_core.data.blocks import Block

_PIECE = 1 << 16    # bytes


def _hash(before: bytes, piece: Any) -> bytes:
    state = hashlib.blake2b(before, digest_size=32)
    state.update(piece)
    return state.digest()


class Digest(NamedTuple):
    """The digest of bytes that come part by part; unlike an object of hashlib it can be pickled.

    Every piece of 64 KiB is hashed together with the hash of the pieces before it.

    Attributes
    ----------
    hashed : bytes
        Hash of the whole pieces so far.
    rest : bytes
        What follows them: less than a piece.
    """

    hashed: bytes = b""
    rest: bytes = b""

    def and_array(self, array: npt.NDArray[Any]) -> Digest:
        """Return the digest of what came before and the C-contiguous array."""
        new = memoryview(array.reshape(-1).view("u1"))  # type: ignore[arg-type]
        hashed, rest = self
        if rest:
            missing = _PIECE - len(rest)
            rest, new = rest + new[:missing], new[missing:]
            if len(rest) < _PIECE:
                return Digest(hashed, rest)
            hashed = _hash(hashed, rest)
        whole = len(new) // _PIECE * _PIECE
        for start in range(0, whole, _PIECE):
            hashed = _hash(hashed, new[start : start + _PIECE])
        return Digest(hashed, bytes(new[whole:]))

    def end(self) -> bytes:
        """Return the digest of all bytes."""
        return _hash(self.hashed, self.rest)


class DataDigest(NamedTuple):
    """The digests of samples and of weights, which are kept apart."""

    samples: Digest = Digest()
    weights: Digest = Digest()

    def and_rows(self, X: npt.NDArray[Any], sample_weight: npt.NDArray[Any]) -> DataDigest:
        """Return the digests of the rows before and of further rows."""
        return DataDigest(self.samples.and_array(X), self.weights.and_array(sample_weight))

    def end(self) -> str:
        """Return both digests in one text of hexadecimal digits."""
        return _hash(self.samples.end(), self.weights.end()).hex()


def digest_of(blocks: Iterable[Block]) -> str:
    """Return the digest of all rows of the blocks and of their weights."""
    digest = DataDigest()
    for _, X, sample_weight in blocks:
        digest = digest.and_rows(X, sample_weight)
    return digest.end()

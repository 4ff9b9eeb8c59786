"""A digest of samples and weights that does not depend on how they are divided into blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.data.blocks import NO_NOISE, Block

_PIECE = 1 << 16  # bytes that are hashed at once


def _hash(before: bytes, piece: bytes | memoryview) -> bytes:
    """Return the hash of `before` followed by `piece`."""
    import hashlib  # here, as it loads OpenSSL

    state = hashlib.blake2b(before, digest_size=32)
    state.update(piece)
    return state.digest()


class Digest(NamedTuple):
    """A digest of a sequence of arrays, updated one array at a time.

    Every piece of 64 KiB is hashed together with the hash of the pieces before it. Unlike an object
    of hashlib, a digest can be pickled, so that tasks on a cluster can continue it.

    Attributes
    ----------
    hashed : bytes
        The hash of all complete pieces so far.
    rest : bytes
        The bytes that follow these pieces, which are fewer than a piece.
    """

    hashed: bytes = b""
    rest: bytes = b""

    def and_array(self, array: FloatArray) -> Digest:
        """Return the digest of the bytes so far and those of a C-contiguous array."""
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
    """The digests of the samples, of their weights and of their noise.

    These have separate digests. They arrive alternately, block by block, so a single digest would
    depend on the block boundaries.
    """

    samples: Digest = Digest()
    weights: Digest = Digest()
    noise: Digest = Digest()

    def and_rows(
        self, X: FloatArray, sample_weight: Float64Array, noise: Float64Array = NO_NOISE
    ) -> DataDigest:
        """Return the digests of the rows so far and of further rows."""
        return DataDigest(
            self.samples.and_array(X), self.weights.and_array(sample_weight),
            self.noise.and_array(noise),
        )  # fmt: skip

    def end(self) -> str:
        """Return the digests as one number in hexadecimal digits."""
        of_rows = _hash(self.samples.end(), self.weights.end())
        if self.noise == Digest():
            return of_rows.hex()
        return _hash(of_rows, self.noise.end()).hex()


def digest_of(blocks: Iterable[Block]) -> str:
    """Return the digest of all rows of the blocks and of their weights."""
    digest = DataDigest()
    for _, X, sample_weight, noise in blocks:
        digest = digest.and_rows(X, sample_weight, noise)
    return digest.end()

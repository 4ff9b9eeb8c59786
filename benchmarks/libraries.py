"""Name all libraries under comparison, and load them."""

from handwritten import Jax, QuadraticFeatures
from peers import Daal4py, Dense, GmmCore, Peer, Pomegranate, Reference, ScikitLearn

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        GmmCore, Dense, Reference, QuadraticFeatures, Jax, ScikitLearn, Daal4py, Pomegranate
    )
}


def load(names: list[str]) -> tuple[dict[str, Peer], dict[str, str]]:
    """Return the libraries that can be imported, and for each of the others the reason why not."""
    peers: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            peers[name] = PEERS[name]()
        except (ImportError, OSError) as error:  # OSError: a shared library cannot be loaded
            missing[name] = f"{type(error).__name__}: {error}"
    return peers, missing

"""Steppe: a Kubernetes network you can see across. As a library: steppe/library.py."""

TYPE_CHECKING = False  # what typing.TYPE_CHECKING says, without its 5 ms for the CNI plugin
if TYPE_CHECKING:
    from steppe.library import Network, load, of_documents

__all__ = ["Network", "load", "of_documents"]


def __getattr__(name: str) -> object:
    """What the library offers, imported when somebody asks for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from steppe import library

    return getattr(library, name)

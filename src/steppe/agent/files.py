"""What would cure an operating system's error at a file or a socket."""

from errno import EDQUOT, EMFILE, ENFILE, ENOSPC, EROFS

_CURES = {
    ENOSPC: "its file system is full: make room, in bytes (df) and in files (df -i)",
    EDQUOT: "its quota is used up: make room, or raise it",
    EROFS: "its file system is read-only: mount it for writing",
    EMFILE: "close what holds files open, or raise LimitNOFILE",
    ENFILE: "close what holds files open, or raise the sysctl fs.file-max",
}


def cure(error: OSError, otherwise: str) -> str:
    """What would cure this error; `otherwise` for an error that does not say it by itself."""
    return _CURES.get(error.errno or 0, otherwise)

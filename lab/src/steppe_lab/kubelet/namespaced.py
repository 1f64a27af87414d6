"""The command line that runs a program inside a running container. Pure."""

from collections.abc import Mapping


def inside(
    pid: int, working_dir: str, env: Mapping[str, str], command: tuple[str, ...]
) -> tuple[str, ...]:
    """All of the container's namespaces, its working directory, exactly its environment."""
    settings = (f"{name}={value}" for name, value in env.items())
    return (
        *("nsenter", f"--target={pid}", "--net", "--uts", "--mount", "--pid"),
        f"--wd={working_dir}",
        *("--", "env", "-i", "--", *settings, *command),
    )

"""Which verbs on which resources of the API a program uses, read from its code.

A use is a call of one of the client's methods, in a module that the program imports. Which resource
is meant must be plain: a constant of `steppe.client.resources` in the call, or a line in INDIRECT
that says where the resources come from. Anything else is an error, so no use goes unseen.
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec

import steppe
from steppe.agent import publish
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.client import informer, store
from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.resources import NODES, Resource
from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import DEFAULT_UNDERLAY
from steppe.settings import Settings

SOURCE = Path(steppe.__file__).parents[1]

VERBS = {
    "get": "get",
    "list": "list",
    "pages": "list",
    "pages_of": "list",
    "lines": "watch",
    "create": "create",
    "update": "update",
    "patch": "patch",
    "delete": "delete",
    "get_path": "nonResourceURL",
    "get_bytes": "nonResourceURL",
    "server_time": "nonResourceURL",
}
"""The client's methods, and the verb that the API server asks its roles for."""


class Use(msgspec.Struct, frozen=True, order=True):
    """A verb on a resource; `group` is empty for the core group."""

    group: str
    plural: str
    verb: str


class UnknownUseError(Exception):
    """A call whose resource cannot be told."""


def agent_follows() -> tuple[Resource, ...]:
    """What the agent lists and watches: the registry of its feeds."""
    health = ProxyHealth("n", None, busy=lambda: 0.0, leaving=lambda: False)
    client = Client(Config(server="http://127.0.0.1:1"))
    settings = Settings(fabric="bgp")  # it follows more kinds than the others
    feeds = Feeds(client, NodeCompiler(settings, "n"), DEFAULT_UNDERLAY, health)
    return tuple(follow.kind.resource for feed in feeds.followed for follow in feed.follows)


class Program(msgspec.Struct, frozen=True):
    """A program: where it starts, and the resources of its calls that name none."""

    start: str
    indirect: dict[tuple[str, str], Callable[[], Iterable[Resource]]]


PROGRAMS = {
    "agent": Program(
        "steppe.agent.__main__",
        {
            ("steppe.client.informer", "pages_of"): agent_follows,
            ("steppe.client.informer", "lines"): agent_follows,
            ("steppe.agent.publish", "get"): publish._RESOURCES.values,
        },
    ),
    "controller": Program(
        "steppe.controller.__main__",
        {
            ("steppe.client.informer", "pages_of"): lambda: (NODES,),
            ("steppe.client.informer", "lines"): lambda: (NODES,),
        },
    ),
}


def uses(program: Program) -> frozenset[Use]:
    """All that a program may ask of the API server."""
    found: set[Use] = set()
    needed = set(program.indirect)
    for name, tree in modules(program.start):
        for call in client_calls(tree):
            resources = _resources(program, name, call)
            needed.discard((name, call.func.attr))
            verbs = {VERBS[call.func.attr], *(("create",) if _applies(call) else ())}
            found |= {Use(r.group, r.plural, verb) for r in resources for verb in verbs}
    if needed:
        raise UnknownUseError(f"INDIRECT names calls that are no more: {sorted(needed)}")
    return frozenset(found)


class _Call(msgspec.Struct, frozen=True):
    func: ast.Attribute
    args: list[ast.expr]
    keywords: list[ast.keyword]


def client_calls(tree: ast.Module) -> Iterator[_Call]:
    """The calls of methods of `client`, or of an attribute of that name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        receiver = ast.unparse(node.func.value)
        if node.func.attr in VERBS and receiver.lower().endswith("client"):
            yield _Call(node.func, node.args, node.keywords)


def _applies(call: _Call) -> bool:
    """Whether it is a server-side apply, for which the API server asks for `create` as well."""
    return any(k.arg == "kind" and ast.unparse(k.value) == "'apply'" for k in call.keywords)


def _resources(program: Program, module: str, call: _Call) -> tuple[Resource, ...]:
    where = f"{module}:{call.func.lineno}: {ast.unparse(call.func)}"
    if any(keyword.arg == "subresource" for keyword in call.keywords):
        raise UnknownUseError(f"{where} has a subresource, which roles name by itself")
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Name):
        meant = getattr(importlib.import_module(module), first.id, None)
        if isinstance(meant, Resource):
            return (meant,)
    source = program.indirect.get((module, call.func.attr))
    if source is None:
        raise UnknownUseError(f"{where}: which resource is meant? INDIRECT has no line for it")
    return tuple(source())


def followed(start: str) -> frozenset[str]:
    """The resources that are given to the client's `watch` and `keep`, as they are written."""
    places = {informer.watch: 1, store.keep: 2}
    names = set()
    for name, tree in modules(start):
        module = importlib.import_module(name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = places.get(getattr(module, node.func.id, None), 0)
                names |= {ast.unparse(node.args[place])} if place else set()
    return frozenset(names)


def client_methods() -> frozenset[str]:
    """The methods of the client by which something is asked of the API server."""
    return frozenset(
        name
        for name, method in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    )


@cache
def modules(start: str) -> tuple[tuple[str, ast.Module], ...]:
    """Each module of steppe that this one imports, itself and wherever the import stands."""
    return tuple(_modules(start))


def _modules(start: str) -> Iterator[tuple[str, ast.Module]]:
    waiting, seen = [start], set()
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        tree = ast.parse(path.read_text())
        yield name, tree
        waiting += _imports(tree)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _path(name: str) -> Path | None:
    if name.partition(".")[0] != "steppe":
        return None
    base = SOURCE.joinpath(*name.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.exists()), None)

import pytest

from steppe_lab.kubelet.expand import (
    Addresses,
    Sources,
    Unresolved,
    command_line,
    environment,
    expand,
    references,
)
from steppe_lab.kubelet.records import (
    Container,
    EnvFrom,
    EnvSource,
    EnvVar,
    KeySelector,
    ObjectFieldSelector,
    Pod,
    PodMeta,
    PodSpec,
    SourceName,
)

POD = Pod(
    metadata=PodMeta(
        name="web-1",
        namespace="shop",
        uid="u-1",
        labels={"app": "web"},
        annotations={"a/b": 'say "hi"'},
    ),
    spec=PodSpec(node_name="node-a", containers=(Container(name="c"),)),
)
ADDRESSES = Addresses(("10.0.0.2", "fd00::2"), ("192.0.2.1",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("cost: $5", "cost: $5"),
    ],
)
def test_references_are_replaced_as_the_api_says(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a/b']", 'say "hi"'),
        ("metadata.annotations", 'a/b="say \\"hi\\""'),
        ("spec.nodeName", "node-a"),
        ("status.podIP", "10.0.0.2"),
        ("status.podIPs", "10.0.0.2,fd00::2"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_the_downward_api(path: str, expected: str) -> None:
    source = EnvSource(field_ref=ObjectFieldSelector(field_path=path))
    container = Container(name="c", env=(EnvVar(name="V", value_from=source),))
    assert environment(container, POD, ADDRESSES, Sources())["V"] == expected


def test_an_unknown_field_is_told_not_raised_as_something_else() -> None:
    source = EnvSource(field_ref=ObjectFieldSelector(field_path="spec.everything"))
    container = Container(name="c", env=(EnvVar(name="V", value_from=source),))
    with pytest.raises(Unresolved, match=r"spec\.everything"):
        environment(container, POD, ADDRESSES, Sources())


def test_env_wins_over_env_from_and_sees_what_came_before() -> None:
    container = Container(
        name="c",
        env_from=(EnvFrom(prefix="P_", config_map_ref=SourceName(name="cm")),),
        env=(EnvVar(name="A", value="$(P_k)-$(LATER)"), EnvVar(name="LATER", value="x")),
    )
    env = environment(container, POD, ADDRESSES, Sources({"cm": {"k": b"v"}}))
    assert env["A"] == "v-$(LATER)"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (KeySelector(name="cm", key="k"), "v"),
        (KeySelector(name="cm", key="none", optional=True), None),
        (KeySelector(name="none", key="k", optional=True), None),
    ],
)
def test_keys_of_config_maps(selector: KeySelector, expected: str | None) -> None:
    source = EnvSource(config_map_key_ref=selector)
    container = Container(name="c", env=(EnvVar(name="V", value_from=source),))
    env = environment(container, POD, ADDRESSES, Sources({"cm": {"k": b"v"}}))
    assert env.get("V") == expected


@pytest.mark.parametrize("selector", [KeySelector(name="cm", key="x"), KeySelector(name="x")])
def test_a_missing_key_that_is_not_optional_holds_the_container_back(selector: KeySelector) -> None:
    container = Container(
        name="c", env=(EnvVar(name="V", value_from=EnvSource(config_map_key_ref=selector)),)
    )
    with pytest.raises(Unresolved):
        environment(container, POD, ADDRESSES, Sources({"cm": {"k": b"v"}}))


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (Container(name="c", command=("a", "$(X)")), ("a", "1")),
        (Container(name="c", args=("-p", "$(X)")), ("image", "-p", "1")),
        (Container(name="c", command=("a",), args=("b",)), ("a", "b")),
        (Container(name="c"), ("image",)),
    ],
)
def test_command_replaces_the_entry_point_and_args_follow(
    container: Container, expected: tuple[str, ...]
) -> None:
    assert command_line(container, ("image",), {"X": "1"}) == expected


def test_references_name_every_config_map_and_secret() -> None:
    secret = EnvSource(secret_key_ref=KeySelector(name="s", key="k"))
    container = Container(
        name="c",
        env=(EnvVar(name="V", value_from=secret),),
        env_from=(EnvFrom(config_map_ref=SourceName(name="m")),),
    )
    pod = Pod(metadata=POD.metadata, spec=PodSpec(containers=(container,)))
    assert references(pod) == (frozenset({"m"}), frozenset({"s"}))

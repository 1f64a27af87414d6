"""Pods on a real node namespace, attached by Debian's plugins, as the API shows them."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steppe.client.resources import CONFIGMAPS
from steppe_lab import netns
from steppe_lab.kubelet.cni import Attachment, Cni
from steppe_lab.kubelet.cniconf import load_first
from steppe_lab.kubelet.enter import NoSuchContainer, enter_command, log_path
from steppe_lab.kubelet.sandbox import Sandbox
from tests.lab.kubelet.cluster import NODE_ADDRESSES, REFERENCE, Cluster, container, shell
from tests.lab.kubelet.conftest import remove, sweep
from tests.waiting import until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(
        not (REFERENCE / "ptp").exists(), reason="apt install containernetworking-plugins"
    ),
]

# Ends at once on SIGTERM, which the first process of a PID namespace otherwise ignores.
SERVES = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    sweep()
    lab = f"kt{os.getpid()}"
    remove(lab)
    made = Cluster(tmp_path_factory.mktemp("lab"), lab)
    try:
        made.start()
        until(lambda: made.node_ready().get("status") == "False", 15, "a registered node")
        assert "cni plugin not initialized" in made.node_ready()["message"]
        made.install_network()
        until(lambda: made.node_ready().get("status") == "True", 15, "a ready node")
        yield made
    finally:
        made.stop()
        remove(lab)


def ask(node: str, address: str, port: int) -> dict[str, Any]:
    """What the echo server says to a client on the node."""

    def body() -> bytes:
        with socket.create_connection((address, port), timeout=5) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with sock.makefile("rb") as reader:
                return reader.read()

    answer: dict[str, Any] = json.loads(netns.inside(node, body).split(b"\r\n\r\n")[1])
    return answer


def test_a_pod_runs_is_reached_in_both_families_and_leaves_nothing(cluster: Cluster) -> None:
    env = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    probe = {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1}
    uid = cluster.create(
        "echo",
        {
            "name": "c",
            "image": "registry.example/steppe/echo:1",
            "env": env,
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": probe,
        },
    )
    status = cluster.wait_ready("echo")
    addresses = [one["ip"] for one in status["podIPs"]]
    assert [":" in one for one in addresses] == [False, True]
    assert [one["ip"] for one in status["hostIPs"]] == list(NODE_ADDRESSES)
    for address in addresses:
        said = ask(cluster.netns, address, 8080)
        assert (said["pod"], said["address"]) == ("echo", address)
    name = f"{netns.namespace(cluster.lab, 'pod-')}{uid[:8]}"
    assert name in netns.namespaces_of_lab(cluster.lab)
    cluster.delete("echo")
    cluster.wait_gone("echo")
    assert name not in netns.namespaces_of_lab(cluster.lab)
    assert not set(addresses) & set(cluster.leases())
    until(lambda: not (cluster.state / "pods" / uid).exists(), 5, "no state folder left")


def test_a_container_has_its_own_host_name_files_and_processes(cluster: Cluster) -> None:
    uid = cluster.create(
        "files",
        shell("hostname; cat /etc/hosts /etc/resolv.conf; ls /proc | grep -c '^[0-9]'; env"),
        restartPolicy="Never",
        hostAliases=[{"ip": "203.0.113.7", "hostnames": ["alias.example"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["203.0.113.53"]},
    )
    status = cluster.wait("files", lambda s: s.get("phase") == "Succeeded", "succeeded")
    output = cluster.output(uid)
    assert output.splitlines()[0] == "files"
    assert f"{status['podIP']}\tfiles" in output
    assert "203.0.113.7\talias.example" in output
    assert "nameserver 203.0.113.53" in output
    assert f"STEPPE_LAB={cluster.lab}" in output
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    cluster.delete("files")
    cluster.wait_gone("files")


def test_nothing_of_a_pod_is_read_by_a_shell(cluster: Cluster) -> None:
    nasty = "$(touch /tmp/steppe-must-not-exist) `id`; \" ' \\ * \n x"
    uid = cluster.create(
        "nasty",
        container("printf", "%s", nasty, env=[{"name": "N", "value": nasty}]),
        restartPolicy="Never",
    )
    cluster.wait("nasty", lambda s: s.get("phase") == "Succeeded", "succeeded")
    assert cluster.output(uid) == nasty
    assert not Path("/tmp/steppe-must-not-exist").exists()
    cluster.delete("nasty")
    cluster.wait_gone("nasty")


def test_volumes_are_shared_filled_and_appear_at_paths_the_host_lacks(cluster: Cluster) -> None:
    config = {"metadata": {"name": "cm"}, "data": {"key": "value\n"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", **config}
    cluster.call(lambda client: client.create(CONFIGMAPS, body, "default"))
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "m", "configMap": {"name": "cm"}}]
    at_mnt = [{"name": "v", "mountPath": "/mnt"}]
    both = [
        {"name": "v", "mountPath": "/srv/steppe-test/shared"},
        {"name": "m", "mountPath": "/etc/steppe-test/config", "readOnly": True},
    ]
    script = (
        "cat /srv/steppe-test/shared/note /etc/steppe-test/config/key;"
        "touch /etc/steppe-test/config/x || echo read-only; test -e /etc/passwd && echo the-rest"
    )
    uid = cluster.create(
        "volumes",
        shell(script, volumeMounts=both),
        initContainers=[shell("echo noted >/mnt/note", name="i", volumeMounts=at_mnt)],
        volumes=volumes,
        restartPolicy="Never",
    )
    cluster.wait("volumes", lambda s: s.get("phase") == "Succeeded", "succeeded")
    lines = [line for line in cluster.output(uid).splitlines() if not line.startswith("touch")]
    assert lines == ["noted", "value", "read-only", "the-rest"]
    assert not Path("/srv/steppe-test").exists()
    assert not Path("/etc/steppe-test").exists()
    cluster.delete("volumes")
    cluster.wait_gone("volumes")


def test_init_containers_run_in_order_and_a_sidecar_stays(cluster: Cluster) -> None:
    shared = [{"name": "v", "mountPath": "/mnt"}]
    sidecar = shell(f"echo 2 >>/mnt/o; {SERVES}", name="s", volumeMounts=shared)
    uid = cluster.create(
        "init",
        shell(f"echo 3 >>/mnt/o; cat /mnt/o; {SERVES}", volumeMounts=shared),
        initContainers=[
            shell("sleep 0.2; echo 1 >>/mnt/o", name="i", volumeMounts=shared),
            {**sidecar, "restartPolicy": "Always", "startupProbe": _exec("test -s /mnt/o")},
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    status = cluster.wait_ready("init")
    until(lambda: cluster.output(uid) == "1\n2\n3\n", 5, "the order of starts")
    assert "running" in status["initContainerStatuses"][1]["state"]
    cluster.delete("init")
    cluster.wait_gone("init")


def _exec(script: str, **more: Any) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, **more}


def test_a_crashing_container_backs_off_and_a_missing_program_is_explained(
    cluster: Cluster,
) -> None:
    cluster.create("crash", shell("exit 3"))
    cluster.create("missing", container("/no/such/program"), restartPolicy="Never")
    status = cluster.wait(
        "crash",
        lambda s: (
            s.get("containerStatuses")
            and s["containerStatuses"][0]["state"].get("waiting", {}).get("reason")
            == "CrashLoopBackOff"
        ),
        "backing off",
    )
    assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
    assert status["containerStatuses"][0]["restartCount"] >= 1
    assert status["phase"] == "Running"
    status = cluster.wait("missing", lambda s: s.get("phase") == "Failed", "failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "/no/such/program" in ended["message"]
    for name in ("crash", "missing"):
        cluster.delete(name)
        cluster.wait_gone(name)


def test_an_image_that_the_lab_lacks_says_which_there_are(cluster: Cluster) -> None:
    cluster.create("image", {"name": "c", "image": "mysql:8"})
    status = cluster.wait("image", lambda s: _waiting(s) == "ImageNotInLab", "without image")
    message = status["containerStatuses"][0]["state"]["waiting"]["message"]
    assert "agnhost, echo" in message
    assert "`command`" in message
    until(lambda: "Failed" in cluster.reasons("image"), 5, "an Event")
    cluster.delete("image")
    cluster.wait_gone("image")


def _waiting(status: dict[str, Any]) -> str:
    found = status.get("containerStatuses") or [{"state": {}}]
    return str(found[0]["state"].get("waiting", {}).get("reason", ""))


def test_a_failing_liveness_probe_restarts_and_readiness_follows_its_probe(
    cluster: Cluster,
) -> None:
    cluster.create(
        "probed",
        shell(
            f"touch /mnt/live /mnt/ready; {SERVES}",
            volumeMounts=[{"name": "v", "mountPath": "/mnt"}],
            livenessProbe=_exec("test -e /mnt/live", failureThreshold=1, initialDelaySeconds=1),
            readinessProbe=_exec("test -e /mnt/ready", failureThreshold=1),
        ),
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    cluster.wait_ready("probed")
    enter = enter_command(cluster.folder, "default", "probed")
    subprocess.run([*enter, "rm", "/mnt/ready"], check=True)
    cluster.wait("probed", lambda s: not s["containerStatuses"][0]["ready"], "not ready")
    subprocess.run([*enter, "rm", "/mnt/live"], check=True)
    status = cluster.wait(
        "probed", lambda s: s["containerStatuses"][0]["restartCount"] == 1, "restarted"
    )
    assert status["phase"] == "Running"
    until(lambda: {"Unhealthy", "Killing"} <= cluster.reasons("probed"), 8, "Events")
    cluster.delete("probed")
    cluster.wait_gone("probed")


def test_deletion_runs_the_hook_and_insists_when_the_grace_is_over(cluster: Cluster) -> None:
    note = cluster.folder / "hook-ran"
    hook = {"preStop": {"exec": {"command": ["touch", str(note)]}}}
    cluster.create(
        "deaf",
        shell("trap '' TERM; sleep 1000 & wait", lifecycle=hook),
        terminationGracePeriodSeconds=1,
    )
    cluster.wait_ready("deaf")
    inner = enter_command(cluster.folder, "default", "deaf")
    pid = int(inner[1].removeprefix("--target="))
    cluster.delete("deaf")
    cluster.wait_gone("deaf", 8)
    assert note.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_forced_deletion_ends_the_grace_of_the_one_before(cluster: Cluster) -> None:
    cluster.create("forced", shell("trap '' TERM; sleep 1000 & wait"))
    cluster.wait_ready("forced")
    pid = enter_command(cluster.folder, "default", "forced")[1].removeprefix("--target=")
    cluster.delete("forced")
    cluster.delete("forced", grace=0)
    until(lambda: not Path(f"/proc/{pid}").exists(), 8, "the container ended")
    cluster.wait_gone("forced")


def test_what_a_killed_kubelet_began_is_undone_and_begun_again(cluster: Cluster) -> None:
    """As after a kill in the middle of ADD: the record is there, and only some of the rest."""
    with cluster.kubelet_killed():
        uid = cluster.create("half", shell(SERVES))
        name = f"{netns.namespace(cluster.lab, 'pod-')}{uid[:8]}"
        netns.create((name,))
        folder = cluster.state / "pods" / uid
        folder.mkdir(parents=True)
        network = load_first(cluster.conf)
        attachment = Attachment("begun", f"/run/netns/{name}")
        cni = Cni((REFERENCE,), cluster.state / "cni-cache")
        assert network is not None
        netns.inside(cluster.netns, lambda: cni.add(network, attachment))
        taken = cluster.leases()
        half = Sandbox("begun", name, "half", "default", uid, ("c",), network, attachment)
        (folder / "sandbox.json").write_bytes(msgspec.json.encode(half))
    status = cluster.wait_ready("half")
    addresses = {one["ip"] for one in status["podIPs"]}
    assert set(cluster.leases()) == addresses
    assert not addresses & set(taken)
    cluster.delete("half")
    cluster.wait_gone("half")


def test_a_killed_kubelet_finds_its_pods_again(cluster: Cluster) -> None:
    cluster.create("stays", shell(SERVES))
    cluster.create("goes", shell(SERVES))
    before = cluster.wait_ready("stays")
    cluster.wait_ready("goes")
    pid = enter_command(cluster.folder, "default", "goes")[1].removeprefix("--target=")
    with cluster.kubelet_killed():
        assert Path(f"/proc/{pid}").exists()
        cluster.delete("goes", grace=0)
    until(lambda: not Path(f"/proc/{pid}").exists(), 15, "the pod deleted meanwhile is ended")
    cluster.delete("stays")
    cluster.wait_gone("stays")
    log = cluster.log()
    assert "Traceback" not in log, log
    assert before["containerStatuses"][0]["restartCount"] == 0
    assert cluster.leases() == []


def test_a_killed_kubelet_restarts_no_container(cluster: Cluster) -> None:
    cluster.create("kept", shell(SERVES))
    before = cluster.wait_ready("kept")
    with cluster.kubelet_killed():
        pass
    cluster.create("after", shell(SERVES))
    cluster.wait_ready("after")
    after = cluster.wait_ready("kept")
    assert after["containerStatuses"] == before["containerStatuses"]
    assert after["podIPs"] == before["podIPs"]
    for name in ("kept", "after"):
        cluster.delete(name)
        cluster.wait_gone(name)


def test_host_network_pods_have_the_node_addresses(cluster: Cluster) -> None:
    uid = cluster.create("host", shell(f"hostname; {SERVES}"), hostNetwork=True)
    status = cluster.wait_ready("host")
    assert [one["ip"] for one in status["podIPs"]] == list(NODE_ADDRESSES)
    until(lambda: cluster.output(uid) == "node-a\n", 5, "the node's host name")
    cluster.delete("host")
    cluster.wait_gone("host")


def test_a_failed_add_is_told_undone_and_tried_again(cluster: Cluster) -> None:
    cluster.install_network(plugin="no-such-plugin")
    cluster.create("retried", shell(SERVES))
    until(lambda: "FailedCreatePodSandBox" in cluster.reasons("retried"), 10, "an Event")
    cluster.install_network()
    cluster.wait_ready("retried")
    assert log_path(cluster.folder, "default", "retried").exists()
    cluster.delete("retried")
    cluster.wait_gone("retried")
    with pytest.raises(NoSuchContainer):
        enter_command(cluster.folder, "default", "retried")


def test_a_pod_without_its_config_map_waits_for_it(cluster: Cluster) -> None:
    source = {"configMapKeyRef": {"name": "late", "key": "k"}}
    uid = cluster.create(
        "waits", shell("echo $V", env=[{"name": "V", "valueFrom": source}]), restartPolicy="Never"
    )
    cluster.wait("waits", lambda s: _waiting(s) == "CreateContainerConfigError", "held back")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "late"},
        "data": {"k": "v"},
    }
    cluster.call(lambda client: client.create(CONFIGMAPS, body, "default"))
    cluster.wait("waits", lambda s: s.get("phase") == "Succeeded", "succeeded")
    assert cluster.output(uid) == "v\n"
    cluster.delete("waits")
    cluster.wait_gone("waits")

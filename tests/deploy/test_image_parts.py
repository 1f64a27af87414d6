"""The builder of the image: the same archive for the same input, and what goes into it."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from tools.image import oci, python, sbom
from tools.image.debian import Package
from tools.image.tree import Entry, Tree, clean, file, folder, read_tar, symlink, write_tar

TREE: Tree = {
    "usr/bin/b": file(b"b", 0o755),
    "usr/bin/a": symlink("b"),
    "etc/c": file("c"),
    "aa": Entry(tarfile.LNKTYPE, 0o644, target="etc/c"),
    "tmp": folder(0o1777),
}


def packed(tree: Tree) -> bytes:
    stream = io.BytesIO()
    write_tar(tree, stream, 1_700_000_000)
    return stream.getvalue()


def test_the_order_in_which_files_came_does_not_show() -> None:
    assert packed(TREE) == packed(dict(reversed(TREE.items())))


def test_what_is_written_is_read_again_with_its_parents() -> None:
    parents = {"usr": folder(), "usr/bin": folder(), "etc": folder()}
    assert read_tar(io.BytesIO(packed(TREE))) == TREE | parents


def test_all_is_roots_and_of_one_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(TREE))) as archive:
        assert {(m.uid, m.gid, m.mtime) for m in archive} == {(0, 0, 1_700_000_000)}


def test_a_hard_link_comes_after_its_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(TREE))) as archive:
        names = archive.getnames()
    assert names.index("aa") > names.index("etc/c")


def test_a_device_is_refused() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("./dev/null")
        member.type = tarfile.CHRTYPE
        archive.addfile(member)
    with pytest.raises(ValueError, match="dev/null"):
        read_tar(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize(
    ("name", "cleaned"), [("./usr/bin/", "usr/bin"), ("./", ""), (".", ""), ("./.x", ".x")]
)
def test_paths_have_one_form(name: str, cleaned: str) -> None:
    assert clean(name) == cleaned


def image(name: str = "localhost/steppe:1") -> oci.Image:
    layers: list[tuple[str, Tree]] = [("base", TREE), ("ours", {"opt/x": file(b"x")})]
    return oci.Image(name, "arm64", 1_700_000_000, layers, {"Entrypoint": ["/x"]})


def test_an_archive_has_the_same_digest_each_time(tmp_path: Path) -> None:
    digests = [oci.write(image(), tmp_path / name) for name in ("a", "b")]
    assert digests[0] == digests[1]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_blob_of_an_archive_is_what_its_digest_says(tmp_path: Path) -> None:
    digest = oci.write(image(), tmp_path / "a")
    with tarfile.open(tmp_path / "a") as archive:
        read = {m.name: archive.extractfile(m) for m in archive if m.isfile()}
        held = {name: stream.read() for name, stream in read.items() if stream}
    for name, data in held.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    (described,) = json.loads(held["index.json"])["manifests"]
    assert described["digest"] == digest
    assert described["platform"] == {"architecture": "arm64", "os": "linux"}
    manifest = json.loads(held[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
    config = json.loads(held[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == len(config["history"])


def wheel(folder_: Path, name: str, *needs: str) -> python.Wheel:
    path = folder_ / f"{name}-1.0-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "License-Expression: MIT"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", "\n".join(lines) + "\n\n")
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}-1.0.data/scripts/run", "#!python")
    return python.read(path)


def test_a_wheels_scripts_stay_behind(tmp_path: Path) -> None:
    assert set(python.layer([wheel(tmp_path, "one")])) == {
        f"{python.SITE}/one/__init__.py",
        f"{python.SITE}/one-1.0.dist-info/METADATA",
    }


@pytest.mark.parametrize(
    ("need", "taken"),
    [
        ("two>=1", True),
        ("two; python_version < '3.11'", False),
        ("two; extra == 'dev'", False),
        ("two; platform_machine == 'aarch64'", True),
        ("two; sys_platform == 'win32'", False),
    ],
)
def test_only_what_the_image_needs_is_fetched(tmp_path: Path, need: str, taken: bool) -> None:
    assert list(python._needs(wheel(tmp_path, "one", need), "arm64")) == ["two"] * taken


def test_a_lock_files_line_keeps_its_hashes_and_loses_its_marker() -> None:
    lock = "two==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    assert python._pinned(lock)["two"].split() == [
        "two==1.0",
        "--hash=sha256:aa",
        "--hash=sha256:bb",
    ]


def test_the_list_of_contents_names_packages_as_scanners_do(tmp_path: Path) -> None:
    packages = [Package("libc6", "2.36-9+deb12u14", "amd64", "")]
    text = sbom.document("s", "sha256:aa", 0, packages, [wheel(tmp_path, "one")])
    components = json.loads(text)["components"]
    assert [each["purl"] for each in components] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
        "pkg:pypi/one@1.0",
    ]
    assert components[1]["licenses"] == [{"license": {"name": "MIT"}}]

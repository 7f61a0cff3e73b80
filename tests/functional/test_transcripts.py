"""What docker prints, line for line, when it is piped. Recorded from Engine 28.5 with its classic store.

Digests, sizes and ages are those of the images used here; wording, order and exit codes are docker's.
"""

import json
import re

import pytest

from tests.support.images import digest_of, gzipped, image, index, layer_tar, push_image
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

LAYERS = ({"bin/app": b"a" * 5000, "etc/x": b"1"}, {"usr/lib/b": b"b" * 70_000})
NGINX = image(LAYERS, docker=True, config={"Cmd": ["/bin/app"]})
ARM = image(({"bin/app": b"arm"},), architecture="arm64")
DIFF_IDS = [digest_of(layer_tar(files)) for files in LAYERS]
BLOBS = [digest_of(gzipped(layer_tar(files))) for files in LAYERS]


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


@pytest.fixture(scope="module", autouse=True)
def content(hub: RunningServer) -> None:
    wire = Wire(hub.port)
    push_image(wire, "library/nginx", "latest", NGINX)
    for tag, one in (("arm", ARM), ("amd", NGINX)):
        push_image(wire, "library/multi", tag, one)
    both = index(
        [(NGINX, {"os": "linux", "architecture": "amd64"}), (ARM, {"os": "linux", "architecture": "arm64"})]
    )
    media_type = json.loads(both)["mediaType"]
    wire("PUT", "/v2/library/multi/manifests/latest", body=both, headers={"Content-Type": media_type})
    wire.close()


def sorted_middle(text: str, first: int, last: int) -> list[str]:
    """Lines with those of the layers, which arrive in any order, sorted."""
    lines = text.splitlines()
    return lines[:first] + sorted(lines[first : len(lines) - last]) + lines[len(lines) - last :]


def test_pull_tag_push_are_dockers_line_for_line(tool: Tool, hub: RunningServer) -> None:
    one, two = map(short, BLOBS)
    pulled = tool.out("pull", "nginx").splitlines()
    assert pulled[:4] == [
        "Using default tag: latest",
        "latest: Pulling from library/nginx",
        f"{one}: Pulling fs layer",
        f"{two}: Pulling fs layer",
    ]
    assert [line for line in pulled if line.endswith("Pull complete")] == [
        f"{one}: Pull complete", f"{two}: Pull complete",
    ]  # fmt: skip
    assert sorted(pulled[4:10]) == sorted(
        f"{layer}: {state}"
        for layer in (one, two)
        for state in ("Verifying Checksum", "Download complete", "Pull complete")
    )
    assert pulled[10:] == [
        f"Digest: {NGINX.digest}",
        "Status: Downloaded newer image for nginx:latest",
        "docker.io/library/nginx:latest",
    ]

    name = f"{hub.host}/comps/prod/nginx"
    assert tool.out("tag", "nginx", f"{name}:1.15") == ""
    bottom, top = map(short, DIFF_IDS)
    size = len(NGINX.manifest)
    assert sorted_middle(tool.out("push", f"{name}:1.15"), 3, 1) == [
        f"The push refers to repository [{name}]",
        f"{top}: Preparing",
        f"{bottom}: Preparing",
        *sorted(f"{layer}: Mounted from library/nginx" for layer in (top, bottom)),
        f"1.15: digest: {NGINX.digest} size: {size}",
    ]
    assert tool.out("tag", "nginx", name) == ""
    assert sorted_middle(tool.out("push", name), 4, 1) == [
        "Using default tag: latest",
        f"The push refers to repository [{name}]",
        f"{top}: Preparing",
        f"{bottom}: Preparing",
        *sorted(f"{layer}: Layer already exists" for layer in (top, bottom)),
        f"latest: digest: {NGINX.digest} size: {size}",
    ]


def test_layers_beyond_those_at_work_are_said_to_wait(tool: Tool, hub: RunningServer) -> None:
    deep = image([{f"f{number}": b"%d" % number} for number in range(8)])
    wire = Wire(hub.port)
    push_image(wire, "library/deep", "latest", deep)
    wire.close()
    layers = [short(layer["digest"]) for layer in json.loads(deep.manifest)["layers"]]
    pulled = tool.out("pull", "deep").splitlines()
    assert pulled[2:10] == [f"{layer}: Pulling fs layer" for layer in layers]
    assert pulled[10:14] == [f"{layer}: Waiting" for layer in layers[4:]]
    assert [line for line in pulled if line.endswith("Pull complete")] == [
        f"{layer}: Pull complete" for layer in layers
    ]
    tool.run("tag", "deep", f"{hub.host}/new/deep")
    pushed = tool.out("push", f"{hub.host}/new/deep").splitlines()
    assert [line.rpartition(": ")[2] for line in pushed[2:13]] == ["Preparing"] * 8 + ["Waiting"] * 3
    assert [line[:12] for line in pushed[10:13]] == [line[:12] for line in pushed[7:10]]


def test_push_of_new_layers_says_pushed(tool: Tool, hub: RunningServer) -> None:
    tool.run("import", "-", "fresh:1", stdin=layer_tar({"x": b"fresh"}))
    name = f"{hub.host}/fresh/app:1"
    tool.run("tag", "fresh:1", name)
    layer = short(digest_of(layer_tar({"x": b"fresh"})))
    pushed = tool.out("push", name).splitlines()
    assert pushed[:3] == [
        f"The push refers to repository [{hub.host}/fresh/app]", f"{layer}: Preparing", f"{layer}: Pushed",
    ]  # fmt: skip
    assert re.fullmatch(r"1: digest: sha256:[0-9a-f]{64} size: \d+", pushed[3])
    assert tool.out("push", "-q", name) == f"{name}\n"
    assert tool.out("push", "--if-absent", name).splitlines()[1].startswith("1: already holds sha256:")
    tool.run("import", "-", name, stdin=layer_tar({"x": b"other"}))
    assert "exists and holds" in tool.err("push", "--if-absent", name)


def test_pull_again_is_up_to_date(tool: Tool) -> None:
    tool.run("pull", "-q", "nginx")
    assert tool.out("pull", "nginx").splitlines() == [
        "Using default tag: latest",
        "latest: Pulling from library/nginx",
        f"Digest: {NGINX.digest}",
        "Status: Image is up to date for nginx:latest",
        "docker.io/library/nginx:latest",
    ]
    assert tool.out("pull", "-q", "nginx") == "docker.io/library/nginx:latest\n"


def test_pull_by_digest_names_the_digest(tool: Tool, hub: RunningServer) -> None:
    name = f"{hub.host}/library/nginx@{NGINX.digest}"
    lines = tool.out("pull", name).splitlines()
    assert lines[0] == f"{name}: Pulling from library/nginx"
    assert lines[-3:] == [f"Digest: {NGINX.digest}", f"Status: Downloaded newer image for {name}", name]
    table = tool.out("images", "--digests").splitlines()
    assert table[1].split()[:3] == [f"{hub.host}/library/nginx", "<none>", NGINX.digest]
    removed = tool.out("rmi", name).splitlines()
    assert removed[:2] == [f"Untagged: {name}", f"Deleted: {NGINX.config_digest}"]


def test_pull_of_all_tags_has_a_block_each(tool: Tool) -> None:
    lines = tool.out("pull", "-a", "multi").splitlines()
    assert [line for line in lines if "Pulling from" in line] == [
        f"{tag}: Pulling from library/multi" for tag in ("amd", "arm", "latest")
    ]
    assert sum(line.startswith("Digest: ") for line in lines) == 3
    # `latest` is the image of `amd` on this machine, so there is nothing to tell of its layers.
    assert [line.startswith("Digest: ") for line in lines[-4:]] == [False, True, False, False]
    assert lines[-2:] == ["Status: Downloaded newer image for multi", "docker.io/library/multi"]


def test_pull_picks_the_platform_or_takes_all(tool: Tool) -> None:
    tool.run("pull", "--platform", "linux/arm64", "multi")
    assert tool.out("inspect", "-f", "{{.Architecture}}", "multi") == "arm64\n"
    tool.run("pull", "--all-platforms", "multi")
    assert tool.out("inspect", "-f", "{{.Descriptor.mediaType}}", "multi") == (
        "application/vnd.oci.image.index.v1+json\n"
    )
    platforms = "{{range .Manifests}}{{.ImageData.Platform.architecture}} {{.Available}} {{end}}"
    assert tool.out("inspect", "-f", platforms, "multi") == "amd64 true arm64 true \n"
    tree = tool.out("images", "--tree").splitlines()
    assert [line.split()[:2] for line in tree[:4]] == [
        ["IMAGE", "ID"], ["multi:latest", tool.out("images", "-q", "multi").strip()],
        ["├─", "linux/amd64"], ["└─", "linux/arm64"],
    ]  # fmt: skip
    assert "no matching manifest for linux/s390x in the manifest list entries" in tool.err(
        "pull", "--platform", "linux/s390x", "multi"
    )
    warned = tool.out("pull", "--platform", "linux/arm64", "nginx").splitlines()
    assert warned[-2] == (
        "WARNING: image with reference nginx:latest was found but its platform (linux/amd64) "
        "does not match the specified platform (linux/arm64)"
    )


FAILURES = [
    (("pull", "nginx:nope"), 1, "Error: manifest for nginx:nope not found: manifest unknown"),
    (("pull", "-a", "nginx:1"), 1, "tag can't be used with --all-tags/-a"),
    (("pull", "--platform", "bogus/x/y/z", "nginx"), 1,
     'Error: "bogus/x/y/z": cannot parse platform specifier: invalid argument'),
    (("pull", "UP"), 1, "Error: invalid reference format: repository name (library/UP) must be lowercase"),
    (("pull", "localhost:1/x:1"), 1, "localhost:1"),
    (("push", "nope:1"), 1, "An image does not exist locally with the tag: nope"),
    (("push", f"x@sha256:{'0' * 64}"), 1, "cannot push a digest reference"),
    (("tag", "bb:nope", "x"), 1, "Error: No such image: bb:nope"),
    (("tag", "nope", "X:1"), 1, ('Error parsing reference: "X:1" is not a valid repository/tag: '
     "invalid reference format: repository name (library/X) must be lowercase")),
    (("tag", "nope", f"x@sha256:{'0' * 64}"), 1, "refusing to create a tag with a digest reference"),
    (("images", "--filter", "foo=bar"), 1, "Error: invalid filter 'foo'"),
    (("history", "nope"), 1, "Error: No such image: nope:latest"),
    (("save", "nope"), 1, "Error: No such image: nope"),
    (("save", "-o", "/nodir/x.tar", "nope"), 1,
     "failed to save image: invalid output path: stat /nodir: no such file or directory"),
    (("images", "--filter", "dangling=maybe"), 1, "Error: invalid filter 'dangling=[maybe]'"),
    (("images", "--format", "{{.ID"), 1, "template parsing error: template: :1: unclosed action"),
    (("load", "-i", "nofile"), 1, "open nofile: no such file or directory"),
    (("import", "nofile.tar"), 1, "open nofile.tar: no such file or directory"),
    (("login", "--password", "x", "--password-stdin"), 1,
     "conflicting options: cannot specify both --password and --password-stdin"),
    (("login", "--password-stdin"), 1, "the --password-stdin option requires --username to be set"),
    (("login", "-u", "x"), 1, "Error: Cannot perform an interactive login from a non TTY device"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "code", "said"), FAILURES, ids=[" ".join(case[0])[:40] for case in FAILURES]
)
def test_failure_is_one_line_in_dockers_words(
    tool: Tool, argv: tuple[str, ...], code: int, said: str
) -> None:
    text = tool.err(*argv, code=code)
    assert said in text
    assert text.count("\n") == 1


def test_rmi_prints_what_docker_prints(tool: Tool) -> None:
    tool.run("pull", "nginx")
    tool.run("tag", "nginx", "two:1")
    assert tool.err("rmi", NGINX.config_digest) == (
        f"Error: conflict: unable to delete {short(NGINX.config_digest)} (must be forced) - "
        "image is referenced in multiple repositories\n"
    )
    assert tool.out("rmi", "nginx").splitlines() == [
        "Untagged: nginx:latest", f"Untagged: nginx@{NGINX.digest}",
    ]  # fmt: skip
    removed = tool.run("rmi", "two:1", "nope", code=1)
    assert removed.stdout.decode().splitlines()[:2] == ["Untagged: two:1", f"Deleted: {NGINX.config_digest}"]
    assert removed.stderr == b"Error: No such image: nope:latest\n"
    forced = tool.run("rmi", "-f", "nope", "nope2")
    assert forced.stderr == b"Error: No such image: nope:latest\nError: No such image: nope2:latest\n"


def test_images_table_json_and_templates(tool: Tool) -> None:
    assert tool.out("images") == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    tool.run("pull", "nginx")
    lines = tool.out("images").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert re.fullmatch(
        rf"nginx        latest    {short(NGINX.config_digest)}   \d years ago   [\d.]+kB", lines[1]
    )
    row = json.loads(tool.out("images", "--format", "json"))
    assert list(row) == [
        "Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Repository", "SharedSize", "Size", "Tag",
        "UniqueSize", "VirtualSize",
    ]  # fmt: skip
    assert row["CreatedAt"] == "2024-01-01 00:00:00 +0000 UTC"
    assert row["Digest"] == "<none>"
    assert tool.out("images", "--format", "{{json .}}") == tool.out("images", "--format", "json")
    assert (
        tool.out("images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
        == f"nginx:latest {NGINX.digest}\n"
    )
    assert tool.out("images", "-q", "--no-trunc") == f"{NGINX.config_digest}\n"
    assert tool.err("images", "--format", "{{.Nope}}").startswith(
        "template parsing error: template: :1: executing"
    )
    tool.run("inspect", "-f", "{{.Id", "nginx", code=64)


def test_inspect_and_history(tool: Tool) -> None:
    tool.run("pull", "nginx")
    (document,) = json.loads(tool.out("image", "inspect", "nginx"))
    assert list(document)[:9] == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion", "Author",
        "Architecture",
    ]  # fmt: skip
    assert document["Id"] == NGINX.config_digest
    assert document["RepoTags"] == ["nginx:latest"]
    assert document["RepoDigests"] == [f"nginx@{NGINX.digest}"]
    assert document["RootFS"] == {"Type": "layers", "Layers": DIFF_IDS}
    assert document["Config"]["Cmd"] == ["/bin/app"]
    missing = tool.run("image", "inspect", "nope", code=1)
    assert (missing.stdout, missing.stderr) == (b"[]\n", b"Error: No such image: nope:latest\n")
    missing = tool.run("inspect", "--format", "{{.Id}}", "nope", code=1)
    assert (missing.stdout, missing.stderr) == (b"\n", b"Error: No such object: nope\n")
    lines = tool.out("history", "nginx").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith(f"{short(NGINX.config_digest)}   ")
    assert lines[2].startswith("<missing>      ")
    exact = tool.out("history", "-H=false", "--format", "json", "nginx").splitlines()
    assert json.loads(exact[0])["CreatedAt"] == "2024-01-01T00:00:00Z"
    assert json.loads(exact[1])["Size"] == str(len(layer_tar(LAYERS[0])))


def test_save_load_and_import(tool: Tool) -> None:
    tool.run("pull", "nginx")
    tool.run("import", "-", "imp:1", stdin=layer_tar({"x": b"1"}))
    tool.run("save", "nginx", "imp:1", "-o", "s.tar")
    saved = (tool.home / "s.tar").read_bytes()
    assert tool.run("save", "nginx", "imp:1").stdout == saved
    assert (tool.home / "s.tar").stat().st_mode & 0o777 == 0o600
    tool.run("save", "nginx", "nope", "-o", "none.tar", code=1)
    assert not (tool.home / "none.tar").exists()
    tool.run("rmi", "nginx", "imp:1")
    assert tool.out("load", "-i", "s.tar") == "Loaded image: nginx:latest\nLoaded image: imp:1\n"
    assert tool.out("images", "-q", "--no-trunc", "nginx") == f"{NGINX.config_digest}\n"
    identity = tool.out("images", "-q", "--no-trunc", "imp").strip()
    tool.run("save", identity, "-o", "by-id.tar.gz")
    tool.run("rmi", "imp:1")
    assert tool.out("load", "-q", "-i", "by-id.tar.gz") == f"Loaded image ID: {identity}\n"
    tool.run("import", "-", "nginx", stdin=layer_tar({"x": b"2"}))
    before = tool.out("images", "-q", "--no-trunc", "nginx").strip()
    assert tool.run("load", stdin=saved).stdout.decode().splitlines()[0] == (
        f"The image nginx:latest already exists, renaming the old one with ID {before} to empty string"
    )
    assert "is not an archive of images" in tool.run("load", stdin=b"garbage\n", code=1).stderr.decode()


def test_import_keeps_the_tar_byte_for_byte(tool: Tool) -> None:
    tar = layer_tar({"x": b"1"})
    tool.run(
        "import",
        "-c",
        'CMD ["sh"]',
        "-c",
        "ENV A=b",
        "-m",
        "mine",
        "--platform",
        "linux/arm64",
        "-",
        "i:1",
        stdin=tar,
    )
    (document,) = json.loads(tool.out("inspect", "i:1"))
    assert document["RootFS"]["Layers"] == [digest_of(tar)]
    assert document["Size"] == 1  # of the file, without what the tar takes around it
    assert (document["Comment"], document["Architecture"]) == ("mine", "arm64")
    assert (document["Config"]["Cmd"], document["Config"]["Env"]) == (["sh"], ["A=b"])
    tool.run("import", "--config-from", "i:1", "-", "i:2", stdin=gzipped(layer_tar({"y": b"2"})))
    (copied,) = json.loads(tool.out("inspect", "i:2"))
    assert copied["Config"] == document["Config"]
    assert copied["RootFS"]["Layers"] == [digest_of(layer_tar({"y": b"2"}))]


def test_maps_of_a_config_are_sorted_as_dockers_are(tool: Tool) -> None:
    changes = ("-c", "EXPOSE 80 443/udp", "-c", "LABEL z=1 a=2", "-c", "VOLUME /z /a")
    tool.run("import", *changes, "-", "i:1", stdin=layer_tar({"x": b"1"}))
    assert tool.out("inspect", "-f", "{{json .Config.ExposedPorts}}{{json .Config.Labels}}", "i:1") == (
        '{"443/udp":{},"80/tcp":{}}{"a":"2","z":"1"}\n'
    )
    assert tool.out("inspect", "-f", "{{.Config.Volumes}}", "i:1") == "map[/a:{} /z:{}]\n"


def test_prune_prints_what_went(tool: Tool) -> None:
    assert tool.out("image", "prune", "-f") == "Total reclaimed space: 0B\n"
    tool.run("import", "-", stdin=layer_tar({"x": b"1"}))
    for answer in (b"n\n", b""):
        assert tool.out("image", "prune", stdin=answer).splitlines()[-1].endswith("Total reclaimed space: 0B")
    assert "deleted: sha256:" in tool.out("image", "prune", stdin=b"y\n")
    tool.run("import", "-", stdin=layer_tar({"x": b"1"}))
    lines = tool.out("image", "prune", "-f").splitlines()
    assert lines[0] == "Deleted Images:"
    assert lines[1].startswith("deleted: sha256:")
    assert lines[-2:][0] == ""
    assert lines[-1].startswith("Total reclaimed space: ")


def test_progress_can_be_json_or_nothing(tool: Tool) -> None:
    documents = [json.loads(line) for line in tool.out("pull", "--progress", "json", "nginx").splitlines()]
    assert {"id": "latest", "status": "Pulling from library/nginx"} in documents
    assert {"status": "Status: Downloaded newer image for nginx:latest"} in documents
    tool.run("rmi", "nginx")
    assert tool.out("pull", "--progress", "none", "nginx").splitlines() == [
        "Using default tag: latest",
        "Status: Downloaded newer image for nginx:latest",
        "docker.io/library/nginx:latest",
    ]


def test_layers_loaded_as_plain_tar_are_pushed_compressed_and_stay_the_same(
    tool: Tool, hub: RunningServer
) -> None:
    plain = image(({"x": b"x" * 50_000},), compress=False)
    wire = Wire(hub.port)
    push_image(wire, "library/plain", "latest", plain)
    tool.run("copy", "plain", "docker-archive:plain.tar:fresh:1")
    tool.run("load", "-i", "plain.tar")
    name = f"{hub.host}/fresh/plain:1"
    tool.run("tag", "fresh:1", name)
    first, second = (tool.out("push", name).splitlines()[-1] for _ in range(2))
    assert first == second
    pushed = wire("GET", "/v2/fresh/plain/manifests/1")
    (layer,) = json.loads(pushed.body)["layers"]
    assert layer["mediaType"].endswith("gzip")
    assert layer["size"] < 5_000
    # What was pulled goes out as it came in.
    tool.run("pull", "plain")
    tool.run("tag", "plain", f"{hub.host}/other/plain:1")
    assert f"digest: {plain.digest} " in tool.out("push", f"{hub.host}/other/plain:1")
    wire.close()

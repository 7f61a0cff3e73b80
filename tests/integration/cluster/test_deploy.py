"""The examples in `deploy/` are what the programs they are for accept, and speak of what there is."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrepot.server.config import load
from tests.integration.cluster.nodes import DEPLOY, nginx_config
from tests.support.ports import free_port
from tests.support.programs import require_program

ROOT = DEPLOY.parent
SOURCES = ROOT / "src" / "entrepot"
_NAME = re.compile(r"\bentrepot_[a-z_]+")


def metrics_in_code() -> set[str]:
    """Names of all metrics, as the code registers them."""
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py"))
    return set(re.findall(r'"(entrepot_[a-z_]+)"', text))


def base(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("file", ["grafana/entrepot.json", "prometheus/entrepot-rules.yaml"])
def test_dashboard_and_alerts_ask_for_figures_that_there_are(file: str) -> None:
    asked = {base(name) for name in _NAME.findall((DEPLOY / file).read_text())}
    assert asked
    assert asked <= metrics_in_code()


def test_the_page_lists_every_figure_and_no_other() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\|([^|]*`entrepot_[^|]*)\|", page, re.MULTILINE)
    listed = {name for row in rows for name in _NAME.findall(row)}
    assert metrics_in_code() - listed == set(), "list it in docs/monitoring.md"
    assert listed - metrics_in_code() == set(), "there is no such figure"


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "entrepot.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["targets"] for panel in dashboard["panels"])


def test_alerts_say_what_is_wrong() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "entrepot-rules.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) >= {"alert", "expr", "labels", "annotations"}
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_nginx_takes_its_example(tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text(nginx_config(tmp_path, [f"127.0.0.1:{free_port()}"], free_port()))
    argv = [require_program("nginx"), "-t", "-c", str(config), "-e", str(tmp_path / "error.log")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_compose_copy_of_the_nginx_example_differs_in_the_nodes_only() -> None:
    example = (DEPLOY / "nginx" / "entrepot.conf").read_text()
    copy = (DEPLOY / "compose" / "nginx.conf").read_text()
    assert re.sub(r"10\.0\.0\.1(\d):", r"node\1:", example) == copy


def test_haproxy_takes_its_example(tmp_path: Path) -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    config = tmp_path / "haproxy.cfg"
    config.write_text(re.sub(r"bind :443 [^\n]*", f"bind 127.0.0.1:{free_port()}", text))
    argv = [require_program("haproxy"), "-c", "-f", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "log format ignored" not in done.stdout + done.stderr, "requests are logged nowhere"


def test_systemd_takes_its_units(tmp_path: Path) -> None:
    program = require_program("systemd-analyze")
    units = []
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/opt/entrepot/bin/entrepot", sys.executable)
        copy = tmp_path / unit.name
        copy.write_text(text.replace("User=entrepot\n", "").replace("DynamicUser=yes", "DynamicUser=no"))
        units.append(str(copy))
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "entrepot" in line and str(tmp_path) in line]
    assert ours == []


def settings_of(document: str, folder: Path) -> None:
    """The settings file is one that this version accepts."""
    assert tomllib.loads(document)
    file = folder / "entrepot.toml"
    file.write_text(document)
    load(file, env={})


def test_compose_is_whole() -> None:
    document = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    allowed = {"name", "services", "secrets", "volumes", "networks", "configs"}
    assert {key for key in document if not key.startswith("x-")} <= allowed
    services = document["services"]
    for name, service in services.items():
        assert "image" in service, name
        for other in service.get("depends_on", []):
            assert other in services
    node = services["node1"]
    assert {name.partition("_")[0] for name in node["environment"]} == {"ENTREPOT"}
    values = {
        name: str(value).replace("${", "").replace("}", "") for name, value in node["environment"].items()
    }
    values["ENTREPOT_CATALOG_URL"] = "postgresql://a:b@postgresql/entrepot"
    assert load(None, env=values).access.mode == "accounts"


def kinds(documents: list[Any]) -> list[str]:
    return sorted(document["kind"] for document in documents)


def check_kubernetes(documents: list[Any], folder: Path) -> None:
    by_kind = {document["kind"]: document for document in documents}
    settings_of(by_kind["ConfigMap"]["data"]["entrepot.toml"], folder)
    for document in documents:
        assert document["apiVersion"]
        assert document["metadata"]["name"]
        if document["kind"] != "Deployment":
            continue
        pod = document["spec"]["template"]
        wanted = document["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= pod["metadata"]["labels"].items()
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
    server = next(
        one for one in documents if one["kind"] == "Deployment" and "worker" not in one["metadata"]["name"]
    )
    service = by_kind["Service"]
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {port["name"] for port in server["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 10 + 60


WHOLE = sorted(["ConfigMap", "Deployment", "Deployment", "Service", "Ingress", "PodDisruptionBudget"])


def test_kubernetes_manifests_fit_together(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "entrepot.yaml").read_text()))
    assert kinds(documents) == WHOLE
    check_kubernetes(documents, tmp_path)


def test_the_helm_chart_renders_to_the_same(tmp_path: Path) -> None:
    """Helm's own code, in a process of its own: it is Go, and keeps threads."""
    script = (
        "import json, sys, helm_python\n"
        "chart = helm_python.Chart.load(sys.argv[1])\n"
        "print(json.dumps(chart.render(json.loads(sys.argv[2]), name='registry')))"
    )
    settings = {
        "gc": {"undo_window": "14d"},
        "server": {"drain_delay": "20s"},
        "limits": {"uploads_per_principal": 2_000_000},
        "tracing": {"sample": 0.1},
        "repair": {
            "sources": [{"url": "s3://backups/entrepot", "allow_http": True}, {"url": "https://b.test"}]
        },
    }
    values = json.dumps({"settings": settings, "image": {"tag": "1.2.3"}})
    argv = [sys.executable, "-c", script, str(DEPLOY / "helm" / "entrepot"), values]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rendered = json.loads(done.stdout.splitlines()[-1])
    documents = [
        document
        for text in rendered.values()
        for document in yaml.safe_load_all(text)
        if document is not None
    ]
    assert kinds(documents) == WHOLE
    check_kubernetes(documents, tmp_path)
    assert "1.2.3" in json.dumps(documents)
    by_kind = {document["kind"]: document for document in documents}
    written = tomllib.loads(by_kind["ConfigMap"]["data"]["entrepot.toml"])
    assert written["gc"] == settings["gc"]
    assert written["server"]["drain_delay"] == "20s", "what an operator says wins"
    assert written["server"]["public_url"] == "https://registry.example.org"
    for section in ("limits", "tracing", "repair"):
        assert written[section] == settings[section]

"""docs/scaling.md and its files: manifests, the fields of cluster.toml, the metrics' names."""

import re
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from server.cluster.config import Autoscale, ClusterConfig, ClusterModel, check_cluster
from server.config import ServerConfig
from tests.support.paths import ROOT

_FOLDER = ROOT / "docs" / "scaling"
_PAGE = (ROOT / "docs" / "scaling.md").read_text()


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((_FOLDER / name).read_text()))


def test_kubernetes_accepts_the_manifests() -> None:
    for document in _documents("kubernetes.yaml"):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_check_of_manifests_finds_mistakes() -> None:
    document = _documents("kubernetes.yaml")[0]
    document["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


# The custom resources have no schema in the package of Kubernetes' own; these are the required
# fields and the names of their definitions.
def test_the_pool_names_the_pods_and_their_port() -> None:
    pool, route = _documents("inference-gateway.yaml")
    deployment = _documents("kubernetes.yaml")[0]
    pods = deployment["spec"]["template"]
    assert pool["spec"].keys() == {"selector", "targetPorts", "endpointPickerRef"}
    assert pool["spec"]["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    [port] = pool["spec"]["targetPorts"]
    container = pods["spec"]["containers"][0]
    assert port["number"] == container["ports"][0]["containerPort"]
    assert "--gateway-metrics" in container["args"]
    [backend] = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["kind"], backend["name"]) == (pool["kind"], pool["metadata"]["name"])
    assert backend["group"] == pool["apiVersion"].split("/")[0]


def test_a_pod_gets_longer_to_end_than_its_answers() -> None:
    pod = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    [drain] = [word for word in pod["containers"][0]["args"] if "--drain-seconds" in word]
    assert pod["terminationGracePeriodSeconds"] > int(drain.split("=")[1])


def test_the_flags_of_the_manifest_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    from server.cli.table import GROUPS

    known = {name for group in GROUPS for flag in group.flags for name in flag.names}
    args = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {word.split("=")[0] for word in args if word.startswith("--")} <= known
    assert ServerConfig(gateway_metrics=True).gateway_metrics


def test_kuberays_arguments_are_a_cluster() -> None:
    service = _documents("kuberay.yaml")[0]
    serve = yaml.safe_load(service["spec"]["serveConfigV2"])
    [application] = serve["applications"]
    assert application["import_path"] == "server.cluster.app:build"
    args = dict(application["args"])
    del args["api_key_file"]  # exists in the pod only
    config = check_cluster(args, "args", ROOT)
    workers = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    pod = workers["template"]["spec"]
    cpus = int(pod["containers"][0]["resources"]["requests"]["cpu"])
    assert cpus >= config.models[0].reserved_cpus
    assert pod["terminationGracePeriodSeconds"] > config.drain_seconds


@pytest.mark.parametrize("kind", [ClusterConfig, ClusterModel, Autoscale])
def test_the_page_explains_every_field(kind: type[msgspec.Struct]) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", _PAGE, re.MULTILINE))
    missing = {field.name for field in msgspec.structs.fields(kind)} - rows
    assert not missing, f"docs/scaling.md has no row for {sorted(missing)}"


def test_the_pages_example_is_a_cluster() -> None:
    import tomllib

    for text in re.findall(r"```toml\n(.*?)```", _PAGE, re.DOTALL):
        document = tomllib.loads(text)
        document.pop("api_key_file", None)
        check_cluster(document, "docs/scaling.md", ROOT)

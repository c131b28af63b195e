"""What is deployed: Kubernetes files against the real types and rules of the project, the systemd unit by systemd."""

import copy
import re
import subprocess

import pytest
import yaml

from support import k8s
from support.process import REPO, binary
from support.tside import cli

BASE = REPO / "k8s" / "base"
CONFIG = BASE / "config"  # tside's own files, no manifests
FILES = sorted((REPO / "k8s").rglob("*.yaml"))
MANIFESTS = [path for path in FILES if path.name != "kustomization.yaml" and path.parent != CONFIG]


def only(name: str) -> dict:
    [document] = k8s.documents(BASE / name)
    return document


@pytest.fixture
def daemonset() -> dict:
    return only("daemonset.yaml")


@pytest.fixture
def pod(daemonset) -> dict:
    return daemonset["spec"]["template"]["spec"]


@pytest.fixture
def container(pod) -> dict:
    [found] = pod["containers"]
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_of_the_real_types(path):
    for document in k8s.documents(path):
        assert k8s.findings(document) == []


@pytest.mark.parametrize("change, finding", [
    (lambda d: d["spec"]["template"]["spec"].update(terminationGracePeriodSecs=5),
     "DaemonSet.spec.template.spec.terminationGracePeriodSecs: unknown field"),
    (lambda d: d["spec"].update(minReadySeconds="10"), "DaemonSet.spec.minReadySeconds: must be int, is '10'"),
    (lambda d: d["spec"]["template"]["spec"].update(hostNetwork="yes"),
     "DaemonSet.spec.template.spec.hostNetwork: must be bool, is 'yes'"),
    (lambda d: d["spec"].pop("selector"), "DaemonSet.spec.selector: missing"),
    (lambda d: d["spec"]["template"]["spec"]["containers"][0].update(args="run"),
     "DaemonSet.spec.template.spec.containers[0].args: must be a list, is 'run'"),
])
def test_the_walker_finds_what_is_wrong(daemonset, change, finding):
    wrong = copy.deepcopy(daemonset)
    change(wrong)
    assert finding in k8s.findings(wrong)


def config_maps() -> dict[str, dict]:
    """What the kustomization makes ConfigMaps of, by name."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    return {made["name"]: made for made in kustomization["configMapGenerator"]}


def test_the_kustomization_names_every_file():
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert set(kustomization) <= {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator"}
    assert sorted(kustomization["resources"]) == sorted(
        path.name for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
    named = [file for made in config_maps().values() for file in made["files"]]
    assert sorted(named) == sorted(f"config/{path.name}" for path in CONFIG.iterdir())
    assert only("namespace.yaml")["metadata"]["name"] == kustomization["namespace"]
    for image in kustomization["images"]:
        assert image["newTag"] not in ("", "latest")


def test_host_network_declares_no_ports(pod, container):
    assert pod["hostNetwork"] is True and pod["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert "ports" not in container
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[name]["httpGet"]["host"] == "127.0.0.1"


def test_the_uid_is_fixed_and_the_container_is_hardened(pod, container):
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 65532
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]} and "runAsUser" not in security
    assert pod["automountServiceAccountToken"] is False
    for init in pod["initContainers"]:  # root for one chown, and nothing else
        assert init["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
        assert init["command"][0] == "chown" and init["command"][1] == "65532:65532"


def test_the_images_have_versions(pod):
    kustomized = {image["name"] for image in yaml.safe_load((BASE / "kustomization.yaml").read_text())["images"]}
    for container in pod["containers"] + pod["initContainers"]:
        name, _, tag = container["image"].partition(":")
        assert tag not in ("latest",) and (tag or name in kustomized), container["image"]


def bootstrap() -> dict:
    return yaml.safe_load((CONFIG / "tside.yaml").read_text())


def test_grace_is_above_the_drain(pod, container):
    grace = pod["terminationGracePeriodSeconds"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    wait_s = int(command[command.index("--wait") + 1])
    drain_s = bootstrap()["timeouts"]["drain_timeout_ms"] / 1000
    assert command[1] == "drain" and drain_s <= wait_s
    assert grace > wait_s and grace > drain_s + 5


def test_probes_ask_what_the_bootstrap_opens(container):
    port = int(bootstrap()["admin"]["listen"].rsplit(":", 1)[1])
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in paths.values()} == {port}
    assert paths["livenessProbe"]["path"] == "/livez" and paths["readinessProbe"]["path"] == "/readyz"


def test_volumes_are_what_the_bootstrap_uses(pod, container):
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert volumes[mounts[bootstrap()["state_dir"]]]["hostPath"]["path"] == bootstrap()["state_dir"]
    assert mounts[bootstrap()["admin"]["socket"].rsplit("/", 1)[0]] == "run"
    assert container["args"] == ["run", "-c", "/etc/tside/tside.yaml"] and mounts["/etc/tside"] == "config"
    sources = [source["configMap"]["name"] for source in volumes["config"]["projected"]["sources"]]
    assert sorted(sources) == sorted(config_maps())
    assert not any("subPath" in mount for mount in container["volumeMounts"])  # those never see a change


def test_two_tsides_never_want_one_state_dir(daemonset):
    update = daemonset["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_bootstrap_of_the_config_map_is_good():
    done = cli("check", "-c", CONFIG / "tside.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_bootstrap_has_another_name_and_changed_rules_have_not():
    """tside reads the one at start and watches the other: the first has to roll the DaemonSet, the second must not."""
    [bootstrap_map] = [made for made in config_maps().values() if "config/tside.yaml" in made["files"]]
    [rules_map] = [made for made in config_maps().values() if "config/rules.yaml" in made["files"]]
    assert bootstrap_map is not rules_map and "options" not in bootstrap_map
    assert rules_map["options"] == {"disableNameSuffixHash": True}


def test_the_example_application_calls_its_node():
    [application] = k8s.documents(REPO / "k8s" / "examples" / "app.yaml")
    [container] = application["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["HOST_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    port = bootstrap()["listeners"][0]["listen"].rsplit(":", 1)[1]
    assert env["TSIDE_ADDRESS"]["value"] == f"$(HOST_IP):{port}"


# ---- systemd --------------------------------------------------------------------------------------

UNIT = REPO / "k8s" / "systemd" / "tside.service"


def verify(text: str, tmp_path) -> str:
    """What systemd-analyze says on standard error; unknown keys are only warnings with exit code 0."""
    unit = tmp_path / "tside.service"
    unit.write_text(text.replace("/usr/bin/tside", str(binary())))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    return done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_systemd_has_nothing_to_say(tmp_path):
    assert verify(UNIT.read_text(), tmp_path) == ""


def test_systemd_would_say_what_is_wrong(tmp_path):
    assert "Restrat" in verify(UNIT.read_text().replace("Restart=", "Restrat="), tmp_path)


def test_the_unit_is_hardened(tmp_path):
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_unit_is_started_again_for_ever():
    """Five quick failures are systemd's default end: a port or a disk that is in use for some seconds."""
    unit = UNIT.read_text().split("[Service]")
    assert "\nStartLimitIntervalSec=0\n" in unit[0] and "\nRestart=always\n" in unit[1]


def test_the_unit_waits_longer_than_the_drain():
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), flags=re.M)[1])
    assert stop_s > 25  # timeouts.drain_timeout_ms by default

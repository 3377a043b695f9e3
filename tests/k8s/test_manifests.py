"""The manifests are valid, whole, and as tight as they claim to be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"
Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """All documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    """The objects of the base, with the labels that its kustomization adds."""
    (kustomization,) = read(K8S / "base/kustomization.yaml")
    found = [manifest for name in kustomization["resources"] for manifest in read(K8S / "base" / name)]
    for rule in kustomization["labels"]:
        templates = [m["spec"]["template"] for m in found if "template" in m.get("spec", {})]
        for place in [*found, *(templates if rule["includeTemplates"] else ())]:
            place["metadata"].setdefault("labels", {}).update(rule["pairs"])
    return found


@pytest.fixture(scope="module")
def deployments(base: list[Manifest]) -> list[Manifest]:
    """The base's deployments."""
    return [manifest for manifest in base if manifest["kind"] == "Deployment"]


def names(manifests: list[Manifest], kind: str) -> set[str]:
    """The names of all objects of `kind`."""
    return {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == kind}


def pod(deployment: Manifest) -> Manifest:
    """The pod's spec of a deployment."""
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def selects(selector: dict[str, str], deployment: Manifest) -> bool:
    """Whether the label selector takes the deployment's pods."""
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()


@pytest.mark.parametrize("folder", ["base", "overlays/example"])
def test_every_file_is_part_of_its_kustomization(folder: str) -> None:
    (kustomization,) = read(K8S / folder / "kustomization.yaml")
    used = set(kustomization["resources"]) | {patch["path"] for patch in kustomization.get("patches", ())}
    there = {path.name for path in (K8S / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in used if name.endswith(".yaml")} == there


def test_every_object_fits_kubernetes_schema(base: list[Manifest]) -> None:
    for manifest in base:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_no_object_is_there_twice(base: list[Manifest]) -> None:
    identities = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in base]
    assert sorted(identities) == sorted(set(identities))


def test_no_namespace_is_fixed_and_no_secret_is_kept(base: list[Manifest]) -> None:
    assert not any("namespace" in manifest["metadata"] for manifest in base)
    assert names(base, "Secret") == set()


def test_pods_keep_to_the_restricted_standard(deployments: list[Manifest]) -> None:
    for deployment in deployments:
        security = pod(deployment)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(deployment).keys()
        for container in pod(deployment)["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_pods_hold_no_credentials_for_the_cluster(deployments: list[Manifest]) -> None:
    assert all(pod(deployment)["automountServiceAccountToken"] is False for deployment in deployments)


def test_containers_have_probes_and_bounded_memory(deployments: list[Manifest]) -> None:
    for deployment in deployments:
        for container in pod(deployment)["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_volumes_and_mounts_refer_to_what_there_is(base: list[Manifest], deployments: list[Manifest]) -> None:
    for deployment in deployments:
        volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
        claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        mounted = {mount["name"] for container in pod(deployment)["containers"] for mount in container["volumeMounts"]}
        assert claims <= names(base, "PersistentVolumeClaim")
        assert mounted == volumes.keys()


def test_the_server_cannot_change_the_runs(deployments: list[Manifest]) -> None:
    (serving,) = (each for each in deployments if each["metadata"]["name"] == "evernas-serving")
    (runs,) = (volume for volume in pod(serving)["volumes"] if volume["name"] == "runs")
    assert runs["persistentVolumeClaim"] == {"claimName": "evernas-runs", "readOnly": True}


def test_selectors_take_exactly_one_deployment(base: list[Manifest], deployments: list[Manifest]) -> None:
    selectors = [m["spec"]["selector"] for m in base if m["kind"] == "Service"]
    selectors += [
        m["spec"]["selector"]["matchLabels"] for m in base if m["kind"] in {"Deployment", "PodDisruptionBudget"}
    ]
    for selector in selectors:
        assert sum(selects(selector, deployment) for deployment in deployments) == 1


def test_ports_are_names_that_the_selected_pods_have(base: list[Manifest], deployments: list[Manifest]) -> None:
    asked = [
        (m["spec"]["selector"], port["targetPort"])
        for m in base
        if m["kind"] == "Service"
        for port in m["spec"]["ports"]
    ]
    asked += [
        (m["spec"]["podSelector"]["matchLabels"], port["port"])
        for m in base
        if m["kind"] == "NetworkPolicy"
        for rule in m["spec"].get("ingress", ())
        for port in rule["ports"]
    ]
    for selector, port in asked:
        (deployment,) = (each for each in deployments if selects(selector, each))
        assert port in {p["name"] for container in pod(deployment)["containers"] for p in container["ports"]}


def test_all_traffic_of_all_pods_is_denied_by_default(base: list[Manifest], deployments: list[Manifest]) -> None:
    (deny,) = (m for m in base if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == "evernas-default-deny")
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny["spec"].keys()
    assert all(selects(deny["spec"]["podSelector"]["matchLabels"], deployment) for deployment in deployments)


def test_the_recurring_run_may_do_what_it_needs_and_nothing_else(base: list[Manifest]) -> None:
    (role,) = (manifest for manifest in base if manifest["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {
        ("", "pods", "get"),
        ("", "pods", "list"),
        ("", "pods/log", "get"),
        ("", "configmaps", "get"),
        ("", "secrets", "get"),
        ("argoproj.io", "workflowtaskresults", "create"),
        ("argoproj.io", "workflowtaskresults", "patch"),
        ("ray.io", "rayjobs", "create"),
        ("ray.io", "rayjobs", "get"),
        ("ray.io", "rayjobs", "delete"),
    }


def test_the_role_is_bound_to_the_account_of_the_recurring_run(base: list[Manifest]) -> None:
    (binding,) = (manifest for manifest in base if manifest["kind"] == "RoleBinding")
    assert binding["roleRef"]["name"] in names(base, "Role")
    assert {subject["name"] for subject in binding["subjects"]} <= names(base, "ServiceAccount")


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """What each step of the compiled pipeline mounts."""
    from kfp import compiler

    from pipelines.continuous import continuous_nas

    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compiler.Compiler().compile(continuous_nas, str(path))
    _, platform = read(path)
    return list(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values())


def test_steps_mount_the_volume_that_the_base_makes(base: list[Manifest], mounts: list[Manifest]) -> None:
    claims = {mount["constant"] for step in mounts for mount in step["pvcMount"]}
    assert claims == {"evernas-runs"}
    assert claims <= names(base, "PersistentVolumeClaim")


def test_steps_mount_the_secret_that_the_guide_makes(mounts: list[Manifest]) -> None:
    (secret,) = {mount["secretName"] for step in mounts for mount in step["secretAsVolume"]}
    guide = (K8S / "README.md").read_text(encoding="utf-8")
    assert f"kubectl create secret generic {secret} --from-file=signing.pem" in guide


def test_the_server_looks_where_steps_write(deployments: list[Manifest], mounts: list[Manifest]) -> None:
    (serving,) = (each for each in deployments if each["metadata"]["name"] == "evernas-serving")
    (server,) = pod(serving)["containers"]
    places = {mount["mountPath"] for step in mounts for mount in step["pvcMount"]}
    assert {mount["mountPath"] for mount in server["volumeMounts"] if mount["name"] == "runs"} == places
    assert server["args"][0] == f"{places.pop()}/champions/$(CHAMPION)"


def test_steps_take_settings_and_credentials_that_the_guide_makes(mounts: list[Manifest]) -> None:
    (settings,) = {each["configMapName"] for step in mounts for each in step["configMapAsEnv"]}
    (secret,) = {each["secretName"] for step in mounts for each in step["secretAsEnv"]}
    assert all(each["optional"] for step in mounts for each in [*step["configMapAsEnv"], *step["secretAsEnv"]])
    guide = (K8S.parent / "docs/guides/storage.md").read_text(encoding="utf-8")
    assert f"kubectl create configmap {settings} " in guide
    assert f"kubectl create secret generic {secret} " in guide
    for each in (*mounts[0]["configMapAsEnv"], *mounts[0]["secretAsEnv"]):
        assert all(key["envVar"] in guide for key in each["keyToEnv"])


def test_a_pipeline_for_a_bucket_needs_no_volume(tmp_path: Path) -> None:
    spec = K8S.parent / "examples/adult/spec.yaml"
    path = tmp_path / "pipeline.yaml"
    command = [sys.executable, "-m", "pipelines.cli", "compile", str(spec), "-o", str(path), "--root", "s3://b/runs"]
    subprocess.run(command, check=True, capture_output=True, cwd=K8S.parent)
    pipeline, platform = read(path)
    steps = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert not any("pvcMount" in step for step in steps)
    assert all("secretAsVolume" in step for step in steps)
    assert pipeline["root"]["inputDefinitions"]["parameters"]["root"]["defaultValue"] == "s3://b/runs"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
class TestBuilt:
    """What kubectl itself makes of the folders."""

    @staticmethod
    def build(folder: str) -> list[Manifest]:
        output = subprocess.run(
            ["kubectl", "kustomize", str(K8S / folder)], check=True, capture_output=True, text=True
        ).stdout
        return list(yaml.safe_load_all(output))

    def test_the_base_is_what_these_tests_look_at(self, base: list[Manifest]) -> None:
        def normal(manifests: list[Manifest]) -> list[str]:
            return sorted(json.dumps(manifest, sort_keys=True) for manifest in manifests)

        assert normal(self.build("base")) == normal(base)

    def test_the_example_is_valid_and_lies_in_one_namespace(self) -> None:
        built = self.build("overlays/example")
        for manifest in built:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        assert {manifest["metadata"]["namespace"] for manifest in built} == {"kubeflow"}
        (binding,) = (manifest for manifest in built if manifest["kind"] == "RoleBinding")
        assert binding["subjects"][0]["namespace"] == "kubeflow"

    def test_the_example_says_which_image_and_which_champion(self, deployments: list[Manifest]) -> None:
        built = [manifest for manifest in self.build("overlays/example") if manifest["kind"] == "Deployment"]
        assert len(built) == len(deployments)
        assert {c["image"] for d in built for c in pod(d)["containers"]} == {"registry.example.com/ml/evernas:0.1.0"}
        (serving,) = (each for each in built if each["metadata"]["name"] == "evernas-serving")
        environment = {each["name"]: each["value"] for each in pod(serving)["containers"][0]["env"]}
        assert environment["CHAMPION"] == "credit-default"
        assert "HOME" in environment

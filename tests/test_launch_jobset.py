"""The JobSet has the fields that Kubernetes knows, and its numbers and names fit together."""

import pathlib
import re

import pytest
import yaml

# The fields used, with their types: of JobSet v1alpha2, batch/v1 Job and core/v1 Pod. A misspelt
# field is one that is not here. "*": any key; [x]: a list of x.
NAMED = {"name": str, "value": str}
POD_SCHEMA = {
    "restartPolicy": str,
    "terminationGracePeriodSeconds": int,
    "containers": [
        {
            "name": str, "image": str, "env": [NAMED], "args": [str], "command": [str],
            "resources": {"limits": {"*": (int, str)}},
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [
        {"name": str, "persistentVolumeClaim": {"claimName": str}},
        {"name": str, "emptyDir": {"medium": str}},
    ],
}  # fmt: skip
EXIT_CODES = {"containerName": str, "operator": str, "values": [int]}
JOB_SCHEMA = {
    "completionMode": str,
    "parallelism": int,
    "completions": int,
    "backoffLimit": int,
    "podFailurePolicy": {"rules": [{"action": str, "onExitCodes": EXIT_CODES}]},
    "template": {"spec": POD_SCHEMA},
}
JOBSET_SCHEMA = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "network": {"enableDNSHostnames": bool},
        "failurePolicy": {
            "maxRestarts": int,
            "rules": [{"name": str, "action": str, "onJobFailureReasons": [str]}],
        },
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB_SCHEMA}}],
    },
}


def mismatches(value, schema, path: str = "") -> list[str]:
    """Paths where `value` has another type or other fields than `schema`."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [path]
        fields = value if "*" in schema else schema
        wrong = [f"{path}.{name}" for name in value.keys() ^ fields.keys()]
        pairs = [(name, schema.get(name, schema.get("*"))) for name in value.keys() & fields.keys()]
        return wrong + [p for n, s in pairs for p in mismatches(value[n], s, f"{path}.{n}")]
    if isinstance(schema, list):
        if not (isinstance(value, list) and value):
            return [path]
        # One schema holds for every item, several for one item each.
        schemas = schema * len(value) if len(schema) == 1 else schema
        pairs = enumerate(zip(value, schemas, strict=True))
        return [p for i, (v, s) in pairs for p in mismatches(v, s, f"{path}[{i}]")]
    return [] if isinstance(value, schema) else [path]


@pytest.fixture
def jobset() -> dict:
    path = pathlib.Path(__file__).resolve().parents[1] / "launch" / "k8s_jobset.yaml"
    return yaml.safe_load(path.read_text())


def test_jobset_has_the_fields_of_its_schema(jobset):
    assert mismatches(jobset, JOBSET_SCHEMA) == []
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    jobset["spec"]["failurePolicy"]["maxRestart"] = 1
    jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] = "2"
    assert sorted(mismatches(jobset, JOBSET_SCHEMA)) == [
        ".spec.failurePolicy.maxRestart",
        ".spec.replicatedJobs[0].template.spec.completions",
    ]


def test_jobset_agrees_with_itself(jobset):
    (workers,) = jobset["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    pod = job["template"]["spec"]
    (train,) = pod["containers"]
    env = {entry["name"]: entry["value"] for entry in train["env"]}
    # The index of a pod is the index of its process: one indexed job of as many pods.
    assert (workers["replicas"], job["completionMode"]) == (1, "Indexed")
    assert job["parallelism"] == job["completions"] == int(env["NUM_PROCESSES"])
    # JobSet's name for pod 0 of job 0: JOBSET-WORKERS-0-0.JOBSET
    name = jobset["metadata"]["name"]
    assert env["COORDINATOR_ADDRESS"] == f"{name}-{workers['name']}-0-0.{name}:8476"
    assert {mount["name"] for mount in train["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert env["WORKDIR"].startswith(train["volumeMounts"][0]["mountPath"])
    # A job fails at its first pod, with a reason of its own when the status was 2.
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"] == {"containerName": "train", "operator": "In", "values": [2]}
    # Kubernetes would expand $(NAME) and shorten $$ before bash sees the script.
    assert not re.search(r"\$\(\w+\)|\$\$", train["command"][2])

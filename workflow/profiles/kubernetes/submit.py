#!/usr/bin/env python3
"""Make a Snakemake job a Kubernetes Job, and print its name. Needs kubectl, and nothing beside Python itself."""

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path


def properties_of(script: Path) -> dict:
    """What Snakemake says of a job, in its script's second line."""
    return json.loads(re.search(r"^# properties = (.*)$", script.read_text(), re.MULTILINE)[1])


def manifest(job: dict, script: Path) -> dict:
    """The Job: tried once, since Snakemake itself starts it again, with more memory and time."""
    resources = job["resources"]
    amounts = {"cpu": str(job["threads"]), "memory": f"{resources['mem_mb']}M"}
    if resources["gpu"]:
        amounts["nvidia.com/gpu"] = str(resources["gpu"])
    container = {
        "name": "vmr",
        "image": resources["k8s_image"],
        "command": ["sh", str(script.resolve())],
        "workingDir": str(Path.cwd()),
        # The same on both sides: a job beyond its memory is ended, and not its neighbours.
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [{"name": "project", "mountPath": resources["k8s_mount"]}],
    }
    volume = {"name": "project", "persistentVolumeClaim": {"claimName": resources["k8s_claim"]}}
    pod = {
        "restartPolicy": "Never",
        # The pod's, which counts from when a node has it: the job's would count the wait for a card too.
        "activeDeadlineSeconds": 60 * resources["runtime"],
        "containers": [container],
        "volumes": [volume],
    }
    name = f"vmr-{job['rule'].replace('_', '-')[:40]}-{uuid.uuid4().hex[:10]}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": resources["k8s_namespace"], "labels": {"app": "vmr"}},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 86400,
            "template": {"spec": pod},
        },
    }


def main() -> None:
    """Submit the script that is the last argument."""
    script = Path(sys.argv[-1])
    job = manifest(properties_of(script), script)
    subprocess.run(
        ["kubectl", "create", "-f", "-"], input=json.dumps(job), text=True, check=True, stdout=subprocess.DEVNULL
    )
    print(f"{job['metadata']['namespace']}/{job['metadata']['name']}")


if __name__ == "__main__":
    main()

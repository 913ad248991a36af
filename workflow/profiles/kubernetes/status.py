#!/usr/bin/env python3
"""What became of a Kubernetes Job: running, success or failed."""

import json
import subprocess
import sys


def main() -> None:
    """Ask for the job that is the argument, as namespace/name."""
    namespace, name = sys.argv[1].split("/")
    answer = subprocess.run(
        ["kubectl", "get", "job", name, "-n", namespace, "-o", "json"], capture_output=True, text=True
    )
    if answer.returncode:
        # Whoever removed the job wanted it to end; a server that does not answer says nothing about it.
        print("failed" if "NotFound" in answer.stderr else "running")
        return
    conditions = json.loads(answer.stdout).get("status", {}).get("conditions") or []
    ended = {condition["type"] for condition in conditions if condition["status"] == "True"}
    print("success" if "Complete" in ended else "failed" if "Failed" in ended else "running")


if __name__ == "__main__":
    main()

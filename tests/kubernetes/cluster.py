"""A Kubernetes of our own: etcd, API server, controllers, scheduler, containerd and one node, under one folder.

The programs and images are those that `envs/kubernetes.sh` makes. Nothing of a Kubernetes or containerd that is
installed for real is read or stopped: the configuration, the sockets, the tokens and the ports are ours. The node's
card is one that it is told of, as administrators do with resources that no plugin watches; jobs here compute on CPUs,
but ask for it and wait.
"""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

NODE, NAMESPACE, IMAGE = "node1", "videos", "localhost/vmr:1"
_STARTING_SEC = 180
_PORTS = ("etcd", "peer", "api", "controllers", "scheduler", "kubelet", "healthz")

_CONTAINERD = """
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{folder}/containerd.socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""
_OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: vmr}}
spec:
  capacity: {{storage: 100Gi}}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  hostPath: {{path: {volume}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: vmr, namespace: {namespace}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: vmr
  resources: {{requests: {{storage: 1Gi}}}}
---
# The rights that docs/clusters.md names, and no others.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: snakemake, namespace: {namespace}}}
rules:
- {{apiGroups: [batch], resources: [jobs], verbs: [create, get, delete]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: snakemake, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: snakemake}}
subjects:
- {{kind: User, name: head, apiGroup: rbac.authorization.k8s.io}}
"""


class Cluster:
    """A running Kubernetes.

    Args:
        folder: of everything it writes.
        made: what `envs/kubernetes.sh` made.
        volume: the folder that pods mount, at the same path.
    """

    def __init__(self, folder: Path, *, made: Path, volume: Path) -> None:
        self.folder, self.made, self.volume = folder, made, volume
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, user: str) -> dict[str, str]:
        """Variables with which kubectl works as a user: ``admin``, or ``head``, who may do what Snakemake needs."""
        path = os.pathsep.join([str(self.made / "bin"), os.environ["PATH"]])
        return os.environ | {"KUBECONFIG": str(self.folder / f"{user}.kubeconfig"), "PATH": path}

    def start(self) -> None:
        """Start everything, and wait until the node takes jobs and has its card."""
        folder, ports = self.folder, self._ports
        tokens = {user: secrets.token_hex(16) for user in ("admin", "head")}
        (folder / "tokens.csv").write_text(
            f'{tokens["admin"]},admin,admin,"system:masters"\n{tokens["head"]},head,head\n'
        )
        for user, token in tokens.items():
            (folder / f"{user}.kubeconfig").write_text(yaml.safe_dump(self._configuration(user, token)))
        key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        client, peer = (f"http://127.0.0.1:{ports[name]}" for name in ("etcd", "peer"))
        self._start(
            "etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        self._start(
            "kube-apiserver", f"--etcd-servers={client}", f"--secure-port={ports['api']}", "--bind-address=0.0.0.0",
            f"--cert-dir={folder}/api", "--authorization-mode=RBAC", f"--token-auth-file={folder}/tokens.csv",
            "--service-cluster-ip-range=10.213.0.0/24", "--service-account-issuer=vmr",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        )  # fmt: skip
        self._wait_for("the API server", lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok")
        as_admin = (f"--kubeconfig={folder}/admin.kubeconfig", "--leader-elect=false", "--port=0")
        self._start(
            "kube-controller-manager", *as_admin, f"--secure-port={ports['controllers']}",
            f"--cert-dir={folder}/controllers", f"--service-account-private-key-file={key}",
        )  # fmt: skip
        self._start(
            "kube-scheduler", *as_admin, f"--secure-port={ports['scheduler']}", f"--cert-dir={folder}/scheduler"
        )
        self._start_node()
        self.kubectl("apply", "-f", "-", text=_OBJECTS.format(namespace=NAMESPACE, volume=self.volume))
        # No command of this kubectl changes the status of a node.
        patch = '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "1"}]'
        token, server = tokens["admin"], f"https://127.0.0.1:{ports['api']}"
        subprocess.run(
            ["curl", "-sfk", "-X", "PATCH", "-H", f"Authorization: Bearer {token}",
             "-H", "Content-Type: application/json-patch+json", f"{server}/api/v1/nodes/{NODE}/status", "-d", patch],
            check=True, capture_output=True,
        )  # fmt: skip
        card = "jsonpath={.status.allocatable.nvidia\\.com/gpu}"
        self._wait_for("the card", lambda: self.kubectl("get", "node", NODE, "-o", card) == "1")

    def stop(self) -> None:
        """End what `start` began, jobs first."""
        if "kubelet" in self._processes:
            self.kubectl("delete", "jobs,pods", "--all", "-n", NAMESPACE, "--wait=true", "--timeout=60s", check=False)
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, as the API describes them, the latest last."""
        items = json.loads(self.kubectl("get", "jobs", "-n", NAMESPACE, "-o", "json"))["items"]
        return sorted(items, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def pod_of(self, job: str) -> dict[str, Any]:
        """The pod of a job, as the API describes it."""
        answer = self.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"job-name={job}", "-o", "json")
        found: dict[str, Any] = json.loads(answer)["items"][0]
        return found

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Output of kubectl, with all rights."""
        result = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment("admin"),
            input=text,
            capture_output=True,
            text=True,
            timeout=90,
        )
        if check and result.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout.strip()

    def _start_node(self) -> None:
        folder = self.folder
        (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder))
        (folder / "cni").mkdir()
        addresses = {"type": "host-local", "dataDir": f"{folder}/addresses", "subnet": "10.212.0.0/24"}
        network = {"cniVersion": "0.4.0", "name": "vmr", "plugins": [{"type": "ptp", "ipam": addresses}]}
        (folder / "cni/vmr.conflist").write_text(json.dumps(network))
        self._start("containerd", "--config", f"{folder}/containerd.toml")
        ctr = ("ctr", "--address", f"{folder}/containerd.socket", "--namespace", "k8s.io")
        self._wait_for("containerd", lambda: subprocess.run([*ctr, "version"], capture_output=True).returncode == 0)
        for image in ("pause", "vmr"):
            subprocess.run([*ctr, "images", "import", self.made / f"{image}.tar"], check=True, capture_output=True)
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "address": "127.0.0.1",
            "port": self._ports["kubelet"],
            "healthzPort": self._ports["healthz"],
            "evictionHard": {"memory.available": "50Mi"},
            "imageGCHighThresholdPercent": 100,
        }
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
        self._start(
            "kubelet", f"--kubeconfig={folder}/admin.kubeconfig", f"--config={folder}/kubelet.yaml",
            f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet-pki", f"--hostname-override={NODE}",
            "--container-runtime=remote", f"--container-runtime-endpoint=unix://{folder}/containerd.socket",
        )  # fmt: skip
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        self._wait_for("the node", lambda: self.kubectl("get", "node", NODE, "-o", ready, check=False) == "True")

    def _configuration(self, user: str, token: str) -> dict[str, Any]:
        server = {"server": f"https://127.0.0.1:{self._ports['api']}", "insecure-skip-tls-verify": True}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "vmr",
            "clusters": [{"name": "vmr", "cluster": server}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "vmr", "context": {"cluster": "vmr", "user": user}}],
        }

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            self._processes[name] = subprocess.Popen(
                [name, *arguments], env=self.environment("admin"), stdout=log, stderr=log, start_new_session=True
            )

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _STARTING_SEC
        while time.monotonic() < deadline:
            if condition():
                return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    log = (self.folder / f"{name}.log").read_text()
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{log[-3000:]}")
            time.sleep(0.5)
        raise RuntimeError(f"{what} is not there after {_STARTING_SEC} s; the logs are in {self.folder}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports

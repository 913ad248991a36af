"""Many visitors: 50 clients ask `vmr serve` for a minute, then for another beside the features of new videos.

    python benchmarks/serve_load.py --model model.safetensors --videos FOLDER [--clients 50 --seconds 60]

The server runs as a user starts it, on the loopback of this machine, whose cores it shares with the clients. Each
client asks, waits for the answer, and asks again, about the videos in turn; features of these are made beforehand. In
the second minute a copy of one video after the other is uploaded, made different by a comment, and looked at. Every
answer but 200 counts as an error; memory is the resident set of the server's process, looked at twice a second.
"""

import argparse
import datetime
import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
from i3d_speed import processor_name

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

QUESTIONS = (
    "a person opens the door", "a digital timer is running", "colours change slowly", "someone turns the light on",
    "a wave moves over the screen", "the picture becomes noise", "an orange number goes up", "a person walks away",
)  # fmt: skip
MOST_CLIENTS, MOST_SECONDS = 200, 300
_BETWEEN_LOOKS_SEC = 0.5
_PATIENCE_SEC = 120


class Client:
    """One connection that is kept."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_PATIENCE_SEC)

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict]:
        """Status and content of the answer."""
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def ask(self, video: str, query: str) -> tuple[int, dict]:
        """Put a question."""
        return self.send("POST", "/api/ask", json.dumps({"video": video, "query": query}).encode())

    def answer(self, video: str, query: str) -> dict:
        """The answer, features made first."""
        while True:
            status, content = self.ask(video, query)
            if status == 200:
                return content
            assert status == 202, (status, content)
            while content.get("job", content)["state"] in ("waiting", "running"):
                time.sleep(0.2)
                status, content = self.send("GET", f"/api/jobs/{content.get('job', content)['id']}")
            assert content["state"] == "done", content


def crowd(address: str, videos: list[str], *, clients: int, seconds: float) -> tuple[list[float], Counter]:
    """Seconds that each answer took, and how many there were of each status."""
    end = time.monotonic() + seconds
    took: list[float] = []
    statuses: Counter = Counter()

    def visit(number: int) -> None:
        client = Client(address)
        for turn in itertools.count(number):
            begin = time.monotonic()
            if begin >= end:
                return
            try:
                status, _ = client.ask(videos[turn % len(videos)], QUESTIONS[turn % len(QUESTIONS)])
            except (OSError, http.client.HTTPException) as error:
                statuses[type(error).__name__] += 1
                client = Client(address)
                continue
            took.append(time.monotonic() - begin)
            statuses[str(status)] += 1

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    return took, statuses


class Memory(threading.Thread):
    """Looks at the resident set of a process until told to end."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._ended, self.megabytes = psutil.Process(pid), threading.Event(), []
        self.start()

    def run(self) -> None:
        """Look."""
        while not self._ended.wait(_BETWEEN_LOOKS_SEC):
            self.megabytes.append(self._process.memory_info().rss / 1e6)

    def end(self) -> dict[str, float]:
        """Megabytes at the beginning (the mean of five looks), at the end (likewise), and at the most."""
        self._ended.set()
        self.join()
        looks = np.array(self.megabytes)
        return {"begin": looks[:5].mean(), "end": looks[-5:].mean(), "most": looks.max()}


def upload_until(address: str, files: list[Path], ended: threading.Event, made: list[float]) -> None:
    """Upload and look at one video after the other; seconds that each took."""
    client = Client(address)
    for number in itertools.count():
        if ended.is_set():
            return
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.mp4"
            source = ["ffmpeg", "-v", "error", "-i", files[number % len(files)], "-c", "copy"]
            subprocess.run([*source, "-metadata", f"comment={time.time_ns()}", copy], check=True)
            status, content = client.send("POST", "/api/videos?name=copy.mp4", copy.read_bytes())
        assert status == 201, content
        client.answer(content["video"]["id"], QUESTIONS[0])
        if not ended.is_set():
            made.append(time.monotonic() - begin)


def summary(took: list[float], statuses: Counter, memory: dict[str, float], *, seconds: float) -> dict:
    """What is kept of a minute."""
    shares = dict(zip(("p50", "p90", "p99"), np.percentile(took, [50, 90, 99]), strict=True))
    return {
        "answers": len(took),
        "answers_a_second": round(len(took) / seconds, 1),
        "statuses": dict(statuses),
        "refused_or_failed": sum(count for status, count in statuses.items() if status != "200"),
        "latency_sec": {name: round(float(value), 3) for name, value in {**shares, "most": max(took)}.items()},
        "server_megabytes": {name: round(float(value)) for name, value in memory.items()},
    }


def main() -> None:
    """Start the server, prepare it, load it, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most-videos", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "serve_load.json")
    options = parser.parse_args()
    clients, seconds = min(options.clients, MOST_CLIENTS), min(options.seconds, MOST_SECONDS)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "vmr", "-q", "serve", "--port", "0", "--cache", cache]
        command += ["--model", options.model, "--videos", options.videos]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().split()[1]
            first = Client(address)
            videos = first.send("GET", "/api/videos")[1]["videos"][: options.most_videos]
            for video in videos:
                first.answer(video["id"], QUESTIONS[0])
            ids = [video["id"] for video in videos]
            alone = [0.0] * 50
            for turn in range(len(alone)):
                begin = time.monotonic()
                assert first.ask(ids[turn % len(ids)], QUESTIONS[turn % len(QUESTIONS)])[0] == 200
                alone[turn] = time.monotonic() - begin
            parts = {}
            for name in ("answers_only", "beside_new_videos"):
                memory, ended, made = Memory(server.pid), threading.Event(), []
                files = [options.videos / video["name"] for video in videos]
                uploading = threading.Thread(target=upload_until, args=(address, files, ended, made))
                if name == "beside_new_videos":
                    uploading.start()
                took, statuses = crowd(address, ids, clients=clients, seconds=seconds)
                ended.set()
                if uploading.ident is not None:
                    uploading.join()
                parts[name] = summary(took, statuses, memory.end(), seconds=seconds)
                if made:
                    parts[name]["new_videos"] = len(made)
                    parts[name]["seconds_a_new_video"] = round(float(np.mean(made)), 1)
                print(name, json.dumps(parts[name], indent=2))
        finally:
            server.terminate()
            server.wait(timeout=60)
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0]},
        "versions": library_versions(["torch", "numpy", "starlette", "uvicorn"]),
        "clients": clients,
        "seconds": seconds,
        "videos": len(ids),
        "one_client_alone_sec": round(float(np.median(alone)), 4),
        **parts,
    }
    write_json(options.output, result)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()

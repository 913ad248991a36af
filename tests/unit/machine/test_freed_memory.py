"""How extraction holds memory. In a process of its own: what these calls change lasts until a process ends."""

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, re
import numpy as np
from vmr.machine.memory import give_back_freed_memory, keep_freed_memory

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

keep_freed_memory()
found = [held()]
pieces = []
for number in range(400):
    # Small things between large ones, as between the arrays of videos: the heap has no free end to cut off.
    pieces.append((np.ones(1 << 16), bytearray(2000)))
found.append(held())
pieces = [small for large, small in pieces]
found.append(held())
give_back_freed_memory()
found.append(held())
print(json.dumps(found))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep and to give back")
def test_freed_memory_is_kept_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, full, freed, given_back = json.loads(done.stdout)
    assert full - before == pytest.approx(200, abs=20)
    assert freed - before == pytest.approx(200, abs=20)
    assert given_back - before == pytest.approx(0, abs=20)

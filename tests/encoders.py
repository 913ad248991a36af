"""A sentence encoder for tests: a sentence means the action whose name ends it."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vmr.storage.files import sha256_file
from vmr.zero_shot.actions import action_names


class NamingEncoder:
    """Vectors that single out one action; sentences without a name take the place `otherwise`, 400 for no action."""

    otherwise = 400

    @classmethod
    def read(cls, path):
        return cls()

    def __call__(self, sentences):
        rows = np.zeros((len(sentences), 401), dtype=np.float32)
        for row, sentence in enumerate(sentences):
            named = [number for number, name in enumerate(action_names()) if sentence.endswith(name)]
            rows[row, named[-1] if named else self.otherwise] = 1.0
        return rows


def write_classifier(path: Path) -> dict[str, str]:
    """Write weights whose logits are the first feature numbers; what a feature file's provenance says of them."""
    layer = np.eye(400, 1024, dtype=np.float32).reshape(400, 1024, 1, 1, 1)
    save_file({"logits.conv3d.weight": layer, "logits.conv3d.bias": np.zeros(400, dtype=np.float32)}, path)
    return {"sha256": sha256_file(path)}

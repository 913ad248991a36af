"""The only definition of the configuration: `config.yaml` is checked by it, the JSON Schema generated from it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmr.config.whole import Config
from vmr.errors import ConfigError
from vmr.settings.checks import validated


def load_config(values: Mapping[str, Any], *, source: str = "config.yaml") -> Config:
    """Check the content of `config.yaml`.

    Raises:
        ConfigError: names every wrong entry, with the nearest known key for unknown ones.
    """
    config = validated(Config, dict(values), source)
    for name in config.datasets:
        config.for_dataset(name)
    return config


def read_config(path: Path) -> Config:
    """Read and check a YAML file; tags that would build Python objects are refused.

    Raises:
        ConfigError: missing, unreadable, not YAML, or not a configuration.
    """
    return load_config(read_mapping(path), source=str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """The content of a YAML file, not checked; tags that would build Python objects are refused.

    Raises:
        ConfigError: missing, unreadable, not YAML, or no mapping of sections.
    """
    import yaml

    from vmr.config.yaml_once import load_once

    try:
        values = load_once(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration file. Go to its folder, or name it.") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: a YAML file was expected, it cannot be read ({error.strerror or error}). Name the configuration."
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # the latter of dates that there are not, and of what is no UTF-8
        raise ConfigError(f"{path}: is not plain YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, found {type(values).__name__}.")
    return values


def schema_text() -> str:
    """The JSON Schema of `config.yaml`, as text that ends in a new line."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

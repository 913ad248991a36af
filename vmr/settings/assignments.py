"""Options of the form NAME=VALUE."""

from vmr.errors import ConfigError


def assignment(entry: str, option: str) -> tuple[str, str]:
    """Name and value of an option of the form NAME=VALUE."""
    name, separator, value = entry.partition("=")
    if not separator or not name or not value:
        raise ConfigError(f"{option} {entry}: expected NAME=VALUE.")
    return name, value


def assignments(entries: list[str], option: str) -> dict[str, str]:
    """Values by name of an option of the form NAME=VALUE that is given once for each name.

    Raises:
        ConfigError: an entry has another form, or two have one name.
    """
    pairs = [assignment(entry, option) for entry in entries]
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ConfigError(f"{option}: a name is given twice ({', '.join(names)}). Give each once.")
    return dict(pairs)

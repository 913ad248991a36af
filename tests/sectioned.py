"""Arguments of stages for tests: those that are settings of a section become that section."""


def sectioned(section, arguments, *, name="settings"):
    """Arguments with the section in place of its settings."""
    settings = {key: value for key, value in arguments.items() if key in section.model_fields}
    return {key: value for key, value in arguments.items() if key not in settings} | {name: section(**settings)}

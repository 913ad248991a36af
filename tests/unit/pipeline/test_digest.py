import pytest

import vmr.pipeline.digest as provenance
from vmr.pipeline.digest import code_digest
from vmr.storage.provenance import library_versions


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGE_ROOT", tmp_path)
    (tmp_path / "stage.py").write_text('"""Doc."""\nfrom vmr.part import helper\n\n\ndef run():\n    return helper()\n')
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "__init__.py").write_text("from vmr.part.inner import helper\n")
    (tmp_path / "part" / "inner.py").write_text("def helper():\n    return 1\n")
    (tmp_path / "other.py").write_text("x = 1\n")

    def digest(**options):
        provenance._analyse.cache_clear()
        return code_digest(["vmr.stage"], **options)

    yield tmp_path, digest
    provenance._analyse.cache_clear()


def test_comments_and_docstrings_change_nothing(package):
    folder, digest = package
    before = digest()
    (folder / "stage.py").write_text(
        '"""Another."""\n# why\nfrom vmr.part import helper\n\n\ndef run():\n    """Run."""\n    return  helper()\n'
    )
    assert digest() == before


def test_changed_code_of_the_stage_or_of_what_it_imports_changes_it(package):
    folder, digest = package
    before = digest()
    (folder / "part" / "inner.py").write_text("def helper():\n    return 2\n")
    assert digest() != before


def test_code_that_the_stage_does_not_import_changes_nothing(package):
    folder, digest = package
    before = digest()
    (folder / "other.py").write_text("x = 2\n")
    assert digest() == before


def test_modules_left_out_change_nothing(package):
    folder, digest = package
    before = digest(without=["vmr.part.inner"])
    (folder / "part" / "inner.py").write_text("def helper():\n    return 2\n")
    assert digest(without=["vmr.part.inner"]) == before


def test_lazy_imports_count(package):
    folder, digest = package
    (folder / "stage.py").write_text("def run():\n    import vmr.other\n")
    before = digest()
    (folder / "other.py").write_text("x = 2\n")
    assert digest() != before


def test_a_wrong_name_is_an_error():
    with pytest.raises(ModuleNotFoundError, match=r"vmr\.nowhere"):
        code_digest(["vmr.nowhere"])


def test_versions_name_what_is_missing():
    versions = library_versions(["numpy", "no-such-package"])
    assert versions["no-such-package"] == "not installed"
    assert versions["numpy"][0].isdigit()


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('raise ValueError(f"{name}: too long")', 'raise ValueError(f"{name} has too many")', True),
        ('log.info("%d videos", 3)', 'log.info("videos: %d", 3)', True),
        ('raise ValueError("x")', 'raise KeyError("x")', False),
        ('log.info("%d videos", 3)', 'log.info("%d videos", 4)', False),
        ('print("a")', 'print("b")', False),
        ('raise ValueError(f"{name}: too long")', 'raise ValueError(f"{other}: too long")', False),
    ],
)
def test_words_of_errors_and_logs_change_nothing_but_all_else_does(package, before, after, same):
    folder, digest = package
    (folder / "stage.py").write_text(f"def run():\n    {before}\n")
    first = digest()
    (folder / "stage.py").write_text(f"def run():\n    {after}\n")
    assert (digest() == first) is same


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The digest of one command in a module of two."""
    files = {
        "commands.py": """
from vmr.groups import Output as Out, app, assignment

@app.command()
def train(output: Out, rate: float = 0.1, other: int = 0):
    "Train."
    from vmr.stage import run
    run(assignment(output), rate=rate, other=other)

def other():
    pass
""",
        "groups.py": """
app = Typer(help="All commands.")
Output = Annotated[str, Option(help="File to write.", exists=False)]

def assignment(text):
    return _split(text)

def _split(text):
    return text.split("=")

def unused():
    pass
""",
        "stage.py": "def run(**options):\n    pass\n",
    }
    monkeypatch.setattr(provenance, "_PACKAGE_ROOT", tmp_path)

    def digest(file=None, old="", new=""):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        if file:
            assert old in files[file]
            (tmp_path / file).write_text(files[file].replace(old, new))
        provenance._analyse.cache_clear()
        return code_digest(["vmr.commands:train"])

    yield digest
    provenance._analyse.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("commands.py", "rate=rate", "rate=2 * rate"),
        ("commands.py", "rate: float = 0.1", "rate: float = 0.2"),
        ("groups.py", "exists=False", "exists=True"),
        ("groups.py", 'text.split("=")', 'text.split(":")'),
        ("stage.py", "pass", "return options"),
    ],
)
def test_a_command_counts_with_what_it_uses(command, file, old, new):
    assert command(file, old, new) != command()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("commands.py", "Train.", "Train a network."),
        ("commands.py", "app.command()", 'app.command("fit")'),
        ("commands.py", "def other():\n    pass", "def other():\n    return 1"),  # an argument has the same name
        ("groups.py", "File to write.", "The file."),
        ("groups.py", "All commands.", "The commands."),
        ("groups.py", "def unused():\n    pass", "def unused():\n    return 1"),
    ],
)
def test_help_and_other_commands_change_nothing(command, file, old, new):
    assert command(file, old, new) == command()


def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        code_digest(["vmr.cli.training:nothing"])


def test_files_that_are_no_code_count_too(monkeypatch, tmp_path):
    from vmr.pipeline import digest as provenance

    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("<p>one</p>")
    monkeypatch.setattr(provenance, "_PACKAGE_ROOT", tmp_path)
    first = provenance.files_digest(["templates"], "code")
    assert first == provenance.files_digest(["templates"], "code") != provenance.files_digest(["templates"], "other")
    (tmp_path / "templates" / "page.html").write_text("<p>two</p>")
    assert provenance.files_digest(["templates"], "code") != first

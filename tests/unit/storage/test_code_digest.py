import pytest

from vmr.config.extractors import EXTRACTORS
from vmr.pipeline.stages import STAGES
from vmr.storage import code_digest as module
from vmr.storage.code_digest import code_digest
from vmr.storage.provenance import library_versions

STAGE = '''"""Doc."""
from vmr.part import helper

Output = Annotated[str, Option(help="File to write.", exists=False)]
width = Field(description="How wide.")


def run():
    return helper()


def later():
    import vmr.lazy
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE_ROOT", tmp_path)
    monkeypatch.setenv("VMR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "__init__.py").write_text("from vmr.part.inner import helper\n")
    (tmp_path / "part" / "inner.py").write_text("def helper():\n    return 1\n")
    for name in ("lazy", "other"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")

    def digest(**options):
        module._analyses.cache_clear()
        return code_digest(["vmr.stage"], **options)

    yield tmp_path, digest
    module._analyses.cache_clear()


def test_modules_left_out_change_nothing(package):
    folder, digest = package
    before = digest(without=["vmr.part.inner"])
    (folder / "part" / "inner.py").write_text("def helper():\n    return 2\n")
    assert digest(without=["vmr.part.inner"]) == before


def test_what_an_earlier_process_analysed_is_taken_until_it_changes(package, monkeypatch):
    folder, digest = package
    before = digest()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_analyse", lambda content: pytest.fail("analysed again"))
        assert digest() == before
    (folder / "lazy.py").write_text("x = 3\n")
    assert digest() != before
    (folder / "lazy.py").write_text("x = 1\n")
    assert digest() == before


@pytest.mark.parametrize("kept", ["", '{"half": ["', "[]"])
def test_a_cache_that_cannot_be_read_or_written_costs_time_only(package, kept):
    folder, digest = package
    before = digest()
    cache = folder / "cache" / "code.json"
    cache.write_text(kept)
    assert digest() == before
    cache.unlink()
    cache.mkdir()
    assert digest() == before


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


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("stage.py", '"""Doc."""', '"""Another."""\n# why', True),
        ("stage.py", "return helper()", "return  helper()", True),
        ("stage.py", "def run():", 'def run():\n    """Run."""', True),
        ("stage.py", "File to write.", "The file.", True),
        ("stage.py", "How wide.", "The width.", True),
        ("stage.py", "exists=False", "exists=True", False),
        ("part/inner.py", "return 1", "return 2", False),
        ("lazy.py", "x = 1", "x = 2", False),
        ("other.py", "x = 1", "x = 2", True),
    ],
)
def test_all_code_that_is_imported_counts_and_nothing_else_does(package, file, old, new, same):
    folder, digest = package
    before, text = digest(), (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert (digest() == before) is same


def test_files_that_are_no_code_count_too(package):
    folder, digest = package
    (folder / "templates").mkdir()
    (folder / "templates" / "page.html").write_text("<p>one</p>")
    first = digest(files=["templates"])
    assert first == digest(files=["templates"]) != digest()
    (folder / "templates" / "page.html").write_text("<p>two</p>")
    assert digest(files=["templates"]) != first


def test_an_extractor_counts_for_itself_alone():
    digests = [STAGES[f"extract_{name}"].digest() for name in EXTRACTORS]
    assert len(set(digests)) == len(EXTRACTORS) - 1  # the two backbones are one module

import pytest

from xct_pipeline import tabulated as module
from xct_pipeline.tabulated import tabulated


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XCT_CACHE", str(tmp_path))
    module._kept.cache_clear()
    yield tmp_path
    module._kept.cache_clear()


def test_what_was_asked_is_kept_without_the_library(cache, monkeypatch):
    import xraydb

    mass, atoms = tabulated("atomic_mass", "Na"), tabulated("chemparse", "Na3Zr2Si2PO12")
    assert mass == xraydb.atomic_mass("Na")
    assert atoms == xraydb.chemparse("Na3Zr2Si2PO12")
    module._kept.cache_clear()  # as in another process
    monkeypatch.setattr(xraydb, "atomic_mass", None)
    monkeypatch.setattr(xraydb, "chemparse", None)
    assert tabulated("atomic_mass", "Na") == mass
    assert tabulated("chemparse", "Na3Zr2Si2PO12") == atoms


def test_a_file_that_is_not_as_it_was_written_is_not_believed(cache):
    mass = tabulated("atomic_mass", "Na")
    (file,) = cache.iterdir()
    file.write_text(file.read_text().replace(str(mass), "1.5"))
    module._kept.cache_clear()
    assert tabulated("atomic_mass", "Na") == mass


def test_where_nothing_can_be_written_and_where_there_is_no_such_number(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XCT_CACHE", str(tmp_path / "file"))
    module._kept.cache_clear()
    assert tabulated("atomic_mass", "K") > 39
    with pytest.raises(ValueError):
        tabulated("mu_elam", "Xx", 25e3)

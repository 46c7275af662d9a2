import pytest
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.config.edit import change_text, update_config
from xct_pipeline.config.file import ConfigError, load_config

TEXT = """\
# head
output = "store.zarr"        # where

[acquisition]
scans = ["a.nxs"]            # in time order

[correction.stripe]
method = "all"
snr = 3.0                    # of stripes

[reconstruction]
center = "auto"              # or a column
filter = "hann"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    return path


def test_a_changed_value_leaves_every_other_byte(file):
    config = update_config(file, {"reconstruction.center": 81.25})
    assert config.reconstruction.center == 81.25
    assert file.read_text() == TEXT.replace('"auto"', "81.25")
    assert load_config(file) == config


def test_a_mapping_replaces_a_table_and_keeps_comments_of_keys_that_stay(file):
    update_config(file, {"correction.stripe": {"method": "defects", "snr": 4.0, "max_width": 5}})
    text = file.read_text()
    assert "snr = 4.0                    # of stripes" in text
    assert "max_width = 5" in text
    update_config(file, {"correction.stripe": {"method": "sorting"}})
    assert load_config(file).correction.stripe.model_dump() == {"method": "sorting", "size": None}
    assert "# or a column" in file.read_text()


def test_tables_that_are_not_there_are_made_and_keys_removed(file):
    config = update_config(
        file,
        {
            "correction.phase": {"method": "paganin", "delta_beta": 400.0},
            "registration.mask": {"min_attenuation": 2.0, "box": {"z": [0, 9], "y": (1, 8), "x": [2, 7]}},
            "reconstruction.filter": None,
            "segmentation.nothing": None,
        },
    )
    assert config.correction.phase.delta_beta == 400.0
    assert config.registration.mask.box.y == (1, 8)
    assert config.reconstruction.filter == "ram-lak"
    assert "segmentation" not in file.read_text()
    assert load_config(file) == config


def test_what_is_made_reads_like_what_people_write(file):
    file.write_text(
        TEXT
        + '\n[registration]\nmethod = "rigid"\n'
        + "\n[variation]\nregion = { box = { z = [0, 4], y = [0, 4], x = [0, 4] } }\n"
    )
    update_config(file, {"registration.mask": {"min_attenuation": 2.0, "box": {"z": [0, 9], "y": [1, 8], "x": [2, 7]}}})
    update_config(file, {"variation.region": {"cylinder": {"z": [3, 5], "radius": 2.5}}})
    update_config(file, {"electrochemistry.log": "cycler.csv"})
    assert file.read_text().endswith("""
[registration]
method = "rigid"

[registration.mask]
min_attenuation = 2.0
box = {z = [0, 9], y = [1, 8], x = [2, 7]}

[variation]
region = {cylinder = {z = [3, 5], radius = 2.5}}

[electrochemistry]
log = "cycler.csv"
""")


def test_scalar_becomes_a_table_and_back(file):
    update_config(file, {"registration.mask": "auto"})
    update_config(file, {"registration.mask": {"min_attenuation": 1.5}})
    assert load_config(file).registration.mask.min_attenuation == 1.5
    update_config(file, {"registration.mask": "auto"})
    assert load_config(file).registration.mask == "auto"


def test_a_wrong_change_leaves_the_file(file):
    with pytest.raises(ConfigError, match="did you mean"):
        update_config(file, {"reconstruction.centre": 80.0})
    with pytest.raises(ConfigError, match="is a value, not a table"):
        update_config(file, {"output.name": 1})
    assert file.read_text() == TEXT


def test_unreadable_files_are_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        update_config(tmp_path / "none.toml", {})
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        update_config(tmp_path / "bad.toml", {"a": 1})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_to_the_last_bit(value):
    import tomllib

    assert tomllib.loads(change_text(TEXT, {"reconstruction.center": value}))["reconstruction"]["center"] == value

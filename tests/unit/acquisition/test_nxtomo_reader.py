"""NXtomo and NeXus files: kinds of frames, angles, units, links, and what is wrong with damaged ones."""

from __future__ import annotations

import pickle
import re
from datetime import datetime

import h5py
import hdf5plugin
import numpy as np
import pytest
from nxtomo_writer import KEY, PROJECTIONS, frames_of, write_nxtomo

from xct_pipeline.acquisition import open_scan
from xct_pipeline.scan import ScanError


def error_of(path, **options) -> str:
    with pytest.raises(ScanError) as caught:
        open_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path).split("::")[0] in message
    return message


def test_kinds_of_frames_positions_and_facts(tmp_path):
    scan = open_scan(write_nxtomo(tmp_path / "scan_00.nxs"))
    frames, key = frames_of(KEY), np.array(KEY)
    assert scan.name == "scan_00"
    np.testing.assert_array_equal(scan.projections.read(), frames[key == 0])
    np.testing.assert_array_equal(scan.flats.read(), frames[key == 1])
    np.testing.assert_array_equal(scan.darks.read(), frames[key == 2])
    np.testing.assert_array_equal(scan.flat_position, [0, 0, 4, 10])
    np.testing.assert_array_equal(scan.dark_position, [0, 10])
    np.testing.assert_allclose(scan.angles, np.deg2rad(np.arange(10) * 20.0), rtol=1e-15)
    assert scan.angles.dtype == np.float64
    assert scan.pixel_size_um == pytest.approx(6.5)
    assert scan.energy_keV == pytest.approx(22.0)  # not the ring's 6 GeV
    assert scan.distance_mm == pytest.approx(250.0)
    assert scan.saturation == 65535
    assert scan.start == datetime(2024, 5, 1, 10)
    assert scan.end == datetime(2024, 5, 1, 10, 10)
    assert scan.warnings == ()
    assert scan.metadata["sample"] == "cell"
    assert scan.files == (tmp_path / "scan_00.nxs",)


@pytest.mark.parametrize(
    "box",
    [
        (slice(None), slice(None), slice(None)),
        (slice(2, 9, 3), slice(1, 5, 2), slice(None, None, -2)),
        (slice(None, None, -1), slice(3, 4), slice(0, 0)),
        (slice(-3, None), slice(-2, None), slice(5, 100)),
        (slice(4, 4), slice(None), slice(None)),
    ],
)
def test_boxes_are_those_of_numpy_after_pickling(tmp_path, box):
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs"))
    frames = pickle.loads(pickle.dumps(scan.projections))
    expected = frames_of(KEY)[np.array(KEY) == 0][box]
    got = frames.read(*box)
    np.testing.assert_array_equal(got, expected)
    assert got.flags.c_contiguous


def test_return_frames_and_invalid_frames_are_left_out(tmp_path):
    control = np.array(KEY)
    control[5] = -1
    control[1] = 3
    path = write_nxtomo(tmp_path / "s.nxs", **{"instrument/detector/image_key_control": control})
    scan = open_scan(path)
    assert scan.shape[0] == PROJECTIONS - 1
    assert scan.flats.shape[0] == 3
    keep = (np.array(KEY) == 0) & (control == 0)
    np.testing.assert_array_equal(scan.projections.read(), frames_of(KEY)[keep])
    assert len(scan.angles) == PROJECTIONS - 1


def test_keys_as_floats_and_angles_of_projections_only(tmp_path):
    angles = np.linspace(0, np.pi, PROJECTIONS)
    path = write_nxtomo(
        tmp_path / "s.nxs",
        **{
            "instrument/detector/image_key": np.array(KEY, float),
            "sample/rotation_angle": angles,
            "sample/rotation_angle@units": "rad",
        },
    )
    np.testing.assert_allclose(open_scan(path).angles, angles)


def test_angles_stay_as_recorded(tmp_path):
    rng = np.random.default_rng(0)
    recorded = (np.linspace(700, 300, PROJECTIONS) + rng.normal(0, 0.01, PROJECTIONS)) % 360
    path = write_nxtomo(tmp_path / "s.nxs", **{"sample/rotation_angle": recorded})
    np.testing.assert_allclose(open_scan(path).angles, np.deg2rad(recorded))


@pytest.mark.parametrize("big", [">u2", ">f4", "<i4", "u1"])
def test_types_and_byte_orders(tmp_path, big):
    data = np.minimum(frames_of(KEY), 250).astype(big)
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **{"instrument/detector/data": data}))
    got = scan.projections.read()
    assert got.dtype == np.dtype(big).newbyteorder("=") == scan.projections.dtype
    np.testing.assert_array_equal(got, data[np.array(KEY) == 0])


@pytest.mark.parametrize(
    "filters",
    [
        {"compression": "gzip", "shuffle": True},
        {"compression": "lzf"},
        hdf5plugin.Bitshuffle(),
        hdf5plugin.LZ4(),
        hdf5plugin.Blosc(),
        hdf5plugin.Zstd(),
        hdf5plugin.Blosc2(),
    ],
)
def test_compression(tmp_path, filters):
    def data(group, name):
        group.create_dataset(name, data=frames_of(KEY), chunks=(1, 3, 8), **filters)

    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **{"instrument/detector/data": data}))
    assert scan.projections.chunk_rows == 3
    np.testing.assert_array_equal(scan.projections.read(rows=slice(2, 4)), frames_of(KEY)[np.array(KEY) == 0][:, 2:4])


def test_a_filter_that_nobody_has(tmp_path):
    def data(group, name):
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_chunk((1, 6, 8))
        dcpl.set_filter(260 + 31000, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((len(KEY), 6, 8))
        dataset = h5py.h5d.create(
            group.require_group("instrument/detector").id, b"data", h5py.h5t.NATIVE_UINT16, space, dcpl
        )
        for i in range(len(KEY)):
            dataset.write_direct_chunk((i, 0, 0), b"no such compressor")

    path = write_nxtomo(tmp_path / "s.nxs", **{"instrument/detector/data": data})
    assert "/entry/instrument/detector/data" in error_of(path)


# -------------------------------------------------------------------------------------------- what is stated


@pytest.mark.parametrize(
    ("changes", "pixel"),
    [
        ({"sample/x_pixel_size": 0.65e-6, "sample/x_pixel_size@units": "m"}, 0.65),
        ({"instrument/detector/magnification": 10.0}, 0.65),
        ({"instrument/detector/magnification": "10x"}, 0.65),
        ({"instrument/detector/magnification": 10.0, "instrument/detector/real_x_pixel_size": 65.0}, 6.5),
        ({"instrument/detector/x_pixel_size@units": "µm"}, 6.5),
        ({"instrument/detector/x_pixel_size@units": "microns"}, 6.5),
        ({"instrument/detector/x_pixel_size": 0.0065, "instrument/detector/x_pixel_size@units": "mm"}, 6.5),
        ({"instrument/detector/x_pixel_size": None}, None),
        ({"instrument/detector/x_pixel_size": np.array([6.5])}, 6.5),
    ],
)
def test_pixel_size(tmp_path, changes, pixel):
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **changes))
    assert scan.pixel_size_um == (None if pixel is None else pytest.approx(pixel))
    assert scan.warnings == ()


@pytest.mark.parametrize(
    "value", [0.0, -1.0, np.nan, np.inf, "6.5", np.array([]), np.array([1.0, 2.0]), 1e9, h5py.Empty("f8")]
)
def test_a_senseless_pixel_size_is_left_out_with_a_warning(tmp_path, value):
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **{"instrument/detector/x_pixel_size": value}))
    assert scan.pixel_size_um is None
    assert any("x_pixel_size" in warning for warning in scan.warnings)


def test_pixels_that_are_not_square_and_sizes_without_unit(tmp_path):
    changes = {"instrument/detector/y_pixel_size": 7.0, "instrument/detector/y_pixel_size@units": "um"}
    scan = open_scan(write_nxtomo(tmp_path / "a.nxs", **changes))
    assert scan.metadata["pixel_height_um"] == pytest.approx(7.0)
    changes = {"instrument/detector/x_pixel_size": 6.5e-6, "instrument/detector/x_pixel_size@units": None}
    scan = open_scan(write_nxtomo(tmp_path / "b.nxs", **changes))
    assert scan.pixel_size_um == pytest.approx(6.5)
    assert "states no unit" in scan.warnings[0]


@pytest.mark.parametrize(
    ("changes", "energy"),
    [
        ({"instrument/beam/incident_energy": None}, None),
        (
            {
                "instrument/beam/incident_energy": None,
                "beam/incident_energy": 21.0,
                "beam/incident_energy@units": "keV",
            },
            21,
        ),
        (
            {
                "instrument/beam/incident_energy": None,
                "instrument/monochromator/energy": 23.0,
                "instrument/monochromator/energy@units": "keV",
            },
            23,
        ),
        (
            {
                "instrument/beam/incident_energy": None,
                "instrument/beam/incident_wavelength": 0.5,
                "instrument/beam/incident_wavelength@units": "angstrom",
            },
            24.79684,
        ),
        ({"instrument/beam/incident_energy": 3.5247e-15, "instrument/beam/incident_energy@units": "J"}, 21.9994),
        ({"instrument/beam/incident_energy": np.full(17, 20.0), "instrument/beam/incident_energy@units": "keV"}, 20),
    ],
)
def test_photon_energy(tmp_path, changes, energy):
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **changes))
    assert scan.energy_keV == (None if energy is None else pytest.approx(energy, rel=1e-4))
    assert scan.warnings == ()


def test_a_ring_energy_in_the_wrong_place_is_not_believed(tmp_path):
    changes = {"instrument/beam/incident_energy": 6.0, "instrument/beam/incident_energy@units": "GeV"}
    scan = open_scan(write_nxtomo(tmp_path / "s.nxs", **changes))
    assert scan.energy_keV is None
    assert "energy_keV" in scan.warnings[0]


def test_the_configuration_overrides_the_file(tmp_path):
    changes = {"instrument/detector/x_pixel_size@units": "parsnip", "instrument/beam/incident_energy@units": 7}
    path = write_nxtomo(tmp_path / "s.nxs", **changes)
    scan = open_scan(path, name="first", pixel_size_um=0.7, energy_keV=25)
    assert (scan.name, scan.pixel_size_um, scan.energy_keV) == ("first", 0.7, 25)
    assert "parsnip" in error_of(path, energy_keV=25)
    assert "pixel_size_um" in error_of(path, energy_keV=25)
    assert "pixel_size_um" in error_of(path, energy_keV=25, pixel_size_um=-1)


@pytest.mark.parametrize(
    ("name", "value", "full"), [("saturation_value", 60000.0, 60000), ("bit_depth_readout", 12, 4095)]
)
def test_saturation_as_stated(tmp_path, name, value, full):
    assert open_scan(write_nxtomo(tmp_path / "s.nxs", **{f"instrument/detector/{name}": value})).saturation == full


# ----------------------------------------------------------------------------------- several entries, no names


def test_several_entries_ask_for_a_choice(tmp_path):
    path = write_nxtomo(tmp_path / "two.nxs", entry="entry0000")
    write_nxtomo(path, entry="entry0001", **{"sample/name": "other"})
    message = error_of(path)
    assert "/entry0000, /entry0001" in message
    choice = re.search(r'"two.nxs(::[^"]+)"', message).group(1)
    assert open_scan(f"{path}{choice}").metadata["sample"] == "cell"
    assert open_scan(f"{path}::entry0001").metadata["sample"] == "other"
    assert open_scan(f"{path}::entry0001").name == "two_entry0001"
    assert "entry0007" in error_of(f"{path}::/entry0007")


def test_one_nxtomo_among_other_entries(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", entry="raw", definition=None)
    write_nxtomo(path, entry="tomo", **{"sample/name": "the one"})
    assert open_scan(path).metadata["sample"] == "the one"


def test_the_same_frames_through_two_entries_are_one_scan(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", definition=None)
    with h5py.File(path, "a") as file:
        file["again"] = h5py.SoftLink("/entry")
    assert open_scan(path).shape[0] == PROJECTIONS


def test_a_subentry_of_links(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", definition=None)
    with h5py.File(path, "a") as file:
        sub = file["entry"].create_group("tomo_entry")
        sub.attrs["NX_class"] = "NXsubentry"
        sub["definition"] = "NXtomo"
        for name in ("instrument", "sample"):
            sub[name] = h5py.SoftLink(f"/entry/{name}")
    assert open_scan(path).metadata["entry"] == "/entry/tomo_entry"


def test_without_definition_classes_or_key(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["scan/instrument/detector/data"] = frames_of([0] * 12)
        file["scan/sample/rotation_angle"] = np.linspace(0, 165, 12)
    scan = open_scan(path, without_flats=True, without_darks=True)
    assert scan.shape == (12, 6, 8)
    assert scan.flats is None
    assert scan.darks is None


def test_angles_of_a_plot_axis_that_was_read_back(tmp_path):
    read_back = np.zeros(len(KEY))
    read_back[np.array(KEY) == 0] = np.linspace(0.01, 180.03, PROJECTIONS)

    def plot(group, name):
        group[name] = h5py.SoftLink("/entry/instrument/detector/data")
        plot = group["plot"]
        plot.attrs["NX_class"], plot.attrs["signal"] = "NXdata", "data"
        plot.attrs["axes"] = ["gts_theta_set", ".", "."]
        plot["gts_theta_set"] = h5py.ExternalLink("gone.h5", "/x")
        plot["gts_theta"] = read_back

    path = write_nxtomo(tmp_path / "s.nxs", **{"sample/rotation_angle": None, "plot/data": plot})
    scan = open_scan(path)
    np.testing.assert_allclose(np.rad2deg(scan.angles), read_back[np.array(KEY) == 0])
    assert len(scan.warnings) == 1
    assert "gone.h5 (/entry/plot/gts_theta_set)" in scan.warnings[0]


# --------------------------------------------------------------------------------------------- wrong contents


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instrument/detector/data": frames_of(KEY)[0]}, "detector/data: has shape (6, 8)"),
        ({"instrument/detector/data": np.zeros((17, 0, 8), "u2")}, "is empty"),
        ({"instrument/detector/data": 3.0}, "has shape ()"),
        ({"instrument/detector/data": h5py.Empty("u2")}, "has shape None"),
        ({"instrument/detector/data": np.array(["a", "b"], dtype=h5py.string_dtype())}, "detector/data"),
        ({"instrument/detector/data": frames_of(KEY).astype(complex)}, "complex"),
        ({"instrument/detector/data": frames_of(KEY).astype(bool)}, "bool"),
        ({"instrument/detector/data/x": 1.0}, "detector/data: a group"),
        ({"instrument/detector/image_key": np.array(KEY[:-1])}, "image_key: has 16 values for 17 frames"),
        ({"instrument/detector/image_key": np.array([7, *KEY[1:]])}, "image_key: holds 7"),
        ({"instrument/detector/image_key": np.array([0.5, *KEY[1:]])}, "image_key: holds 0.5"),
        ({"instrument/detector/image_key": np.array([np.nan, *KEY[1:]])}, "image_key: holds nan"),
        ({"instrument/detector/image_key": 0}, "has 1 values"),
        ({"instrument/detector/image_key": "projection"}, "image_key: holds object, not numbers"),
        ({"instrument/detector/image_key/x": 1}, "image_key: a group"),
        ({"instrument/detector/image_key": h5py.Empty("i4")}, "image_key"),
        ({"sample/rotation_angle": np.arange(16.0)}, "16 angles for 17 frames, of which 10 are projections"),
        ({"sample/rotation_angle": None}, "no rotation angles"),
        ({"sample/rotation_angle": np.full(17, np.nan)}, "10 angles are not numbers"),
        ({"sample/rotation_angle": np.full(17, 5.0)}, "all 10 angles are 5 degrees"),
        ({"sample/rotation_angle": np.array(["x"] * 17, dtype=h5py.string_dtype())}, "not numbers"),
        ({"sample/rotation_angle@units": "degre"}, "unit 'degre' is not known"),
        ({"sample/rotation_angle@units": "mm"}, "unit 'mm'"),
        ({"sample/rotation_angle@units": "counts"}, "unit 'counts'"),
        ({"sample/rotation_angle@units": "((((("}, "unit"),
        ({"sample/rotation_angle@units": b"\xff\xfe"}, "unit"),
        ({"sample/rotation_angle@units": 17}, "unit '17'"),
        ({"instrument/beam/incident_energy@units": "keW"}, "energy_keV"),
        ({"instrument/detector/data": None, "instrument/detector/image_key": None}, "no tomography scan"),
    ],
)
def test_wrong_contents(tmp_path, changes, words):
    if "instrument/detector/data/x" in changes:
        changes = {**changes, "instrument/detector/data": None}
    if "instrument/detector/image_key/x" in changes:
        changes = {**changes, "instrument/detector/image_key": None}
    assert words in error_of(write_nxtomo(tmp_path / "s.nxs", **changes))


@pytest.mark.parametrize(
    ("key", "options", "words"),
    [
        ([1, 1, 2, 2], {}, "no projections"),
        ([1, 2, 0, 0], {}, "at least three angles"),
        ([2, 0, 0, 0, 0], {}, 'flats = "none"'),
        ([1, 0, 0, 0, 0], {}, 'darks = "none"'),
        ([1, 0, 0, 0, 0], {"without_flats": True}, 'darks = "none"'),
    ],
)
def test_kinds_that_are_missing(tmp_path, key, options, words):
    assert words in error_of(write_nxtomo(tmp_path / "s.nxs", key), **options)


def test_nan_in_the_angle_of_a_flat_does_not_matter(tmp_path):
    angles = np.linspace(0, 180, 17)
    angles[1] = np.nan
    assert open_scan(write_nxtomo(tmp_path / "s.nxs", **{"sample/rotation_angle": angles})).shape[0] == PROJECTIONS


def test_a_short_range_is_a_warning(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", **{"sample/rotation_angle": np.linspace(0, 120, 17)})
    assert "less than 170" in open_scan(path).warnings[0]


# -------------------------------------------------------------------------------------------------- no file


def test_missing_empty_foreign_and_truncated_files(tmp_path):
    assert "no such file" in error_of(tmp_path / "none.nxs")
    assert "folder" in error_of(tmp_path)
    (tmp_path / "empty.nxs").touch()
    assert "truncated" in error_of(tmp_path / "empty.nxs")
    (tmp_path / "text.nxs").write_text("angle 1\n" * 1000)
    assert "not an HDF5 file" in error_of(tmp_path / "text.nxs")
    whole = write_nxtomo(tmp_path / "whole.nxs").read_bytes()
    (tmp_path / "cut.nxs").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in error_of(tmp_path / "cut.nxs")


def test_a_file_that_is_cut_after_it_was_opened(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs")
    scan = open_scan(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ScanError, match="truncated"):
        scan.projections.read()
    path.unlink()
    with pytest.raises(ScanError, match="no such file"):
        scan.projections.read()


@pytest.mark.parametrize("name", ["名前 scan.nxs", "line\nbreak.nxs", "percent %b.nxs", "two::colons.nxs", "*[1]?.nxs"])
def test_unusual_names(tmp_path, name):
    path = write_nxtomo(tmp_path / name, **{"sample/name": "Proben-ß", "title": np.bytes_(b"\xff\xfe")})
    assert open_scan(path).metadata["sample"] == "Proben-ß"


def test_files_of_the_nxtomo_package(tmp_path):
    pytest.importorskip("nxtomo")
    import pint
    from nxtomo.application.nxtomo import NXtomo
    from nxtomo.nxobject.nxdetector import ImageKey

    unit = pint.get_application_registry()
    kinds = [
        ImageKey.DARK_FIELD,
        *[ImageKey.FLAT_FIELD] * 2,
        *[ImageKey.PROJECTION] * 9,
        ImageKey.ALIGNMENT,
        ImageKey.INVALID,
    ]
    tomo = NXtomo()
    tomo.instrument.detector.data = np.arange(14 * 4 * 6, dtype=np.uint16).reshape(14, 4, 6)
    tomo.instrument.detector.image_key_control = kinds
    tomo.sample.rotation_angle = np.linspace(-20, 240, 14) * unit.degree
    tomo.instrument.detector.distance = 20 * unit.centimeter
    tomo.instrument.detector.x_pixel_size = tomo.instrument.detector.y_pixel_size = 6.5e-6 * unit.meter
    tomo.sample.x_pixel_size = tomo.sample.y_pixel_size = 0.65e-6 * unit.meter
    tomo.instrument.beam.incident_energy = 18 * unit.keV
    tomo.sample.name = "cell"
    tomo.start_time, tomo.end_time = datetime(2024, 5, 1, 10), datetime(2024, 5, 1, 11)
    path = tmp_path / "esrf.nx"
    tomo.save(str(path), "entry0000")
    scan = open_scan(path)
    assert (scan.shape, scan.flats.shape[0], scan.darks.shape[0]) == ((9, 4, 6), 2, 1)
    np.testing.assert_allclose(np.rad2deg(scan.angles), np.linspace(-20, 240, 14)[3:12])
    assert scan.pixel_size_um == pytest.approx(0.65)
    assert scan.energy_keV == pytest.approx(18)
    assert scan.distance_mm == pytest.approx(200)
    assert scan.start == datetime(2024, 5, 1, 10)

"""What a run says of its methods is what it did, and its crate holds together."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from xct_pipeline.config import Config
from xct_pipeline.config.file import parse_config
from xct_pipeline.config.section import Section
from xct_pipeline.report import methods
from xct_pipeline.report.contents import AbsentError
from xct_pipeline.report.crate import crate, crate_bytes
from xct_pipeline.report.methods import Methods, methods_of
from xct_pipeline.report.references import REFERENCES
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store


def begun(tmp_path, settings=None, facts=None) -> Series:
    store = Store(tmp_path / "store.zarr")
    store.claim({"a": ["../a.nxs"]})
    data = {"output": "store.zarr", "acquisition": {"scans": ["a.nxs"]}, **(settings or {})}
    raw = {"projections": 10, "rows": 2, "columns": 3, "pixel_size_um": 5.0, "energy_keV": 50.0}
    config = parse_config(data).model_dump(mode="json")
    store.update({"config": config, "order": ["a"], "facts": {"a": facts or raw}})
    return Series.open(store.path)


def test_marks_count_papers_in_order_and_once() -> None:
    found = Methods()
    assert found.cite("vo2018", "numpy") == " [1, 2]"
    assert found.cite("numpy") == " [2]"
    assert found.cite("") == ""
    assert [paper.doi for paper in found.references] == [REFERENCES["vo2018"].doi, REFERENCES["numpy"].doi]


def test_every_paper_that_may_be_cited_is_known() -> None:
    tables = (methods.STRIPES, methods.METHODS, methods.SEGMENTATIONS)
    assert all(not paper or paper in REFERENCES for table in tables for _, paper in table.values())
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", paper.doi) for paper in REFERENCES.values() if paper.doi)


@pytest.mark.parametrize(
    ("table", "known"),
    [("stripe", methods.STRIPES), ("method", methods.METHODS), ("segmentation", methods.SEGMENTATIONS)],
)
def test_every_method_of_the_configuration_has_a_sentence(table: str, known: dict[str, object]) -> None:
    from xct_pipeline.config.reference import schema

    text = json.dumps(schema())
    names = {"stripe": "Stripe", "method": "Fourier|Astra|Iterative|Tomopy", "segmentation": "Segment[A-Z]"}[table]
    models = {k: v for k, v in json.loads(text)["$defs"].items() if re.match(names, k)}
    tags = {m["properties"]["method"].get("const") for m in models.values() if "method" in m["properties"]}
    assert tags - {None, "none"} <= set(known)


def test_what_was_switched_off_is_not_said(tmp_path) -> None:
    off = {name: {"method": "none"} for name in ("stripe", "zinger", "air")}
    found = methods_of(begun(tmp_path, {"correction": off}))
    assert "stripes" not in found.paragraph
    assert "stray" not in found.paragraph
    assert not any("26, 28396" in str(paper) for paper in found.references)
    assert "registered" not in found.paragraph
    assert "1 scan of 10 projections of 2 x 3 pixels, 5 µm at 50 keV" in found.paragraph


def test_a_volume_is_not_said_to_be_reconstructed_here(tmp_path) -> None:
    facts = {"starts_from": "volume", "format": "HDF5", "shape": [4, 5, 6], "pixel_size_um": 5.0}
    found = methods_of(begun(tmp_path, facts=facts))
    assert "1 volume of 4 x 5 x 6 voxels of 5 µm were reconstructed by another program" in found.paragraph
    assert "Flats" not in found.paragraph
    assert "gridding" not in found.paragraph


def test_without_a_configuration_nothing_is_claimed(tmp_path) -> None:
    store = Store(tmp_path / "store.zarr")
    store.begin()
    with pytest.raises(AbsentError):
        methods_of(Series.open(store))
    assert json.loads(crate_bytes(Series.open(store)))["@graph"]


def test_a_crate_names_people_licence_inputs_software_and_parameters(tmp_path) -> None:
    person = {"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097", "affiliation": "London"}
    about = {"title": "A cell", "people": [person], "license": "CC-BY-4.0"}
    found = crate(begun(tmp_path, {"experiment": about}), datetime.date(2024, 5, 17))
    graph = {entity["@id"]: entity for entity in found["@graph"]}
    assert len(graph) == len(found["@graph"])
    root = graph["./"]
    assert (root["name"], root["datePublished"]) == ("A cell", "2024-05-17")
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert root["author"] == [{"@id": "https://orcid.org/0000-0002-1825-0097"}]
    assert graph["#run"]["instrument"] == {"@id": "#xct-pipeline"}
    assert graph["#input-a"]["identifier"] == ["../a.nxs"]
    assert graph["#parameter-correction.stripe.method"]["value"] == "none"
    references = set(re.findall(r'\{"@id": "([^"]+)"\}', json.dumps(found)))
    outside = {reference for reference in references if reference not in graph}
    assert outside <= {"https://w3id.org/ro/crate/1.1"}


def test_people_are_no_part_of_what_is_computed() -> None:
    assert issubclass(type(Config.model_fields["experiment"].default), Section)

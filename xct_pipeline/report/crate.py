"""RO-Crate 1.1: inputs, software, parameters, people and licence of a store, for repositories and machines."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

from xct_pipeline.report.contents import AbsentError
from xct_pipeline.report.methods import methods_of
from xct_pipeline.store import layout
from xct_pipeline.store.export import exportable
from xct_pipeline.store.series import Series
from xct_pipeline.store.tables import TABLES

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
DERIVED = "formula on the registered series, computed by xct_pipeline.open_image"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
Entity = dict[str, Any]


def crate(series: Series, day: datetime.date | None = None) -> Entity:
    """Return the metadata of a store as an RO-Crate.

    Parameters
    ----------
    series : Series
    day : date, optional
        Of publication; today by default.
    """
    about = series.config.get("experiment") or {}
    people = [_person(person) for person in about.get("people") or []]
    parts = list(_parts(series))
    software = list(_software(series))
    inputs = list(_inputs(series))
    parameters = list(_parameters(series.config))
    try:
        methods = methods_of(series)
        words, papers = methods.paragraph, [_paper(str(r), r.doi) for r in methods.references]
    except AbsentError:
        words, papers = "", []
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.get("title") or series.store.path.name,
        "description": about.get("description") or words or "Results of xct-pipeline.",
        "datePublished": (day or datetime.date.today()).isoformat(),
        "license": _reference(about.get("license") or "#license-not-stated"),
        "conformsTo": {"@id": PROCESS},
        "hasPart": _ids(parts),
        "mentions": {"@id": "#run"},
        **({"author": _ids(people)} if people else {}),
        **({"citation": _ids(papers)} if papers else {}),
    }
    action: Entity = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "xct run",
        "description": words,
        "instrument": {"@id": software[0]["@id"]},
        "object": _ids([*inputs, *parameters]),
        "result": _ids(parts),
        **({"agent": _ids(people)} if people else {}),
    }
    head = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}],
        "about": {"@id": "./"},
    }
    named = {"@id": PROCESS, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    licence = _licence(about.get("license"))
    graph = [head, root, action, named, licence, *people, *parts, *software, *inputs, *parameters, *papers]
    return {"@context": CONTEXT, "@graph": graph}


def crate_bytes(series: Series) -> bytes:
    """Return the crate as it is written."""
    return (json.dumps(crate(series), indent=1, ensure_ascii=False) + "\n").encode()


def _ids(entities: list[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _reference(text: str) -> Entity:
    return {"@id": text if "://" in text or text.startswith("#") else f"https://spdx.org/licenses/{text}"}


def _licence(text: str | None) -> Entity:
    if not text:
        what = "The people who measured have not stated a licence: [experiment] license in the configuration."
        return {"@id": "#license-not-stated", "@type": "CreativeWork", "name": "not stated", "description": what}
    return {**_reference(text), "@type": "CreativeWork", "name": text}


def _person(person: Mapping[str, Any]) -> Entity:
    orcid = person.get("orcid")
    entity: Entity = {
        "@id": f"https://orcid.org/{orcid}" if orcid else f"#{person['name']}",
        "@type": "Person",
        "name": person["name"],
    }
    return entity | ({"affiliation": person["affiliation"]} if person.get("affiliation") else {})


def _paper(text: str, doi: str) -> Entity:
    return {"@id": f"https://doi.org/{doi}" if doi else f"#{text}", "@type": "ScholarlyArticle", "name": text}


def _parts(series: Series) -> Iterator[Entity]:
    """Yield images, tables and the report."""
    root = series.store.path
    for path in [*series.volumes.values(), *exportable(series).values()]:
        place = layout.image_place(path)
        yield {
            "@id": f"{path}/",
            "@type": "Dataset",
            "name": path,
            "description": place.meaning if place else "",
            "encodingFormat": DERIVED if series.derives(path) else "OME-Zarr 0.5",
        }
    for file in sorted((root / "tables").glob("*.csv")):
        table = TABLES.get(file.stem)
        what = f"one row for each {table.row}; columns in {layout.COLUMNS}" if table else ""
        yield _file(f"tables/{file.name}", file.stem, "text/csv") | {"description": what}
    for name, kind in ((layout.REPORT, "text/html"), (layout.LOG, "text/plain"), (layout.COLUMNS, "application/json")):
        if (root / name).exists():
            yield _file(name, name, kind)


def _file(place: str, name: str, kind: str) -> Entity:
    return {"@id": place, "@type": "File", "name": name, "encodingFormat": kind}


def _software(series: Series) -> Iterator[Entity]:
    versions = {"xct-pipeline": "", **series.versions}
    for name, version in versions.items():
        entity: Entity = {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        if name == "xct-pipeline":
            entity["softwareRequirements"] = [{"@id": f"#{other}"} for other in versions if other != name]
        yield entity


def _inputs(series: Series) -> Iterator[Entity]:
    """Yield the main raw file of each scan, which does not lie in the crate."""
    for scan, files in series.files.items():
        facts = series.facts.get(scan, {})
        what = f"volume, {facts.get('format')}" if facts.get("starts_from") else "projections, flats and darks"
        entity: Entity = {
            "@id": f"#input-{scan}",
            "@type": "CreativeWork",
            "name": scan,
            "description": what,
            "identifier": files,
        }
        yield entity | ({"dateCreated": facts["start"]} if facts.get("start") else {})


def _parameters(config: Mapping[str, Any]) -> Iterator[Entity]:
    """Yield every setting of the run, with defaults."""
    for key, value in _flat(config, ""):
        yield {"@id": f"#parameter-{key}", "@type": "PropertyValue", "name": key, "value": value}


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not (name == "experiment" and not key):
                yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value not in (None, [], {}):
        yield key, value if isinstance(value, (str, int, float, bool)) else json.dumps(value)

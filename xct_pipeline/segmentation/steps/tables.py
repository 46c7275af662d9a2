"""The tables of a labelled series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xct_pipeline.engine.blocks import Array
from xct_pipeline.engine.execution import PassResult, Progress
from xct_pipeline.segmentation import tables
from xct_pipeline.segmentation.contact import touching_rows
from xct_pipeline.segmentation.steps.measures import (
    Measured,
    areas_of,
    contacts_step,
    materials_step,
    measure_contacts,
    measure_heights,
    partner_labels,
    thickness_step,
    touching_step,
)
from xct_pipeline.segmentation.steps.objects import (
    measure_objects,
    number_objects,
    objects_step,
    objects_wanted,
    visit_steps,
)
from xct_pipeline.segmentation.steps.series import of_scan
from xct_pipeline.store.labels import find_label


def write_tables(m: Measured, progress: Progress) -> tuple[list[PassResult], list[str]]:
    """Measure the labels of all scans and write the tables; return the passes over objects, and warnings."""
    import pandas as pd

    facts, voxel = m.facts, m.facts.volume.voxel_um
    visited = m.visit(visit_steps(m))
    materials = visited[materials_step(m).name]
    rows = []
    warnings = []
    for t in facts.good:
        sums = of_scan(materials, t)
        rows += tables.label_rows(facts.names[t], sums, areas_of(sums), m.names, voxel)
    table = pd.DataFrame(rows)
    m.store.write_table("labels", table)
    for name in dict.fromkeys(table.loc[table["voxels"] == 0, "name"]):
        absent = table.loc[(table["voxels"] == 0) & (table["name"] == name), "scan"]
        warnings.append(f"no voxel is {name} in {', '.join(absent)}")
    planes: dict[int, Array] = {}
    if m.settings.interface.offsets:
        planes = measure_heights(m, materials)
        warnings += _write_interface(m, planes)
    if m.settings.interface.partners:
        _write_contacts(m, visited[touching_step(m).name])
    if m.settings.thickness is not None:
        _write_thickness(m)
    return _write_objects(m, visited, planes, progress), warnings


def _write_interface(m: Measured, planes: Mapping[int, Array]) -> list[str]:
    import pandas as pd

    warnings = [
        f"{m.facts.names[t]}: no column ends in {m.names[m.ceramic]}, so no interface was measured"
        for t in m.facts.good
        if t not in planes
    ]
    if not planes:
        if m.steps is not None:
            m.steps.leave_out([contacts_step(m).name])
        return warnings
    contacts = measure_contacts(m, planes)
    rows: list[dict[str, Any]] = []
    for t in planes:
        name = m.facts.names[t]
        try:
            rows += tables.interface_rows(
                name, of_scan(contacts, t), m.names, m.ceramic, m.settings.interface.offsets, m.facts.volume.voxel_um
            )
        except ValueError as error:
            warnings.append(f"{name}: {error}")
    if rows:
        m.store.write_table("interface", pd.DataFrame(rows))
    return warnings


def _write_contacts(m: Measured, found: Mapping[str, Array]) -> None:
    import pandas as pd

    partners = partner_labels(m)
    size = m.facts.volume.voxel_um
    rows = [
        {"scan": m.facts.names[t], **row}
        for t in m.facts.good
        for row in touching_rows(
            of_scan(found, t),
            m.names,
            partners,
            voxel_size_um=float("nan") if size is None else size,
            offsets=m.settings.interface.offsets,
        )
    ]
    m.store.write_table("contacts", pd.DataFrame(rows))


def _write_thickness(m: Measured) -> None:
    import pandas as pd

    options = m.settings.thickness
    assert options is not None
    labels = [find_label(m.names, name) for name in options.materials]
    found = m.reduce(thickness_step(m))
    rows = [
        row
        for t in m.facts.good
        for row in tables.thickness_rows(
            m.facts.names[t], of_scan(found, t)["counts"], labels, m.names, options.largest, m.facts.volume.voxel_um
        )
    ]
    m.store.write_table("thickness", pd.DataFrame(rows))


def _write_objects(
    m: Measured, visited: Mapping[str, Mapping[str, Array]], planes: Mapping[int, Array], progress: Progress
) -> list[PassResult]:
    """Write the tables of objects and voids."""
    import pandas as pd

    wanted = objects_wanted(m.settings)
    done: list[PassResult] = []
    frames, voids = [], []
    for name in wanted:
        value = find_label(m.names, name)
        found = visited[objects_step(m, value).name]
        done += number_objects(m, value, found, progress)
        shapes = measure_objects(m, value, planes)
        for t in m.facts.good:
            sums = {k.removeprefix("sum_"): v for k, v in of_scan(found, t).items() if k.startswith("sum_")}
            shape = of_scan(shapes, t)
            away = {key: shape[f"distance_{key}"] for key in ("label", "distance")} if t in planes else None
            columns = tables.object_columns(sums, areas_of(shape), away, m.facts.volume.shape, m.facts.volume.voxel_um)
            frames.append(tables.object_frame(m.facts.names[t], value, name, columns))
            voids.append(tables.void_row(m.facts.names[t], value, name, columns))
    if wanted:
        m.store.write_table("objects", pd.concat(frames, ignore_index=True))
        m.store.write_table("voids", pd.DataFrame(voids))
    return done

"""Charts as they are handed to plotly's script: what plotly's own classes would make of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from xct_pipeline.report.charts import figure, subplots
from xct_pipeline.report.plotly_json import plain, scatter, trace

PLACES: list[tuple[int, int, dict[str, Any]]] = [
    (1, 1, {}),
    (1, 3, {"subplot_titles": ("a", "b", "c"), "horizontal_spacing": 0.085}),
    (3, 1, {"row_heights": [0.2, 0.2, 0.6], "shared_xaxes": True, "vertical_spacing": 0.05}),
    (1, 3, {"column_widths": [0.6, 0.2, 0.2], "subplot_titles": ("a", "b", "c"), "shared_yaxes": True}),
    (2, 2, {"specs": [[{"colspan": 2}, None], [{}, {}]], "subplot_titles": ("a", "b", "c"), "vertical_spacing": 0.17}),
    (
        *(2, 2),
        {
            "specs": [[{"type": "scene", "rowspan": 2}, {"type": "xy"}], [None, {"type": "xy"}]],
            "column_widths": [0.58, 0.42],
            "row_heights": [0.5, 0.5],
            "horizontal_spacing": 0.1,
            "vertical_spacing": 0.16,
        },
    ),
]


@pytest.mark.parametrize(("rows", "columns", "places"), PLACES)
def test_axes_stand_where_plotly_puts_them(rows: int, columns: int, places: dict[str, Any]) -> None:
    own = subplots(rows, columns, 400, places).layout
    theirs = make_subplots(rows, columns, **places).to_plotly_json()["layout"]
    keys = [key for key in theirs if key.startswith(("xaxis", "yaxis", "scene"))]
    assert keys == [key for key in own if key.startswith(("xaxis", "yaxis", "scene"))]
    for key in keys:
        domains = theirs[key].pop("domain"), own[key]["domain"]
        for one, other in zip(*(d.values() if isinstance(d, dict) else [d] for d in domains), strict=True):
            assert list(one) == pytest.approx(list(other))
        assert {name: own[key][name] for name in theirs[key]} == theirs[key]
    for one, other in zip(own.get("annotations", []), theirs.get("annotations", []), strict=True):
        assert (one.pop("x"), one.pop("y")) == pytest.approx((other.pop("x"), other.pop("y")))
        assert one == other


def test_lines_go_through_axes_that_hold_something_as_those_of_plotly() -> None:
    places = {"shared_xaxes": True}
    own, theirs = subplots(3, 1, 400, places), make_subplots(3, 1, **places)
    line = {"color": "#000000", "dash": "dot", "width": 1}
    for chart, made in ((own, scatter(x=[1, 2], y=[3, 4])), (theirs, go.Scatter(x=[1, 2], y=[3, 4]))):
        chart.add_trace(made, 1, 1)
        chart.add_trace(made, 2, 1)
        chart.add_hline(2, line=line, row=2, col=1)
        chart.add_vrect(x0=1, x1=2, fillcolor="red", line={"width": 0})
    own.add_vline(1.5, line=line)
    theirs.add_vline(1.5, line=line)
    own.add_vline(1.5, line=line, note="a", row=1, col=1)
    note = {"text": "a", "font": {"size": 9}, "textangle": -90, "yanchor": "top"}
    theirs.add_vline(1.5, line=line, annotation=note, row=1, col=1)
    given = json.loads(theirs.to_json())["layout"]
    assert json.loads(own.to_json())["layout"]["shapes"] == given["shapes"]
    assert own.layout["annotations"] == given["annotations"]
    assert [made["xaxis"] for made in own.data] == ["x", "x2"]


def test_settings_go_to_the_axes_that_are_named() -> None:
    chart = subplots(2, 2, 400, {})
    chart.update_xaxes(title="all")
    chart.update_yaxes(title={"text": "one", "font": {"size": 9}}, row=2, col=1)
    chart.update_layout(margin={"l": 1})
    assert [chart.layout[f"xaxis{k}"]["title"] for k in ("", 2, 3, 4)] == [{"standoff": 8, "text": "all"}] * 4
    assert [chart.layout[f"yaxis{k}"]["title"].get("text") for k in ("", 2, 3, 4)] == [None, None, "one", None]
    assert chart.layout["margin"] == {"l": 1, "r": 20, "t": 30, "b": 55}
    single = figure()
    single.update_xaxes(type="category")
    single.add_trace(trace("bar", x=["a"], y=[1.0], error_y=None))
    single.add_hline(1, line={"width": 1})
    assert single.layout["xaxis"]["type"] == "category"
    assert single.data == [{"type": "bar", "x": ["a"], "y": [1.0]}]
    assert single.layout["shapes"][0]["xref"] == "x domain"


def test_numbers_are_packed_as_plotly_packs_them() -> None:
    rng = np.random.default_rng(0)
    given = [
        rng.random(5),
        rng.random((3, 4)).astype(np.float32),
        np.arange(3),
        np.array([5, 40_000]),
        np.array([1, 2], np.uint16),
        pd.Series([1.5, np.nan]),
        pd.Series(["a", "b"]),
        np.array([]),
    ]
    for values in given:
        wanted = json.loads(go.Figure(go.Heatmap(z=values) if np.ndim(values) == 2 else go.Scatter(x=values)).to_json())
        found = plain(values)
        theirs = wanted["data"][0]["z" if np.ndim(values) == 2 else "x"]
        assert json.loads(json.dumps(found)) == theirs
    assert plain([1.0, np.nan, np.float32(0.5), np.inf, None, pd.NA, np.int64(3), "a", True]) == [
        *(1.0, None, 0.5, None, None, None, 3, "a", True)
    ]

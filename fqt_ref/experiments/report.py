# SPDX-License-Identifier: Apache-2.0
"""What the store holds as tables and figures: PNG files, results.md, and one HTML page with everything in it (extra: plot)."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

from fqt_ref.experiments.description import DONE, FAILED, NO_DATA, Chart, Experiment, Record, Run, Table, key_of
from fqt_ref.experiments.findings import FINDINGS
from fqt_ref.experiments.runner import with_starts
from fqt_ref.experiments.status import duration
from fqt_ref.experiments.store import Store
from fqt_ref.files import make_folder, write
from fqt_ref.plot import require_matplotlib, write_picture

TITLE_WIDTH = 70  # characters of a line over a picture
STYLE = """body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; font-size: 13px; } th, td { border: 1px solid #ccc; padding: .2em .6em; text-align: left; }
img { max-width: 100%; } code { background: #eee; } .note { color: #555; }"""


class Section(NamedTuple):
    """An experiment as found. charts: file names; facts: where the runs come from, how long they took; reasons: why runs are missing."""

    experiment: Experiment
    tables: list[Table]
    charts: list[tuple[str, str]]
    facts: list[str]
    reasons: list[str]


def facts_of(experiment: Experiment, records: dict[str, Record]) -> tuple[list[str], list[str]]:
    """(facts, reasons) of a Section."""
    runs = with_starts(cell.run for cell in experiment.cells())
    found = [records[key] for key in runs if key in records]
    done = [record for record in found if record.status == DONE]
    facts = [f"{len(done)} of {len(runs)} runs done, {duration(sum(record.seconds for record in done))} of one core in all"]
    for title, values in (
        ("commits", {record.commit for record in done}),
        ("machines", {record.machine for record in done}),
        ("versions", {", ".join(f"{name} {value}" for name, value in record.versions.items()) for record in done}),
    ):
        if any(values):
            facts.append(f"{title}: {'; '.join(sorted(filter(None, values)))}")
    pairs = {(run.dataset, records[key].result.get("data")) for key, run in runs.items() if key in records and run.dataset}
    facts += sorted(f"data: {asked} was {loaded}" for asked, loaded in pairs if loaded not in (None, asked))
    reasons = {run.dataset: record.reason for key, run in runs.items() if (record := records.get(key)) and record.status == NO_DATA}
    lines = [f"data not found: {name}: {reason}" for name, reason in reasons.items()]
    lines += sorted({f"failed: {record.reason}" for record in found if record.status == FAILED})
    lines += sorted({f"not run: {text}" for run in runs.values() if (text := run.lacks())})
    return facts, lines


def draw(chart: Chart, path: Path) -> None:
    """A chart as a PNG. Raises FqtError."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, chart.height))
    try:
        chart.draw(axes)
        axes.set_title(fill(chart.title, TITLE_WIDTH), pad=24)
        figure.tight_layout()
        write_picture(figure, path, "-o", dpi=110)
    finally:
        pyplot.close(figure)


def section(experiment: Experiment, records: dict[str, Record], folder: Path) -> Section:
    """An experiment's tables and figures; these are drawn into the folder. Raises FqtError."""

    def found(run: Run) -> Record | None:
        return records.get(key_of(run))

    charts = []
    for chart in experiment.charts(found):
        name = f"{experiment.name}-{chart.name}.png"
        draw(chart, folder / name)
        charts.append((name, chart.title))
    return Section(experiment, experiment.tables(found), charts, *facts_of(experiment, records))


def markdown(sections: Sequence[Section]) -> str:
    """The sections as results.md."""
    lines = ["# Results", "", "Written by `fqt experiment report`; do not edit. What stands where a figure is missing says why.", ""]
    for one in sections:
        lines += [f"## {one.experiment.title}", "", f"`fqt experiment run {one.experiment.name}`", "", one.experiment.about, ""]
        for table in one.tables:
            lines += [f"*{table.title}*", "", "| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
            lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows] + [""]
        if one.experiment.name in FINDINGS:
            lines += [FINDINGS[one.experiment.name], ""]
        for name, title in one.charts:
            lines += [f"![{title}]({name})", ""]
        lines += [f"- {text}" for text in one.facts + one.reasons] + [""]
    return "\n".join(lines)


def html(sections: Sequence[Section], folder: Path) -> str:
    """The sections as one page; the pictures of the folder are in it."""
    links = " · ".join(f'<a href="#{one.experiment.name}">{escape(one.experiment.name)}</a>' for one in sections)
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>fqt: results</title><style>{STYLE}</style>"]
    parts.append(f"<h1>fqt: the paper's tables and figures, repeated</h1><p>{links}</p>")
    for one in sections:
        parts.append(f'<h2 id="{one.experiment.name}">{escape(one.experiment.title)}</h2>')
        parts.append(f"<p><code>fqt experiment run {one.experiment.name}</code></p><p class='note'>{escape(one.experiment.about)}</p>")
        for table in one.tables:
            head = "".join(f"<th>{escape(text)}</th>" for text in table.columns)
            body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows)
            parts.append(f"<p>{escape(table.title)}</p><table><tr>{head}</tr>{body}</table>")
        if one.experiment.name in FINDINGS:
            parts.append(f"<p>{escape(FINDINGS[one.experiment.name])}</p>")
        for name, title in one.charts:
            picture = base64.b64encode((folder / name).read_bytes()).decode()
            parts.append(f'<p><img alt="{escape(title)}" src="data:image/png;base64,{picture}"></p>')
        parts.append("<ul class='note'>" + "".join(f"<li>{escape(text)}</li>" for text in one.facts + one.reasons) + "</ul>")
    return "\n".join(parts) + "</html>\n"


def write_report(experiments: Sequence[Experiment], store: Store, folder: Path) -> list[Path]:
    """results.md, results.html and the PNG files into a folder; returns their paths. Raises FqtError."""
    require_matplotlib()
    make_folder(folder)
    records = store.all()
    sections = [section(experiment, records, folder) for experiment in experiments]
    texts = {"results.md": markdown(sections), "results.html": html(sections, folder)}
    for name, text in texts.items():
        write(folder / name, text)
    return [folder / name for name in (*texts, *(name for one in sections for name, _ in one.charts))]

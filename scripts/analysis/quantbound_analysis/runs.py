"""How a study was run: provenance of result files, and the scaling of one study over ranks. What is here may differ between
runs whose results are the same, bit for bit."""
import dataclasses
import pathlib

import numpy as np

from .figures import panels
from .observations import SERIES
from .result import ResultError, open_group, open_result
from .style import STYLE, log_axis, names_beside, plt, small_print


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a study, from the provenance of its file."""

    name: str
    study_hash: str
    ranks: int
    threads: int  # of each rank
    hosts: int
    seconds: float  # from start to end
    busy: float  # seconds of all tasks together
    tasks: int
    tasks_run: int  # less than `tasks` where the run continued another

    @property
    def busy_part(self):
        """Part of the time of all ranks that was spent in tasks."""
        return self.busy / (self.ranks * self.seconds)


def read_run(path):
    study_hash = open_result(path).attrs.get("study_hash", "")
    provenance = open_group(path, "provenance")
    try:
        return Run(pathlib.Path(path).stem, study_hash, int(provenance.attrs["ranks"]), int(provenance.threads.max()), len(set(provenance.host.values.tolist())),
                   float(provenance.attrs["elapsed"]), float(np.nansum(provenance.wall_time)), provenance.sizes["task"], int(provenance.attrs["tasks_run"]))
    except (KeyError, AttributeError, ValueError) as error:
        raise ResultError(f"the provenance of {path} does not say how it was run ({error})") from error


def comparable(runs):
    """Refuses what says nothing about scaling."""
    if any(run.study_hash != runs[0].study_hash for run in runs):
        other = next(run for run in runs if run.study_hash != runs[0].study_hash)
        raise ResultError(f"{runs[0].name} and {other.name} are results of different studies")
    for run in runs:
        if run.tasks_run < run.tasks:
            raise ResultError(f"{run.name} was continued with --resume ({run.tasks_run} of {run.tasks} tasks in the last run): its time is not that of the study")
    if len({run.ranks for run in runs}) < 2:
        raise ResultError("the files know one number of ranks only; give results of the same study run on another number each")


def median_of(values):
    return float(np.median(values))


def scaling(runs):
    """Time of one study, and parallel efficiency, against ranks: points for the runs, lines through their medians, a line per
    number of threads of a rank. `runs`: those of `read_run`, or paths."""
    runs = [run if isinstance(run, Run) else read_run(run) for run in runs]
    comparable(runs)
    with plt.rc_context(STYLE):
        fig, (top, bottom) = panels(2, 2.4)
        handles = []
        for (colour, marker, line), threads in zip(SERIES, sorted({run.threads for run in runs})):
            mine = sorted((run for run in runs if run.threads == threads), key=lambda run: run.ranks)
            ranks = np.array(sorted({run.ranks for run in mine}))
            median = np.array([median_of([run.seconds for run in mine if run.ranks == r]) for r in ranks])
            ideal = median[0] * ranks[0] / ranks
            look = dict(color=colour, marker=marker, markersize=4.5, markerfacecolor="white")
            top.plot(ranks, median, color=colour, linestyle=line, linewidth=1.2)
            top.plot([run.ranks for run in mine], [run.seconds for run in mine], **look, linestyle="")
            top.plot(ranks, ideal, color="#777777", linestyle=":", linewidth=0.9)
            bottom.plot(ranks, 100.0 * ideal / median, **look, linestyle=line, linewidth=1.2)
            bottom.plot([run.ranks for run in mine], [100.0 * run.busy_part for run in mine], color=colour, marker="x", markersize=4, linestyle="")
            record_runs(fig, top, bottom, mine, ranks, median, ideal)
            each = f"{threads} thread{'s' * (threads > 1)} per rank"
            handles.append(plt.Line2D([], [], **look, linestyle=line, linewidth=1.2, label=each))
        handles.append(plt.Line2D([], [], color="#777777", linestyle=":", linewidth=0.9, label="ideal"))
        handles.append(plt.Line2D([], [], color="#444444", marker="x", markersize=4, linestyle="", label="part of the ranks' time\nspent in tasks"))
        every = sorted({run.ranks for run in runs})
        for ax in (top, bottom):
            log_axis(ax, "x")
            ax.set_xticks(every, [str(r) for r in every])
            ax.xaxis.set_minor_locator(plt.NullLocator())
            ax.set_xlabel("MPI ranks")
        log_axis(top, "y")
        top.set_ylabel("time of the study (seconds)")
        top.set_title(f"{len(runs)} runs of {runs[0].tasks} tasks")
        bottom.set_ylabel("part of the ideal (%)")
        bottom.set_title("efficiency against the fewest ranks")
        bottom.set_ylim(0.0, max(105.0, bottom.get_ylim()[1]))
        names_beside(top, handles)
        small_print(fig, "points: runs; lines: medians")
    return fig


def record_runs(fig, top, bottom, runs, ranks, median, ideal):
    """A row per run; its point is in the upper panel."""
    at = {r: position for position, r in enumerate(ranks.tolist())}
    for run in runs:
        here = at[run.ranks]
        row = dict(file=run.name, ranks=run.ranks, threads=run.threads, hosts=run.hosts, tasks=run.tasks, seconds=run.seconds, median_seconds=median[here],
                   efficiency_percent=100.0 * ideal[here] / median[here], in_tasks_percent=100.0 * run.busy_part)
        fig.record(top, [run.ranks], [run.seconds], **row)

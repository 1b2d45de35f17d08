"""Reading and drawing quantbound's result files: `open_results` and one function per figure.

    import sys; sys.path.insert(0, "scripts/analysis")
    import quantbound_analysis as qa
    ds = qa.open_results("quickstart.h5")           # an xarray.Dataset with labels on every axis; many files are one too
    ds.gain.sel(theory="houache_mean", bits=8)      # pick by label
    figure = qa.gain_depth(ds)
    qa.save(figure, "gain.pdf")                     # or .svg, .png; .csv for the numbers
    figure.numbers()                                # the same as a pandas.DataFrame
"""
from .certificates import gap, read_trace, sandwich
from .figures import bound_comparison, bounds_bits, gain_depth
from .modules import rank_correlation
from .observations import accuracy_bits, error_shares
from .reconstructions import batch_size, loss_correlation, module_loss, pareto
from .result import ResultError, Selection, best_attacked, best_certified, by_method, choose_network, open_group, open_result, open_results, select
from .report import report
from .runs import Run, read_run, scaling
from .style import FORMATS, PAPER, PHONE, on_page, save
from .tables import accuracy_table, markdown_table, reconstruction_table

__all__ = ["FORMATS", "PAPER", "PHONE", "ResultError", "Run", "Selection", "accuracy_bits", "accuracy_table", "batch_size", "best_attacked",
           "best_certified", "bound_comparison", "bounds_bits", "by_method", "choose_network", "error_shares", "gain_depth",
           "gap", "loss_correlation", "markdown_table", "module_loss", "on_page", "open_group", "open_result", "open_results",
           "pareto", "rank_correlation", "read_run", "read_trace", "reconstruction_table", "report", "sandwich", "save",
           "scaling", "select"]

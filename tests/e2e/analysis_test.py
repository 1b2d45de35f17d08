"""scripts/analysis on made-up result files: what is opened, what is picked, what the figures draw."""
import csv
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import unittest

ANALYSIS = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "analysis"
sys.path[:0] = [str(ANALYSIS), str(pathlib.Path(__file__).parent)]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import quantbound_analysis as qa  # noqa: E402
import result_fixture as fixture  # noqa: E402
import xarray as xr  # noqa: E402
from quantbound_analysis import figures, modules, observations, reconstructions, style  # noqa: E402


class WithFiles(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def result(self, **options):
        return qa.open_result(fixture.write_result(self.path("result.h5"), **options))


class OpenResult(WithFiles):
    def test_attaches_what_describes_networks_and_layers(self):
        ds = self.result()
        self.assertEqual(int(ds.network_depth.sel(network="digits_mlp_9")), 9)
        self.assertIn("layer_network", ds.coords)

    def test_refuses_a_missing_file_and_a_file_that_is_no_result(self):
        self.path("text.h5").write_text("no HDF5")
        with self.assertRaisesRegex(qa.ResultError, "no such file"):
            qa.open_result(self.path("nothing.h5"))
        with self.assertRaisesRegex(qa.ResultError, "not a quantbound result"):
            qa.open_result(self.path("text.h5"))


class OpenResults(WithFiles):
    """Two files with other networks and partly other labels, or with the same networks."""

    def write(self, name, **options):
        return fixture.write_result(self.path(name), **options)

    def test_networks_of_several_files_stand_one_after_the_other(self):
        first, second = self.write("a.h5", certified="certified"), self.write("b.h5", networks=fixture.family("mlp", [5, 20], [16], 2), certified="certified")
        a, b, both = qa.open_result(first), qa.open_result(second), qa.open_results([first, second])
        self.assertEqual(both.network.values.tolist(), [*a.network.values, *b.network.values])
        for name in ("log10_bound", "certified", "error_share", "status"):
            np.testing.assert_array_equal(both[name].values, np.concatenate([a[name].values, b[name].values]), err_msg=name)
            self.assertEqual(both[name].dtype, a[name].dtype)
        self.assertEqual(both.region.values.tolist(), list(range(16)))
        name = b.network.values[1]
        np.testing.assert_array_equal(qa.best_certified(both, name), qa.best_certified(b, name))
        np.testing.assert_array_equal(both.layer_name[both.layer_network == name], b.layer_name[b.layer_network == name])
        self.assertEqual(both.attrs["title"], "made up for tests")

    def test_labels_are_joined_and_what_a_file_has_not_is_nothing(self):
        first, second = self.write("a.h5"), self.write("b.h5", networks=fixture.family("mlp", [5], [16], 2), certified="certified")
        with h5py.File(second, "a") as file:
            file["quantizer"][...] = ["round", "nearest"]
            file["bits"][...] = [2, 3, 4, 5, 6, 7, 16]
        a, b, both = qa.open_result(first), qa.open_result(second), qa.open_results([first, second])
        self.assertEqual(both.quantizer.values.tolist(), ["floor", "round", "nearest"])
        self.assertEqual(both.bits.values.tolist(), [2, 3, 4, 5, 6, 7, 8, 16])
        old, new = a.network.values[0], b.network.values[0]
        np.testing.assert_array_equal(both.gain.sel(network=new, quantizer="round", bits=16), b.gain.sel(network=new, quantizer="round", bits=16))
        self.assertTrue(both.gain.sel(network=old, bits=16).isnull().all() and both.gain.sel(network=new, quantizer="floor").isnull().all())
        self.assertEqual(int(both.status.sel(network=old, bits=16).max()), 4, "skipped")
        self.assertIsNone(qa.best_certified(both, old), "the first file has no certificates")
        np.testing.assert_array_equal(qa.best_certified(both, new).sel(quantizer="nearest", bits=16), qa.best_certified(b, new).sel(quantizer="nearest", bits=16))
        self.assertTrue(qa.gain_depth(both).axes)

    def test_files_of_the_same_networks_have_an_axis_of_their_own(self):
        paths = [self.write("short.h5"), self.write("long.h5", observed="none")]
        both = qa.open_results(paths)
        self.assertEqual(both.file.values.tolist(), ["short", "long"])
        for path, name in zip(paths, ("short", "long")):
            np.testing.assert_array_equal(both.log10_bound.sel(file=name), qa.open_result(path).log10_bound)
        np.testing.assert_array_equal(both.observed_max.sel(file="short"), qa.open_result(paths[0]).observed_max)
        self.assertTrue(both.observed_max.sel(file="long").isnull().all())
        self.assertEqual(qa.open_results(paths[:1], along="file").file.values.tolist(), ["short"])

    def test_what_cannot_be_joined_is_refused_with_the_reason(self):
        a, b = self.write("a.h5"), self.write("b.h5", networks=fixture.DIGITS[:2])
        with self.assertRaisesRegex(qa.ResultError, "several files have the network digits_mlp_5"):
            qa.open_results([a, b], along="network")
        with self.assertRaisesRegex(qa.ResultError, "a and b have some networks in common, not all"):
            qa.open_results([a, b])
        with self.assertRaisesRegex(qa.ResultError, "the same file is given twice"):
            qa.open_results([a, a])
        with self.assertRaisesRegex(qa.ResultError, "no result file"):
            qa.open_results([])

    def test_one_file_is_itself(self):
        path = self.write("a.h5")
        self.assertTrue(qa.open_results(path).identical(qa.open_result(path)))


class Select(WithFiles):
    def test_takes_round_channel_and_most_bits_by_default(self):
        _, chosen = qa.select(self.result(), qa.Selection(), ("quantizer", "granularity", "bits"))
        self.assertEqual(chosen, {"quantizer": "round", "granularity": "channel", "bits": 8})

    def test_an_unknown_label_names_those_there_are(self):
        with self.assertRaisesRegex(qa.ResultError, "no quantizer 'gptq'.*floor, round"):
            qa.select(self.result(), qa.Selection(quantizer="gptq"), ("quantizer",))

    def test_the_deepest_network_is_the_default(self):
        self.assertEqual(qa.choose_network(self.result()), "digits_mlp_11")


class Spread(unittest.TestCase):
    def test_keeps_what_is_far_apart_and_the_order_of_the_rest(self):
        placed = style.spread(np.array([5.0, 1.0, 1.1, 1.05]), 0.5)
        np.testing.assert_allclose(placed, [5.0, 0.55, 1.55, 1.05])

    def test_names_stay_beside_their_axes_where_all_have_room(self):
        placed = style.spread(np.array([0.98, 1.0, 0.99, 0.01]), 0.1, 0.0, 1.0)
        np.testing.assert_allclose(placed, [0.8, 1.0, 0.9, 0.01])
        np.testing.assert_allclose(style.spread(np.zeros(3), 1.0, 0.0, 1.0), [-1.0, 0.0, 1.0])

    def test_no_two_names_are_closer_than_a_line(self):
        positions = np.random.default_rng(1).uniform(size=40)
        placed = np.sort(style.spread(positions, 0.05))
        self.assertGreater(np.diff(placed).min(), 0.05 - 1e-12)


class Ticks(unittest.TestCase):
    def test_a_logarithmic_axis_has_numbers_wherever_less_than_a_decade_lies(self):
        for low, high in ((8.9, 12.4), (11.0, 19.0), (55.0, 112.0), (3.7, 7.4), (10.0, 40.0), (0.93, 1.004), (1100.0, 1900.0), (4.0, 70.0)):
            fig, ax = style.plt.subplots()
            self.addCleanup(style.plt.close, fig)
            ax.plot([low, high], [low, high])
            style.log_axis(ax, "y")
            fig.canvas.draw()
            bottom, top = ax.get_ylim()
            labelled = [label.get_text() for tick, label in zip(ax.get_yticks(), ax.get_yticklabels()) if bottom <= tick <= top]
            self.assertGreaterEqual(len(set(labelled) - {""}), 3, (low, high, labelled))
            self.assertEqual(len(set(labelled)), len(labelled), "every tick has a number of its own")

    def test_labels_without_room_are_left_out_and_the_last_is_kept(self):
        self.assertEqual(style.with_room([0.0, 1.0, 1.2, 2.0], [0.3] * 4), [0, 1, 3])
        self.assertEqual(style.with_room([0.0, 1.0, 1.9, 2.0], [0.3] * 4), [0, 1, 3])
        self.assertEqual(style.with_room([5.0], [0.3]), [0])


class WordsInBand(unittest.TestCase):
    def drawn(self, *others):
        fig, (ax,) = figures.panels(1, 3.0)
        x = np.arange(2.0, 9.0)
        ax.plot(x, 0.0 * x), ax.plot(x, 0.0 * x + 10.0)
        for other in others:
            ax.plot(x, 0.0 * x + other)
        placed = style.words_in_band(ax, "a factor of 10", (x, 0.0 * x + 10.0, 0.0 * x), "#DDDDDD")
        return ax, placed

    def test_stand_in_the_middle_where_nothing_is(self):
        ax, placed = self.drawn()
        self.assertTrue(placed)
        np.testing.assert_allclose(ax.texts[0].get_position(), (5.0, 5.0), atol=1e-6)

    def test_cover_no_line(self):
        ax, placed = self.drawn(5.0)
        self.assertTrue(placed)
        box = ax.texts[0].get_window_extent().transformed(ax.transData.inverted())
        self.assertFalse(box.y0 <= 5.0 <= box.y1)
        self.assertTrue(0.0 < box.y0 and box.y1 < 10.0)

    def test_are_left_out_without_room(self):
        ax, placed = self.drawn(*np.arange(0.5, 10.0, 0.5))
        self.assertFalse(placed)
        self.assertEqual(len(ax.texts), 0)


def is_number(text):
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def lines(ax):
    """What was plotted in data coordinates, longest lines only (names have short leader lines)."""
    return [line for line in ax.get_lines() if line.get_transform() == ax.transData]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


class GainDepth(WithFiles):
    def test_statistics_are_median_and_range_of_each_depth(self):
        gain, depth = np.array([1.0, 5.0, 3.0, 7.0, np.nan]), np.array([5, 5, 5, 9, 9])
        depths, median, low, high = figures.depth_statistics(gain, depth)
        np.testing.assert_array_equal([depths, median, low, high], [[5, 9], [3, 7], [1, 7], [5, 7]])

    def test_draws_the_gain_of_every_theory_that_applies_and_names_it(self):
        ds = self.result()
        figure = qa.gain_depth(ds, qa.Selection("floor", "tensor", 4))
        drawn = [line for line in lines(figure.axes[0]) if len(line.get_ydata()) == 4]
        wanted = ds.gain.sel(quantizer="floor", granularity="tensor", bits=4, theory="houache_mean").squeeze()
        self.assertEqual(len(drawn), 7)
        self.assertTrue(any(np.array_equal(line.get_ydata(), wanted) for line in drawn))
        self.assertIn("Houache et al., Thm 4.1", texts(figure))
        self.assertNotIn("Houache et al., Thm 4.4", texts(figure))

    def test_one_panel_per_family(self):
        networks = fixture.DIGITS + fixture.family("mlp", [5, 20], [16, 64], 3)
        figure = qa.gain_depth(self.result(networks=networks))
        self.assertEqual([ax.get_title(loc="left") for ax in figure.axes],
                         ["4 networks from files, round, one step per channel, 8 bits", "12 synthetic networks (mlp), round, one step per channel, 8 bits"])

    def test_families_are_named_in_plain_words(self):
        for family, count, words in (("dense file", 4, "4 dense networks from files"), ("convolutional file", 1, "1 convolutional network from a file"),
                                     ("mlp", 500, "500 synthetic networks (mlp)"), ("mlp", 1, "1 synthetic network (mlp)"), ("", 2, "2 networks from files")):
            self.assertEqual(figures.networks_in_words(family, count), words)

    def test_a_family_without_a_value_has_no_panel_and_is_named_below(self):
        path = fixture.write_result(self.path("result.h5"), networks=fixture.DIGITS + fixture.family("mlp", [5, 20], [16], 1))
        with h5py.File(path, "a") as file:
            file["gain"][4:] = np.nan
        figure = qa.gain_depth(qa.open_result(path))
        self.assertEqual(len(figure.axes), 1)
        self.assertIn("without a value here: 2 synthetic networks (mlp)", figure.small)

    def test_published_formulas_are_another_variable(self):
        figure = qa.gain_depth(self.result(), variable="gain_formula")
        self.assertIn("Houache et al., Thm 4.4", texts(figure))

    def test_says_so_when_nothing_applies(self):
        with self.assertRaisesRegex(qa.ResultError, "no theory has a gain"):
            qa.gain_depth(self.result(applicable="none"))


class BoundsBits(WithFiles):
    def test_observed_lies_below_the_shade_and_the_bounds_above(self):
        figure = qa.bounds_bits(self.result(), "digits_mlp_7", qa.Selection("round", "tensor"))
        ax = figure.axes[0]
        by_width = sorted((line for line in lines(ax) if len(line.get_ydata()) == 7), key=lambda line: line.get_linewidth())
        largest, shade = by_width[-1].get_ydata(), ax.collections[0].get_paths()[0].vertices[:, 1]
        self.assertEqual(len(by_width), 8 + 2)
        self.assertAlmostEqual(shade.min(), min(largest))
        self.assertEqual(sum(np.all(line.get_ydata() > largest) for line in by_width), 8)
        self.assertTrue({"Gonon et al.", "largest observed", "mean observed"} <= set(texts(figure)))
        self.assertIn("assumptions not met: Houache et al., Thm 4.4", figure.texts[-1].get_text())

    def test_a_file_without_observations_gives_the_bounds_alone(self):
        figure = qa.bounds_bits(self.result(observed="none"))
        self.assertEqual(len(figure.axes[0].collections), 0)
        self.assertNotIn("largest observed", texts(figure))

    def test_says_so_when_no_bound_applies(self):
        with self.assertRaisesRegex(qa.ResultError, "no bound of digits_mlp_11"):
            qa.bounds_bits(self.result(applicable="none"))


class Certificates(WithFiles):
    def test_the_best_certificate_is_the_tightest_in_every_region_and_of_these_the_largest(self):
        ds = self.result(certified="certified")
        best = qa.best_certified(ds, "digits_mlp_7")
        second = ds.certified.isel(region=3)
        np.testing.assert_array_equal(best, second.sel({"method": "difference_interval"}))
        each = qa.by_method(ds, "digits_mlp_7")
        self.assertTrue(each.sel({"method": "star"}).isnull().all(), "what holds in one region only proves nothing of the network")
        np.testing.assert_array_equal(qa.best_attacked(ds, "digits_mlp_7"), ds.attacked.isel(region=3))

    def test_a_file_without_certificates_has_none(self):
        self.assertIsNone(qa.best_certified(self.result(), "digits_mlp_7"))
        with self.assertRaisesRegex(qa.ResultError, "no certificates of digits_mlp_7"):
            qa.sandwich(self.result(), "digits_mlp_7")

    def test_the_sandwich_is_in_order_and_its_bands_lie_between(self):
        figure = qa.sandwich(self.result(certified="certified"), "digits_mlp_7", qa.Selection("round", "tensor"))
        drawn = [line.get_ydata() for line in lines(figure.axes[0]) if len(line.get_ydata()) == 7]
        self.assertEqual(len(drawn), 4)
        theory, certified, attacked, observed = drawn
        np.testing.assert_allclose(theory - certified, 1.0)
        np.testing.assert_allclose(certified - attacked, 2.0)
        light, dark = (band.get_paths()[0].vertices[:, 1] for band in figure.axes[0].collections)
        self.assertAlmostEqual(light.max(), theory.max())
        self.assertAlmostEqual(light.min(), certified.min())
        self.assertAlmostEqual(dark.max(), certified.max())
        self.assertAlmostEqual(dark.min(), np.maximum(attacked, observed).min())
        self.assertTrue({"tightest theory", "certified", "attacked", "largest observed"} <= set(texts(figure)))

    def test_methods_are_lines_of_their_own_when_asked_for(self):
        ds = self.result(certified="certified")
        figure = qa.sandwich(ds, "digits_mlp_7", methods=True)
        self.assertTrue({"both apart, intervals", "difference, intervals"} <= set(texts(figure)))
        self.assertNotIn("stars", texts(figure))
        self.assertNotIn("difference, intervals", texts(qa.sandwich(ds, "digits_mlp_7")))

    def test_without_samples_the_sandwich_ends_at_the_attack(self):
        figure = qa.sandwich(self.result(certified="certified", observed="none"), "digits_mlp_7")
        self.assertNotIn("largest observed", texts(figure))
        self.assertIn("attacked", texts(figure))

    def test_all_bounds_have_the_certificate_among_them(self):
        figure = qa.bounds_bits(self.result(certified="certified"), "digits_mlp_7", qa.Selection("round", "tensor"))
        ax = figure.axes[0]
        wanted = np.log10(qa.best_certified(self.result(certified="certified").sel(quantizer="round", granularity="tensor"), "digits_mlp_7")).squeeze()
        self.assertTrue(any(np.array_equal(line.get_ydata(), wanted) for line in lines(ax)))
        shade = ax.collections[0].get_paths()[0].vertices[:, 1]
        self.assertAlmostEqual(shade.max(), float(wanted.max()), msg="the gap begins at what was proved best")


class Trace(WithFiles):
    def write(self, text):
        self.path("trace.csv").write_text(text)
        return self.path("trace.csv")

    def test_draws_both_bounds_from_the_moment_each_is_known(self):
        trace = qa.read_trace(self.write("seconds,boxes,upper,lower,open\n0,1,inf,0,1\n0.5,10,4,0,3\n1,100,2,1,7\n2,300,1.5,1.25,2\n"))
        figure = qa.gap(trace, "trace")
        upper, lower = (line.get_ydata() for line in lines(figure.axes[0]))
        np.testing.assert_array_equal(upper, [np.nan, 4, 2, 1.5])
        np.testing.assert_array_equal(lower, [np.nan, np.nan, 1, 1.25])
        self.assertIn("300 pieces in 2 s, upper 1.5 = 1.2 x attained", figure.axes[0].get_title(loc="left"))

    def test_a_trace_of_one_row_is_seen(self):
        figure = qa.gap(qa.read_trace(self.write("seconds,boxes,upper,lower,open\n0.0048,301,1.0,0.9,151\n")), "trace")
        for line in lines(figure.axes[0]):
            self.assertEqual(line.get_marker(), "o")
            self.assertLess(line.get_xdata()[0], figure.axes[0].get_xlim()[1])

    def test_what_is_no_trace_is_refused(self):
        with self.assertRaisesRegex(qa.ResultError, "no such file"):
            qa.read_trace(self.path("none.csv"))
        for text in ("", "seconds,boxes,upper,lower,open\n", "a,b\n1,2\n", "seconds,boxes,upper,lower,open\n0,1,many,0,1\n", "seconds,boxes,upper,lower,open\n0,1\n"):
            with self.assertRaisesRegex(qa.ResultError, "not a trace"):
                qa.read_trace(self.write(text))
        with self.assertRaisesRegex(qa.ResultError, "nothing finite"):
            qa.gap(qa.read_trace(self.write("seconds,boxes,upper,lower,open\n0,1,inf,0,1\n")), "trace")


class AccuracyBits(WithFiles):
    def test_draws_a_line_per_quantizer_and_granularity_and_the_float_accuracy(self):
        figure = qa.accuracy_bits(self.result(), "digits_mlp_7")
        left, right = figure.axes
        drawn = [line for line in lines(left) if len(line.get_xdata()) == len(fixture.BITS)]
        self.assertEqual(len(drawn), 4)
        np.testing.assert_allclose(drawn[0].get_ydata(), 90 - 80 / 2.0 ** (np.array(fixture.BITS) - 2))
        reference = [line for line in left.get_lines() if line not in drawn]
        np.testing.assert_allclose(reference[0].get_ydata(), [90, 90])
        observed = [line for line in lines(right) if line.get_marker() not in ("", "None", None)]
        self.assertEqual(len(observed), 4)
        self.assertIn("tightest theory (range)", texts(figure))

    def test_more_series_than_looks_are_told_apart(self):
        ds = self.result()
        many = xr.concat([ds.assign_coords(quantizer=names) for names in (["round", "floor"], ["truncate", "stochastic"])], "quantizer")
        looks = [tuple(map(str, look)) for _, look in observations.series_of(many)]
        self.assertEqual((len(looks), len(set(looks))), (8, 8))

    def test_bars_of_several_series_stand_side_by_side(self):
        left = qa.accuracy_bits(self.result(networks=fixture.family("mlp", [5, 10], [16, 32], 2))).axes[0]
        bars = [bar.get_segments()[0][0][0] for bar in left.collections]
        self.assertEqual((len(bars), len(set(bars))), (4, 4))
        self.assertLess(np.ptp(bars), 0.5)

    def test_draws_all_networks_that_were_given_labelled_images(self):
        self.assertEqual(len(qa.accuracy_bits(self.result()).axes), 6)
        np.testing.assert_allclose(lines(qa.accuracy_bits(self.result(), "digits_mlp_7", "accuracy_top5").axes[0])[0].get_ydata()[-1], 93.75)

    def test_says_what_is_missing(self):
        with self.assertRaisesRegex(qa.ResultError, "no accuracy of digits_mlp_5; it has that of digits_mlp_7"):
            qa.accuracy_bits(self.result(), "digits_mlp_5")
        with self.assertRaisesRegex(qa.ResultError, "no labelled samples"):
            qa.accuracy_bits(self.result(observed="none"))

    def test_of_many_networks_shows_the_median_and_the_range(self):
        ds = self.result(networks=fixture.family("mlp", [5, 10], [16, 32], 2))
        figure = qa.accuracy_bits(ds)
        self.assertEqual(len(figure.axes), 2)
        self.assertIn("7 networks", figure.axes[0].get_title(loc="left"))  # the first has no labelled images
        numbers = figure.numbers().query("quantity == 'log10 of the largest deviation observed' and quantizer == 'round' and granularity == 'tensor'")
        values = np.log10(ds.observed_max.sel(quantizer="round", granularity="tensor").max("samples").isel(network=slice(1, None), seed=0))
        for column, reduced in (("value", values.median("network")), ("smallest", values.min("network")), ("largest", values.max("network"))):
            np.testing.assert_allclose(numbers[column], reduced, err_msg=column)

    def test_table_has_a_row_per_network_quantizer_and_granularity(self):
        table = qa.accuracy_table(self.result()).splitlines()
        self.assertEqual(len([line for line in table if line.startswith("| digits")]), 3 * 4)
        self.assertIn("| digits_mlp_7 | digits | floor | tensor | 90.0 / 95.0 | 88.8 / 93.8 |", "\n".join(table))
        self.assertIn("64 of uniform, 360 of digits", table[-1])


class ErrorShares(WithFiles):
    def test_shows_the_share_of_every_layer_in_percent(self):
        figure = qa.error_shares(self.result(), "digits_mlp_5")
        image = figure.axes[0].get_images()[0].get_array()
        self.assertEqual(image.shape, (5, len(fixture.BITS)))
        np.testing.assert_allclose(image, 20.0)

    def test_takes_a_network_that_has_them_and_says_where_one_has_not(self):
        self.assertIn("digits_mlp_5", qa.error_shares(self.result()).axes[0].get_title(loc="left"))
        with self.assertRaisesRegex(qa.ResultError, "no error_share of digits_mlp_11"):
            qa.error_shares(self.result(), "digits_mlp_11")
        with self.assertRaisesRegex(qa.ResultError, "layer_samples"):
            qa.error_shares(self.result(observed="none"))


class BoundComparison(WithFiles):
    def test_a_few_networks_have_a_row_each(self):
        ds = self.result()
        figure = qa.bound_comparison(ds, selection=qa.Selection("floor", "tensor", 3))
        self.assertEqual([label.get_text() for label in figure.axes[0].get_yticklabels()], ds.network.values.tolist())
        at = ds.sel(quantizer="floor", granularity="tensor", bits=3).isel(seed=0)
        for line, name in zip(lines(figure.axes[0]), ("r_max", "r_mean", "r_conv")):
            np.testing.assert_array_equal(line.get_xdata(), at[name])
            found = figure.numbers().query(f"measure == '{name}'")
            np.testing.assert_array_equal(found.value, at[name])
            self.assertEqual(found.network.tolist(), ds.network.values.tolist())

    def test_many_networks_are_points_under_the_line_of_the_largest(self):
        ds = self.result(networks=fixture.family("mlp", [5, 10, 20, 30, 40], [16, 32, 64, 128, 256], 20))
        figure = qa.bound_comparison(ds)
        means, without, line = lines(figure.axes[0])
        self.assertEqual(len(means.get_xdata()), 500)
        self.assertTrue((means.get_ydata() < means.get_xdata()).all() and (without.get_ydata() < means.get_ydata()).all())
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())

    def test_one_network_can_be_named(self):
        self.assertEqual(len(qa.bound_comparison(self.result(), "digits_mlp_7").numbers()), 3)
        self.assertEqual(len(qa.bound_comparison(self.result(networks=fixture.DIGITS[:1])).numbers()), 3)


class Scaling(WithFiles):
    def run_on(self, ranks, seconds, threads=1, name=None, **options):
        return fixture.write_result(self.path(f"{name or ranks}.h5"), run={"ranks": ranks, "threads": threads, "seconds": seconds}, **options)

    def test_efficiency_is_against_the_fewest_ranks(self):
        paths = [self.run_on(4, 25), self.run_on(1, 80), self.run_on(2, 50)]
        figure = qa.scaling(paths)
        numbers = figure.numbers()
        self.assertEqual(numbers.ranks.tolist(), [1, 2, 4])
        self.assertEqual(numbers.seconds.tolist(), [80, 50, 25])
        np.testing.assert_allclose(numbers.efficiency_percent, [100, 80, 80])
        np.testing.assert_allclose(numbers.in_tasks_percent, [100 * 50 / 80, 100 * 50 / 100, 100 * 50 / 100])
        np.testing.assert_allclose(lines(figure.axes[1])[0].get_ydata(), [100, 80, 80])

    def test_runs_of_equal_ranks_are_points_and_their_median_the_line(self):
        paths = [self.run_on(1, 100), self.run_on(2, 50, name="a"), self.run_on(2, 70, name="b"), self.run_on(2, 52, name="c"), self.run_on(1, 40, threads=4, name="d")]
        figure = qa.scaling(paths)
        self.assertEqual(lines(figure.axes[0])[0].get_ydata().tolist(), [100, 52])
        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        self.assertEqual(legend, ["1 thread per rank", "4 threads per rank", "ideal", "part of the ranks' time\nspent in tasks"])

    def test_refuses_what_says_nothing_about_scaling(self):
        first = self.run_on(1, 60)
        for other, message in ((self.run_on(1, 70, name="again"), "one number of ranks"), (self.run_on(2, 30, name="other", study="another"), "different studies"),
                               (fixture.write_result(self.path("resumed.h5"), run={"ranks": 2, "tasks_run": 1}), r"resumed was continued with --resume \(1 of 3 tasks")):
            with self.assertRaisesRegex(qa.ResultError, message):
                qa.scaling([first, other])
        with h5py.File(self.run_on(2, 30, name="mute"), "a") as file:
            del file["provenance"].attrs["ranks"]
        with self.assertRaisesRegex(qa.ResultError, "does not say how it was run"):
            qa.scaling([first, self.path("mute.h5")])


class WithModules(WithFiles):
    def reconstructed(self, name="reconstructed.h5", **options):
        return qa.open_result(fixture.write_reconstruction(self.path(name), **options))


class ModuleLoss(WithModules):
    def test_draws_the_loss_of_every_module_at_its_last_layer(self):
        ds = self.reconstructed(methods=["gptq", "brecq"])
        by_layers, by_blocks = (line for line in lines(qa.module_loss(ds).axes[0]))
        np.testing.assert_array_equal(by_layers.get_xdata(), range(1, 21))
        np.testing.assert_array_equal(by_blocks.get_xdata(), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20])
        wanted = ds.module_loss.sel(quantizer="brecq", granularity="channel", bits=2, seed=1)[ds.module_kind == "block"]
        np.testing.assert_array_equal(by_blocks.get_ydata(), wanted)

    def test_what_was_joined_is_level_and_marked_once(self):
        ds = self.reconstructed(methods=["mrecg"])
        thick, line = sorted(lines(qa.module_loss(ds).axes[0]), key=lambda found: -found.get_linewidth())
        np.testing.assert_array_equal(thick.get_xdata(), [2, 5])
        x, y, marked = line.get_xdata(), line.get_ydata(), line.get_markevery()
        self.assertEqual(y[list(x).index(2)], y[list(x).index(5)])
        np.testing.assert_array_equal(x[marked], [1, 5, 7, 9, 11, 13, 15, 17, 19, 20])

    def test_the_legend_has_the_oscillation_of_every_method(self):
        ds = self.reconstructed()
        legend = [text.get_text() for text in qa.module_loss(ds, selection=qa.Selection(bits=4, seed=3)).axes[0].get_legend().get_texts()]
        at = ds.isel(network=0).sel(quantizer="brecq", granularity="channel", bits=4, seed=3)
        wanted = [f"{float(value):.3g}" for value in (at.oscillation_max, at.oscillation_total)]
        self.assertEqual(len(legend), 8)
        self.assertIn("BRECQ\n" + " / ".join(wanted), legend)

    def test_inner_modules_are_all_but_the_first_and_the_last_layer(self):
        ds = self.reconstructed(methods=["brecq"])
        figure = qa.module_loss(ds, inner=True)
        (line,) = lines(figure.axes[0])
        np.testing.assert_array_equal(line.get_xdata(), [3, 5, 7, 9, 11, 13, 15, 17, 19])
        steps = np.abs(np.diff(line.get_ydata()))
        self.assertEqual(figure.axes[0].get_legend().get_texts()[0].get_text(), f"BRECQ\n{steps.max():.3g} / {steps.sum():.3g}")
        joined = self.reconstructed("joined.h5", methods=["brecq"], runs=[2, *[1] * 9])  # the first layer is not alone
        (line,) = (line for line in lines(qa.module_loss(joined, inner=True).axes[0]) if line.get_marker() == "o")
        np.testing.assert_array_equal(line.get_xdata(), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])

    def test_capacity_lies_below(self):
        ds = self.reconstructed()
        bars = [bar.get_height() for bar in qa.module_loss(ds).axes[1].patches]
        np.testing.assert_allclose(bars, ds.module_capacity.sel(quantizer="brecq", granularity="channel", bits=2, seed=1)[ds.module_kind == "block"])

    def test_says_what_is_missing(self):
        with self.assertRaisesRegex(qa.ResultError, "no module_loss: its study names no reconstruction method"):
            qa.module_loss(self.result())
        with self.assertRaisesRegex(qa.ResultError, "no seed '7'.*1, 2, 3"):
            qa.module_loss(self.reconstructed(), selection=qa.Selection(seed=7))


class RankCorrelation(unittest.TestCase):
    IQ, HOURS = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]

    def test_is_that_of_the_program(self):
        """The examples of tests/unit/reconstruct/correlation_test.cpp."""
        self.assertAlmostEqual(qa.rank_correlation(self.IQ, self.HOURS).rho, -29 / 165, 14)
        self.assertAlmostEqual(qa.rank_correlation([1, 2, 2, 3, 5, 5], [2, 1, 4, 4, 6, 5]).rho, 0.8508410434878082, 13)
        found = qa.rank_correlation(self.IQ, self.HOURS, 0.95)
        half = 1.959963984540054 * np.sqrt((1 + found.rho**2 / 2) / 7)
        np.testing.assert_allclose(np.arctanh([found.low, found.high]), np.arctanh(found.rho) + np.array([-half, half]), rtol=1e-12)

    def test_of_monotone_relations_is_one_and_of_too_little_nothing(self):
        found = qa.rank_correlation([-3, 0.5, 2, 8, 9], [0, 1, 10, 11, 1e9])
        self.assertEqual((found.rho, found.low, found.high), (1.0, 1.0, 1.0))
        self.assertIsNone(qa.rank_correlation([1, 2, 3], [1, 2, 3]))
        self.assertIsNone(qa.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]))


class LossCorrelation(WithModules):
    def schemes(self, count):
        """Results of one method with other runs of modules each; the first three joined ones end later and later."""
        return [self.reconstructed(f"{n}.h5", methods=["brecq"], bits=[2], seeds=[2], wave=0.01 * n,
                                   runs=[1 + n % 8, *[1] * (10 - n % 8)]) for n in range(count)]

    def test_a_point_is_the_largest_earlier_loss_and_the_last(self):
        ds = self.reconstructed(methods=["brecq"], bits=[3], seeds=[1, 2, 3, 4])
        (points,) = lines(qa.loss_correlation(ds).axes[0])
        loss = ds.module_loss.squeeze()[ds.module_kind == "block"]
        np.testing.assert_allclose(np.sort(points.get_xdata()), np.sort(loss[:-1].max("module")))
        np.testing.assert_allclose(np.sort(points.get_ydata()), np.sort(loss[-1]))
        self.assertRegex(qa.loss_correlation(ds).axes[0].get_legend().get_texts()[0].get_text(), r"BRECQ\n1.00 \(1.00 to 1.00\), 4")

    def test_files_are_schemes_and_equal_ones_count_once(self):
        schemes = self.schemes(12)
        (points,) = lines(qa.loss_correlation(schemes + schemes[:5]).axes[0])
        self.assertEqual(len(points.get_xdata()), 12)

    def test_where_joined_modules_are_the_last_the_earlier_ones_are_those_before(self):
        ds = self.reconstructed(methods=["brecq"], bits=[2], seeds=[1, 2, 3, 4], runs=[1] * 7 + [4])
        (points,) = lines(qa.loss_correlation(ds).axes[0])
        self.assertTrue((points.get_xdata() < points.get_ydata()).all())
        np.testing.assert_allclose(np.sort(points.get_xdata()), np.sort(ds.module_loss.squeeze()[ds.module_kind == "block"][6]))

    def test_schemes_that_join_the_last_module_are_points_of_their_own(self):
        alone = [self.reconstructed(f"alone{n}.h5", methods=["brecq"], bits=[2], wave=0.1 * n) for n in range(4)]
        joined = [self.reconstructed(f"joined{n}.h5", methods=["brecq"], bits=[2], wave=0.1 * n, runs=[1] * 8 + [3]) for n in range(4)]
        axes = qa.loss_correlation(alone + joined).axes[0]
        names = [text.get_text().split("\n")[0] for text in axes.get_legend().get_texts()]
        self.assertEqual(names, ["BRECQ, last alone", "BRECQ, last joined", "all together"])
        of_alone, of_joined = lines(axes)
        for points, results in ((of_alone, alone), (of_joined, joined)):
            self.assertEqual(set(points.get_ydata()), {float(v) for ds in results for v in ds.module_loss.isel(module=-1).values.ravel()})
        self.assertGreater(of_alone.get_xdata().max(), of_joined.get_xdata().max())

    def test_rounding_is_no_scheme_unless_asked_for(self):
        legend = qa.loss_correlation(self.reconstructed()).axes[0].get_legend().get_texts()
        self.assertEqual([text.get_text().split("\n")[0] for text in legend], ["AdaRound", "BRECQ", "QDrop", "MRECG, capacity", "MRECG, loss", "all together"])
        with self.assertRaisesRegex(qa.ResultError, "1 different reconstructions"):
            qa.loss_correlation(self.reconstructed(), selection=qa.Selection(quantizer="gptq"))

    def test_different_bits_are_not_mixed(self):
        with self.assertRaisesRegex(qa.ResultError, "different bits"):
            qa.loss_correlation([self.reconstructed("a.h5", bits=[3]), self.reconstructed("b.h5", bits=[2])])


class BatchSize(WithModules):
    def test_points_are_medians_and_bars_the_range(self):
        files = [self.reconstructed(f"{batch}.h5", methods=["round", "brecq", "mrecg"], batch=batch, wave=1.0 / batch) for batch in (64, 8)]
        files.append(self.reconstructed("default.h5", methods=["round", "brecq", "mrecg"]))
        ax = qa.batch_size(files).axes[0]
        self.assertEqual([label.get_text() for label in ax.get_xticklabels()], ["8", "32", "64"])
        brecq, mrecg = lines(ax)
        last = [ds.module_loss.sel(quantizer="brecq", granularity="channel", bits=2)[-1] for ds in (files[1], files[2], files[0])]
        np.testing.assert_allclose(brecq.get_ydata(), [np.median(values) for values in last])
        bars = ax.collections[0].get_segments()
        np.testing.assert_allclose([bar[:, 1] for bar in bars], [[values.min(), values.max()] for values in last])

    def test_refuses_one_batch_and_files_that_differ_otherwise(self):
        with self.assertRaisesRegex(qa.ResultError, "one batch only"):
            qa.batch_size(self.reconstructed())
        with self.assertRaisesRegex(qa.ResultError, "more than the batch: iterations"):
            qa.batch_size([self.reconstructed("a.h5", batch=8), self.reconstructed("b.h5", batch=16, iterations=7)])


class Pareto(WithModules):
    def test_size_counts_the_weights_with_the_bits_of_the_edges(self):
        weights = 144 * 16
        for edge_bits, bits in ((8, 18 * 2 + 2 * 8), (0, 20 * 2)):
            self.assertEqual(modules.weight_bits(self.reconstructed(edge_bits=edge_bits), "resnet20_cifar10_folded", 2), weights * bits)

    def test_the_front_is_what_nothing_beats(self):
        size, cost = np.array([1, 1, 2, 2, 3, 3]), np.array([5, 4, 4, 6, 1, 2])
        np.testing.assert_array_equal(reconstructions.front(size, cost), [1, 4])

    def test_draws_every_method_and_joins_the_best(self):
        ds = self.reconstructed(wave=0.0)
        figure = qa.pareto(ds)
        front, *drawn = [line for line in lines(figure.axes[0]) if line.get_label() != "float"][:9]
        wanted = 100 * ds.accuracy.isel(network=0, samples=0, granularity=0).median("seed").transpose("quantizer", "bits").sortby("bits")
        np.testing.assert_allclose([line.get_ydata() for line in drawn], wanted)
        np.testing.assert_allclose(front.get_ydata(), wanted.max("quantizer"))
        self.assertGreater(figure.axes[0].get_ylim()[1], 100 * ds.accuracy_reference.max())  # the float network is in the picture

    def test_deviation_takes_the_place_of_accuracy(self):
        figure = qa.pareto(self.reconstructed(), variable="observed_max")
        self.assertIn("deviation", figure.axes[0].get_ylabel())
        self.assertIn("right answers", qa.pareto(self.reconstructed()).axes[0].get_ylabel())
        with self.assertRaisesRegex(qa.ResultError, "no observed_max of resnet20"):
            qa.pareto(self.reconstructed(observed="none"))

    def test_no_two_quantizers_look_alike_and_the_legend_names_each(self):
        looks = [style.quantizer_look(name) for name in ("round", "floor", "truncate", "stochastic", "cle_round", "gptq", "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss")]
        for what in ("colour", "marker", "label"):
            self.assertEqual(len({getattr(look, what) for look in looks}), len(looks), what)
        ds = self.reconstructed()
        rules = ["round", "floor", "truncate", "stochastic"]
        ds = ds.isel(quantizer=range(4)).assign_coords(quantizer=rules)
        named = {handle.get_label(): (handle.get_color(), handle.get_marker()) for handle in qa.pareto(ds).axes[0].get_legend().get_lines()}
        self.assertEqual(len({named[rule] for rule in rules}), 4)

    def test_methods_of_one_size_stand_together(self):
        ax = qa.pareto(self.reconstructed(bits=[2])).axes[0]
        places = [x for line in lines(ax) if line.get_label() != "float" for x in line.get_xdata()]
        low, high = np.log(ax.get_xlim())
        self.assertLess(np.ptp(np.log(places)), 0.5 * (high - low))

    def test_several_files_have_one_front(self):
        figure = qa.pareto([self.reconstructed("a.h5"), self.reconstructed("b.h5", edge_bits=0, wave=1.6)], variable="observed_max")
        self.assertEqual(len(lines(figure.axes[0])[0].get_xdata()), 6)


class ReconstructionTable(WithModules):
    def test_has_a_row_per_bits_and_method_with_the_spread_over_seeds(self):
        ds = self.reconstructed()
        table = qa.reconstruction_table(ds).splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("| resnet20")]
        self.assertEqual(len(rows), 3 * 8 + 1)
        final = ds.module_loss.sel(quantizer="brecq", granularity="channel", bits=2)[-1].values
        (row,) = (row for row in rows if row[1:4] == ["2", "channel", "brecq"])
        self.assertEqual(row[4], f"{np.median(final):.4g} ({final.min():.4g} to {final.max():.4g})")
        (row,) = (row for row in rows if row[1:4] == ["2", "channel", "round"])
        self.assertNotIn("to", row[4])
        self.assertEqual(rows[-1][-1], "90")

    def test_a_study_without_samples_has_the_errors_alone(self):
        self.assertIn("| - | - |", qa.reconstruction_table(self.reconstructed(observed="none")))
        with self.assertRaisesRegex(qa.ResultError, "no module_loss"):
            qa.reconstruction_table(self.result())


class Page(WithModules):
    def test_nothing_is_cut_at_the_edges(self):
        ds = self.result(certified="certified", networks=fixture.family("mlp", [60], [16], 1) + fixture.DIGITS[:2])
        trace = self.path("trace.csv")
        trace.write_text("seconds,boxes,upper,lower,open\n0,1,4,0,1\n2,300,1.5,1.25,2\n")
        modules_of_layers = [self.reconstructed(f"{n}.h5", network=fixture.FakeNetwork("mbv2_1.0_tv_float_folded", "file", 53, 16), blocks=[1, 2, *[3] * 16, 1, 1],
                                                wave=100.0**n, batch=8 * 2**n) for n in range(3)]
        small = self.reconstructed("small.h5", blocks=[1, 1], methods=["brecq"], bits=[2])
        new = (qa.module_loss(modules_of_layers[0]), qa.module_loss(modules_of_layers[2], inner=True), qa.module_loss(small), qa.loss_correlation(modules_of_layers),
               qa.batch_size(modules_of_layers), qa.pareto(modules_of_layers), qa.pareto(modules_of_layers[0], variable="observed_max"), qa.pareto(small))
        runs = [fixture.write_result(self.path(f"run{ranks}.h5"), run={"ranks": ranks, "threads": 2, "seconds": 600 // ranks}) for ranks in (1, 2, 16)]
        many = self.result(networks=fixture.family("mlp", [5, 10, 20], [16, 32, 64, 128, 256], 3) + fixture.DIGITS)
        new = (*new, qa.scaling(runs), qa.bound_comparison(ds), qa.bound_comparison(many), qa.bound_comparison(many, "digits_mlp_11"), qa.accuracy_bits(many))
        for figure in (*new, qa.gain_depth(ds), qa.bounds_bits(ds, "digits_mlp_7"), qa.sandwich(ds, "digits_mlp_7", methods=True), qa.accuracy_bits(ds),
                       qa.accuracy_bits(ds, "digits_mlp_7"), qa.error_shares(ds, "digits_mlp_5"), qa.error_shares(ds, ds.network.values[0]), qa.gap(qa.read_trace(trace), "trace")):
            drawn, page = style.drawn_box(figure), figure.bbox_inches
            outside = max(page.x0 - drawn.x0, page.y0 - drawn.y0, drawn.x1 - page.x1, drawn.y1 - page.y1)
            self.assertLessEqual(outside, 0.0, f"{outside:.2f} inches of {figure.axes[0].get_title(loc='left')} are cut")


class Labels(WithModules):
    UNIT_OR_MEANING = r"bits|layer|network|unit|%|seconds|ranks|batch|share"

    def test_every_axis_is_labelled_with_unit_or_meaning(self):
        ds = self.result(certified="certified")
        trace = self.path("trace.csv")
        trace.write_text("seconds,boxes,upper,lower,open\n0,1,4,0,1\n2,300,1.5,1.25,2\n")
        runs = [fixture.write_result(self.path(f"run{ranks}.h5"), run={"ranks": ranks}) for ranks in (1, 2)]
        batches = [self.reconstructed(f"{batch}.h5", batch=batch) for batch in (8, 16)]
        several = self.result(networks=fixture.DIGITS + fixture.family("mlp", [5, 20], [16, 32, 64], 6))
        for figure in (qa.gain_depth(several), qa.bound_comparison(several), qa.gain_depth(ds), qa.bound_comparison(ds), qa.bounds_bits(ds), qa.sandwich(ds), qa.accuracy_bits(ds), qa.error_shares(ds), qa.gap(qa.read_trace(trace), "t"),
                       qa.scaling(runs), qa.module_loss(batches[0]), qa.loss_correlation(batches), qa.batch_size(batches), qa.pareto(batches[0]),
                       qa.pareto(batches[0], variable="observed_max")):
            for ax in figure.axes:
                self.assertRegex(ax.get_ylabel() or "network" * bool(ax.get_yticklabels()[0].get_text()), self.UNIT_OR_MEANING)
                numbered = any(label.get_visible() for label in ax.get_xticklabels()) and ax.get_label() != "<colorbar>"  # the axis below is not the same one
                if numbered:
                    self.assertRegex(ax.get_xlabel(), self.UNIT_OR_MEANING)


class Command(WithModules):
    def plot(self, *words):
        return subprocess.run([sys.executable, ANALYSIS / "quantbound-plot", *map(str, words)], capture_output=True, text=True)

    def test_writes_every_format_and_the_same_bytes_again(self):
        result = fixture.write_result(self.path("result.h5"))
        for extension, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
            written = []
            for name in ("first", "second"):
                output = self.path(f"{name}.{extension}")
                run = self.plot(result, "bounds-bits", "-o", output)
                self.assertEqual((run.returncode, run.stdout.strip(), run.stderr), (0, str(output), ""))
                written.append(output.read_bytes())
            self.assertTrue(written[0].startswith(magic))
            self.assertEqual(*written)

    def test_every_figure_comes_as_pdf_svg_png_and_numbers(self):
        result = fixture.write_result(self.path("result.h5"), certified="certified")
        batches = [fixture.write_reconstruction(self.path(f"{batch}.h5"), batch=batch) for batch in (8, 16)]
        runs = [fixture.write_result(self.path(f"on_{ranks}.h5"), run={"ranks": ranks}) for ranks in (1, 2)]
        trace = self.path("trace.csv")
        trace.write_text("seconds,boxes,upper,lower,open\n0,1,4,1,1\n1,9,2,1.5,3\n")
        inputs = {"gap": [trace], "scaling": runs, "module-loss": batches[:1], "loss-correlation": batches, "batch-size": batches, "pareto": batches[:1]}
        listed = max(re.findall(r"\{([a-z,-]+)\}", self.plot("--help").stdout), key=len).split(",")
        self.assertGreaterEqual(len(listed), 13)
        for figure in listed:
            if figure == "report":  # tests/e2e/report_test.py
                continue
            outputs = [self.path(f"{figure}.{extension}") for extension in ("pdf", "svg", "png", "csv")]
            run = self.plot(*inputs.get(figure, [result]), figure, *(word for output in outputs for word in ("-o", output)))
            self.assertEqual((run.returncode, run.stderr, run.stdout.split()), (0, "", [str(output) for output in outputs]), figure)
            for output, magic in zip(outputs, (b"%PDF", b"<?xml", b"\x89PNG")):
                self.assertTrue(output.read_bytes().startswith(magic), output)
            with open(outputs[-1], newline="") as file:
                rows = list(csv.DictReader(file))
            self.assertGreaterEqual(len(rows), 2, figure)
            self.assertTrue(all(any(is_number(value) for value in row.values()) for row in rows), figure)

    def test_the_numbers_are_those_of_the_file(self):
        path = fixture.write_result(self.path("result.h5"))
        self.assertEqual(self.plot(path, "gain-depth", "--bits", "4", "-o", self.path("gain.csv")).returncode, 0)
        with open(self.path("gain.csv"), newline="") as file:
            rows = {(row["theory"], int(row["depth"])): float(row["log10_gain"]) for row in csv.DictReader(file)}
        gain = qa.open_result(path).gain.sel(quantizer="round", granularity="channel", bits=4).isel(seed=0)
        for network in gain.network.values:
            at = gain.sel(network=network)
            self.assertEqual(rows["houache_mean", int(at.network_depth)], float(at.sel(theory="houache_mean")))

    def test_several_files_of_different_networks_are_one(self):
        first = fixture.write_result(self.path("a.h5"), networks=fixture.DIGITS[:2])
        second = fixture.write_result(self.path("b.h5"), networks=fixture.DIGITS[2:])
        run = self.plot(first, second, "bound-comparison", "-o", self.path("norms.csv"))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(self.path("norms.csv").read_text().count("digits_mlp"), 12)
        run = self.plot(first, first, "gain-depth", "-o", self.path("gain.png"))
        self.assertEqual(run.returncode, 1)
        self.assertIn("several files have the network digits_mlp_5", run.stderr)

    def test_what_is_read_is_not_written_over(self):
        trace = self.path("trace.csv")
        trace.write_text("seconds,boxes,upper,lower,open\n0,1,4,1,1\n1,9,2,1.5,3\n")
        run = self.plot(trace, "gap", "-o", trace)
        self.assertEqual(run.returncode, 2)
        self.assertIn("is what is read", run.stderr)
        self.assertTrue(trace.read_text().startswith("seconds"))

    def test_opens_five_hundred_networks_and_draws_the_summary_in_less_than_ten_seconds_of_work(self):
        result = fixture.write_result(self.path("result.h5"), networks=fixture.family("mlp", [5, 10, 20, 30, 40], [16, 32, 64, 128, 256], 20))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(self.plot(result, "gain-depth", "-o", self.path("gain.png")).returncode, 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 10.0)

    def test_draws_one_network_and_five_hundred(self):
        for networks in (fixture.DIGITS[:1], fixture.family("mlp", [5, 10, 20, 30, 40], [16, 32, 64, 128, 256], 20)):
            result = fixture.write_result(self.path("result.h5"), networks=networks)
            for figure in ("gain-depth", "bound-comparison", "bounds-bits", "error-shares"):
                run = self.plot(result, figure, "-o", self.path("figure.png"))
                self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_draws_the_sandwich_and_a_trace(self):
        result = fixture.write_result(self.path("result.h5"), certified="certified")
        self.path("trace.csv").write_text("seconds,boxes,upper,lower,open\n0,1,4,1,1\n1,9,2,1.5,3\n")
        for words in ((result, "sandwich", "--methods", "--network", "digits_mlp_5"), (result, "bounds-bits"), (result, "accuracy-bits", "--top5"),
                      (result, "error-shares", "--granularity", "tensor"), (self.path("trace.csv"), "gap")):
            run = self.plot(*words, "-o", self.path("figure.png"))
            self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_draws_what_is_about_reconstruction(self):
        files = [fixture.write_reconstruction(self.path(f"{batch}.h5"), batch=batch) for batch in (8, 16)]
        for words in ((files[0], "module-loss", "--bits", "3", "--seed", "2", "--inner"), (*files, "loss-correlation", "--bits", "4"),
                      (*files, "batch-size", "--network", "resnet20_cifar10_folded"), (files[0], "pareto"), (*files, "pareto", "--deviation")):
            run = self.plot(*words, "-o", self.path("figure.png"))
            self.assertEqual((run.returncode, run.stderr), (0, ""), words)
        table = subprocess.run([sys.executable, ANALYSIS / "quantbound-table", files[0], "--reconstruction"], capture_output=True, text=True)
        self.assertEqual((table.returncode, table.stderr), (0, ""))
        self.assertIn("| mrecg_loss |", table.stdout)

    def test_options_of_another_figure_are_refused(self):
        for words in (("gap", "--network", "a"), ("gap", "--quantizer", "floor"), ("sandwich", "--bits", "4"), ("bounds-bits", "--methods"),
                      ("gain-depth", "--network", "a"), ("gap", "--top5"), ("accuracy-bits", "--quantizer", "round"), (self.path("other.h5"), "module-loss"),
                      ("pareto", "--bits", "4"), ("batch-size", "--seed", "1"), ("module-loss", "--deviation"), ("pareto", "--inner"), ("scaling", "--network", "a"), ("report", "--seed", "1"), ("bound-comparison", "--formula", "bound"), ("pareto", "--formula", "published")):
            self.assertEqual(self.plot(self.path("any.h5"), *words, "-o", self.path("figure.png")).returncode, 2)

    def test_mistakes_are_one_line_and_no_file(self):
        result = fixture.write_result(self.path("result.h5"))
        for words in ((result, "bounds-bits", "--network", "resnet"), (self.path("no.h5"), "gain-depth"),
                      (result, "gain-depth", "--bits", "13")):
            run = self.plot(*words, "-o", self.path("figure.png"))
            self.assertEqual(run.returncode, 1)
            self.assertRegex(run.stderr, r"\Aquantbound-plot: error: [^\n]+\n\Z")
        for words in (("gain-depth", "-o", self.path("figure.jpg")), ("report", "-o", self.path("figure.png")), ("gain-depth", "-o", self.path("page.html"))):
            self.assertEqual(self.plot(result, *words).returncode, 2)
        self.assertFalse(self.path("figure.png").exists())


if __name__ == "__main__":
    unittest.main()

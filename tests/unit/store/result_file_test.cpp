#include "quantbound/store/result_file.hpp"

#include <bit>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "temporary.hpp"

namespace quantbound::store {
namespace {

using sweep::Dataset;
using sweep::Group;
using sweep::Role;
using Texts = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;
using Doubles = std::vector<double>;
using Flags = std::vector<std::int8_t>;
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// One of everything the schema of docs/design.md needs, and the corner cases: empty axes, scalars, long attributes, no
/// text.
Dataset small_dataset() {
  Dataset dataset;
  Group& root = dataset.root;
  root.attributes = {{"Conventions", "CF-1.10"},
                     {"study_toml", "# µ-study\n" + std::string(200000, 's')},
                     {"empty", ""},
                     {"complete", std::int64_t{1}},
                     {"number", 0.1},
                     {"numbers", Doubles{1.5, -2.5}}};
  root.add_axis({"network", Texts{"mlp", "λ-net", "résumé"}, {{"long_name", "network"}}});
  root.add_axis({"bits", Integers{2, 8}, {}});
  root.add_axis({"quantile", Doubles{0.5, 0.999}, {}});
  root.add_axis({"layer", Integers{0, 1, 2, 3}, {}});
  root.add_axis({"region", Integers{}, {}});
  root.add_axis({"method", Texts{}, {{"long_name", "method"}}});
  root.add_variable({"layer_name", {"layer"}, Texts{"fc", "", "conv 1", "head"}, {}, {}, Role::coordinate});
  root.add_variable({"layer_position", {"layer"}, Integers{0, 0, 1, 2}, {}, {}, Role::coordinate});
  root.add_variable({"region_name", {"region"}, Texts{}, {}, {}, Role::coordinate});
  root.add_variable({"network_draw", {"network"}, Integers{0, 1, 2}, {}, {}, Role::coordinate});
  root.add_variable(
      {"quantile_name", {"quantile"}, Texts{"median", "tail"}, {}, {}, Role::coordinate});  // no variable has it
  root.add_variable(
      {"status",
       {"network", "bits"},
       Flags{0, 1, 2, 3, 4, -1},
       {{"flag_values", Flags{0, 1, 2, 3, 4}}, {"flag_meanings", "pending done failed timed_out skipped"}},
       std::int8_t{-1}});
  root.add_variable({"delta_max",
                     {"layer", "bits"},
                     Doubles{0.1, nan_value, infinity, -0.0, 5e-324, 1e308, 7, 8},
                     {{"units", "1"}, {"long_name", "largest |dW|"}},
                     nan_value});
  root.add_variable({"key", {"network"}, std::vector<std::uint64_t>{0, 1, ~std::uint64_t{0}}, {}, {}});
  root.add_variable({"total", {}, Doubles{42.5}, {}, nan_value});
  root.add_variable({"certified", {"region", "bits", "method"}, Doubles{}, {{"units", "1"}}, nan_value});
  Group& provenance = dataset.group("provenance");
  provenance.attributes = {{"version", "0.1"}};
  provenance.add_axis({"rank", Integers{0, 1}, {}});
  provenance.add_variable({"host", {"rank"}, Texts{"n1", "n2"}, {}, {}});
  provenance.add_variable({"wall_time", {"network", "bits"}, Doubles{1, 2, 3, 4, 5, 6}, {{"units", "s"}}, nan_value},
                          root);
  dataset.group("failures").add_axis({"failure", Integers{}, {}});
  dataset.group("failures").add_variable({"message", {"failure"}, Texts{}, {}, {}});
  return dataset;
}

/// Variables large enough for chunks and compression, with a last chunk that is not full.
Dataset large_dataset() {
  Dataset dataset;
  Integers layers(47), units(1200);
  for (std::size_t i = 0; i < layers.size(); ++i) layers[i] = static_cast<std::int64_t>(i);
  for (std::size_t i = 0; i < units.size(); ++i) units[i] = static_cast<std::int64_t>(i);
  dataset.root.add_axis({"layer", layers, {}});
  dataset.root.add_axis({"bits", Integers{2, 3, 4}, {}});
  dataset.root.add_axis({"unit", units, {}});
  Doubles values(47 * 3 * 1200);
  const core::RandomStream random(5, "result_file_test");
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.uniform(i);
  dataset.root.add_variable({"noise", {"layer", "bits", "unit"}, values, {}, nan_value});
  dataset.root.add_variable({"label", {"unit", "layer"}, Texts(47 * 1200, "text"), {}, {}});
  dataset.root.add_variable({"flag", {"layer", "bits", "unit"}, Flags(47 * 3 * 1200, 1), {}, {}});
  return dataset;
}

/// Equality that tells -0.0 from 0.0 and takes NaN for equal to itself.
template <class Value>
bool identical(const Value& a, const Value& b) {
  if constexpr (std::is_same_v<Value, double>) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
  } else {
    return a == b;
  }
}

template <class Value>
bool identical(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Value& x, const Value& y) { return identical(x, y); });
}

template <class... Values>
bool identical(const std::variant<Values...>& a, const std::variant<Values...>& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& held) { return identical(held, std::get<std::decay_t<decltype(held)>>(b)); }, a);
}

void expect_attributes(const sweep::Attributes& found, const sweep::Attributes& expected, const std::string& where) {
  ASSERT_EQ(found.size(), expected.size()) << where;
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].name, expected[i].name) << where;
    EXPECT_TRUE(identical(found[i].value, expected[i].value)) << where << " " << found[i].name;
  }
}

void expect_group(const Group& found, const Group& expected, const std::string& where) {
  expect_attributes(found.attributes, expected.attributes, where);
  ASSERT_EQ(found.axes.size(), expected.axes.size()) << where;
  for (std::size_t i = 0; i < found.axes.size(); ++i) {
    EXPECT_EQ(found.axes[i].name, expected.axes[i].name);
    EXPECT_TRUE(identical(found.axes[i].labels, expected.axes[i].labels)) << found.axes[i].name;
    expect_attributes(found.axes[i].attributes, expected.axes[i].attributes, found.axes[i].name);
  }
  ASSERT_EQ(found.variables.size(), expected.variables.size()) << where;
  for (std::size_t i = 0; i < found.variables.size(); ++i) {
    const sweep::Variable &a = found.variables[i], &b = expected.variables[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.dimensions, b.dimensions) << a.name;
    EXPECT_TRUE(identical(a.data, b.data)) << a.name;
    EXPECT_TRUE(identical(a.fill, b.fill)) << a.name;
    EXPECT_EQ(a.role, b.role) << a.name;
    expect_attributes(a.attributes, b.attributes, a.name);
  }
}

void expect_dataset(const Dataset& found, const Dataset& expected) {
  expect_group(found.root, expected.root, "root");
  ASSERT_EQ(found.groups.size(), expected.groups.size());
  for (std::size_t i = 0; i < found.groups.size(); ++i) {
    EXPECT_EQ(found.groups[i].name, expected.groups[i].name);
    expect_group(found.groups[i].group, expected.groups[i].group, found.groups[i].name);
  }
}

std::string error_of(const std::filesystem::path& path) {
  try {
    read_result(path);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ResultFile, GivesBackTheDatasetBitForBitAndInOrder) {
  const TemporaryDirectory place;

  write_result(place / "small.h5", small_dataset());
  write_result(place / "large.h5", large_dataset());

  expect_dataset(read_result(place / "small.h5"), small_dataset());
  expect_dataset(read_result(place / "large.h5"), large_dataset());
  expect_attributes(read_result_attributes(place / "small.h5"), small_dataset().root.attributes, "attributes alone");
  EXPECT_EQ(names_in(place.path()), (Texts{"large.h5", "small.h5"})) << "nothing partial remains";
}

TEST(ResultFile, EqualDatasetsGiveEqualBytesWhateverTheMemoryHeld) {
  const TemporaryDirectory place;
  const int patterns[] = {0x00, 0x5A, 0xFF};
  Texts small, large;

  for (const int pattern : patterns) {
    mallopt(M_PERTURB, pattern);
    write_result(place / "small.h5", small_dataset());
    write_result(place / "large.h5", large_dataset());
    small.push_back(read_bytes(place / "small.h5"));
    large.push_back(read_bytes(place / "large.h5"));
  }
  mallopt(M_PERTURB, 0);

  EXPECT_TRUE(small[0] == small[1] && small[1] == small[2]);
  EXPECT_TRUE(large[0] == large[1] && large[1] == large[2]);
  EXPECT_GT(large[0].size(), 100000u);
}

TEST(ResultFile, LargeVariablesAreCompressed) {
  const TemporaryDirectory place;
  Dataset dataset = large_dataset();
  write_result(place / "noise.h5", dataset);
  std::get<Doubles>(dataset.root.find_variable("noise")->data).assign(47 * 3 * 1200, 0.25);

  write_result(place / "flat.h5", dataset);

  const auto saved = std::filesystem::file_size(place / "noise.h5") - std::filesystem::file_size(place / "flat.h5");
  EXPECT_GT(saved, 47u * 3 * 1200 * 8 * 8 / 10);
}

TEST(ResultFile, TextThatIsNoTextIsMarkedNotLost) {
  const TemporaryDirectory place;
  Dataset dataset;
  dataset.root.attributes = {{"path", std::string("a\xFF/b\0c", 6)}};
  dataset.root.add_axis({"name", Texts{"ok", "\xC3", std::string("x\0", 2), "\xED\xA0\x80"}, {}});

  write_result(place / "text.h5", dataset);

  const Dataset found = read_result(place / "text.h5");
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(text_attribute(found.root.attributes, "path"), "a" + mark + "/b" + mark + "c");
  EXPECT_EQ(std::get<Texts>(found.root.axes[0].labels), (Texts{"ok", mark, "x" + mark, mark + mark + mark}));
}

TEST(ResultFile, ReplacesWhatWasThereAndFollowsLinks) {
  const TemporaryDirectory place;
  std::filesystem::create_directory(place / "scratch");
  write_bytes(place / "scratch/real.h5", "old");
  std::filesystem::create_symlink(place / "scratch/real.h5", place / "link.h5");
  write_bytes(place / "scratch/real.h5.partial", "left by a killed run");

  write_result(place / "link.h5", small_dataset());

  EXPECT_TRUE(std::filesystem::is_symlink(place / "link.h5"));
  expect_dataset(read_result(place / "link.h5"), small_dataset());
  EXPECT_EQ(names_in(place / "scratch"), Texts{"real.h5"});
}

TEST(ResultFile, AFullDiskLeavesTheOldFileAndNothingElse) {
  const TinyDisk disk("256k");
  if (!disk.reason().empty()) GTEST_SKIP() << disk.reason();
  Dataset little;
  little.root.attributes = {{"title", "old"}};
  const auto path = disk.path() / "result.h5";
  write_result(path, little);
  const std::string before = read_bytes(path);

  std::string message;
  try {
    write_result(path, large_dataset());
  } catch (const core::IoError& error) {
    message = error.what();
  }

  EXPECT_THAT(message, testing::HasSubstr("No space left on device; free space and run again with --resume"));
  EXPECT_EQ(read_bytes(path), before);
  EXPECT_EQ(names_in(disk.path()), Texts{"result.h5"});
  little.root.attributes = {{"title", "new"}};
  EXPECT_NO_THROW(write_result(path, little)) << "HDF5 must not remember the failure";
  EXPECT_EQ(text_attribute(read_result_attributes(path), "title"), "new");
}

TEST(ResultFile, ALimitOnFileSizesIsAnErrorToo) {
  const TemporaryDirectory place;
  rlimit former{};
  getrlimit(RLIMIT_FSIZE, &former);
  const auto former_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{4096, former.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);

  EXPECT_THROW(write_result(place / "result.h5", small_dataset()), core::IoError);

  setrlimit(RLIMIT_FSIZE, &former);
  std::signal(SIGXFSZ, former_handler);
  EXPECT_TRUE(names_in(place.path()).empty());
  EXPECT_NO_THROW(write_result(place / "result.h5", small_dataset()));
}

TEST(ResultFile, PlacesThatCannotBeWrittenAreErrors) {
  const TemporaryDirectory place;

  EXPECT_THROW(write_result(place / "absent/result.h5", small_dataset()), core::IoError);
  EXPECT_THROW(write_result(place.path(), small_dataset()), core::IoError);
  ASSERT_EQ(::mkfifo((place / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(write_result(place / "pipe", small_dataset()), core::IoError);
}

TEST(ResultFile, FilesThatAreNoResultsAreRefused) {
  const TemporaryDirectory place;
  write_bytes(place / "text.h5", "not HDF5 at all");
  write_bytes(place / "empty.h5", "");

  EXPECT_THAT(error_of(place / "absent.h5"), testing::HasSubstr("no such file"));
  EXPECT_THAT(error_of(place.path()), testing::HasSubstr("not a file"));
  EXPECT_THAT(error_of(place / "text.h5"), testing::HasSubstr("not a complete result file"));
  EXPECT_THAT(error_of(place / "empty.h5"), testing::HasSubstr("not a complete result file"));
}

TEST(ResultFile, CutFilesAreRefused) {
  const TemporaryDirectory place;
  write_result(place / "whole.h5", small_dataset());
  const std::string whole = read_bytes(place / "whole.h5");

  for (std::size_t size = 0; size < whole.size(); size += 997) {
    write_bytes(place / "cut.h5", whole.substr(0, size));
    EXPECT_THAT(error_of(place / "cut.h5"), testing::HasSubstr("not a complete result file")) << size;
  }
}

// ---- what Python sees

std::string json(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return quoted + "\"";
}

std::string json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return fmt::format("{:.17g}", value);
}

template <class Integer>
requires std::is_integral_v<Integer> std::string json(Integer value) { return fmt::format("{}", value); }

template <class Value>
std::string json(const std::vector<Value>& values) {
  std::string list;
  for (const Value& value : values) list += (list.empty() ? "" : ", ") + json(value);
  return "[" + list + "]";
}

template <class... Values>
std::string json(const std::variant<Values...>& value) {
  return std::visit([](const auto& held) { return json(held); }, value);
}

std::string json_object(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string list;
  for (const auto& [name, value] : members) list += (list.empty() ? "" : ", ") + json(name) + ": " + value;
  return "{" + list + "}";
}

const sweep::Axis& axis_of(const std::string& name, const Group& group, const Group& root) {
  const sweep::Axis* axis = group.find_axis(name);
  return axis != nullptr ? *axis : *root.find_axis(name);
}

/// Every element of a variable, with the labels that select it. xarray shows fill values as NaN.
void describe_cells(const std::string& group_name, const Group& group, const Group& root,
                    const sweep::Variable& variable, Texts& cells) {
  const std::vector<std::size_t> shape = sweep::shape_of(variable.dimensions, group, root);
  for (std::size_t i = 0; i < sweep::element_count(shape); ++i) {
    std::vector<std::pair<std::string, std::string>> selection;
    for (std::size_t d = shape.size(), rest = i; d-- > 0; rest /= shape[d]) {
      if (group.find_axis(variable.dimensions[d]) == nullptr) {  // an axis of the root has no labels in the group
        selection.emplace_back(variable.dimensions[d], json(rest % shape[d]));
        continue;
      }
      const auto& labels = axis_of(variable.dimensions[d], group, root).labels;
      selection.emplace_back(variable.dimensions[d],
                             std::visit([&](const auto& l) { return json(l[rest % shape[d]]); }, labels));
    }
    const std::string value = std::visit(
        [&](const auto& values) {
          using Element = typename std::decay_t<decltype(values)>::value_type;
          if constexpr (!std::is_same_v<Element, std::string>) {
            if (std::holds_alternative<Element>(variable.fill) && std::get<Element>(variable.fill) == values[i]) {
              return std::string("NaN");
            }
          }
          return json(values[i]);
        },
        variable.data);
    cells.push_back(json_object({{"group", json(group_name)},
                                 {"variable", json(variable.name)},
                                 {"select", json_object(selection)},
                                 {"value", value}}));
  }
}

std::string describe_group(const std::string& name, const Group& group, const Group& root, Texts& cells) {
  Texts coordinates, variables;
  std::map<std::string, std::string> sizes;
  std::vector<std::pair<std::string, std::string>> attributes;
  for (const sweep::Axis& axis : group.axes) {
    coordinates.push_back(axis.name);
    sizes[axis.name] = json(axis.size());
  }
  for (const sweep::Variable& variable : group.variables) {
    (variable.role == Role::data ? variables : coordinates).push_back(variable.name);
    for (const std::string& d : variable.dimensions) sizes[d] = json(axis_of(d, group, root).size());
    describe_cells(name, group, root, variable, cells);
  }
  for (const sweep::Attribute& attribute : group.attributes) {
    attributes.emplace_back(attribute.name, json(attribute.value));
  }
  return json_object({{"sizes", json_object({sizes.begin(), sizes.end()})},
                      {"coordinates", json(coordinates)},
                      {"variables", json(variables)},
                      {"attributes", json_object(attributes)}});
}

std::string expectations(const Dataset& dataset) {
  Texts cells;
  std::vector<std::pair<std::string, std::string>> groups = {
      {"", describe_group("", dataset.root, dataset.root, cells)}};
  for (const auto& [name, group] : dataset.groups) {
    groups.emplace_back(name, describe_group(name, group, dataset.root, cells));
  }
  std::string list;
  for (const std::string& cell : cells) list += (list.empty() ? "" : ",\n") + cell;
  return json_object({{"groups", json_object(groups)}, {"cells", "[" + list + "]"}});
}

struct Command {
  int status = 0;
  std::string output;
};

Command run(const std::string& command) {
  Command result;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) result.output += static_cast<char>(c);
  result.status = ::pclose(pipe);
  return result;
}

TEST(ResultFile, XarraySelectsEveryValueByItsLabelsWithBothEngines) {
  if (run("/usr/bin/python3 -c 'import xarray, h5netcdf, netCDF4'").status != 0) {
    GTEST_SKIP() << "needs python3-xarray, python3-h5netcdf and python3-netcdf4";
  }
  const TemporaryDirectory place;
  write_result(place / "result.h5", small_dataset());
  write_bytes(place / "expected.json", expectations(small_dataset()));

  const Command python = run(fmt::format("/usr/bin/python3 {}/tests/e2e/open_dataset.py {} {}", QUANTBOUND_SOURCE_DIR,
                                         (place / "result.h5").string(), (place / "expected.json").string()));

  EXPECT_EQ(python.status, 0) << python.output;
}

TEST(ResultFile, NetcdfToolsReadIt) {
  if (run("ncdump -h /dev/null").output.find("not found") != std::string::npos) GTEST_SKIP() << "needs netcdf-bin";
  const TemporaryDirectory place;
  write_result(place / "result.h5", small_dataset());

  const Command ncdump = run("ncdump -v delta_max " + (place / "result.h5").string());

  EXPECT_EQ(ncdump.status, 0) << ncdump.output;
  EXPECT_THAT(ncdump.output, testing::HasSubstr("double delta_max(layer, bits)"));
  EXPECT_THAT(ncdump.output, testing::HasSubstr("string network(network)"));
  EXPECT_THAT(ncdump.output, testing::HasSubstr("delta_max:coordinates = \"layer_name layer_position\""));
}

}  // namespace
}  // namespace quantbound::store

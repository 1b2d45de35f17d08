#include "result_image.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "hdf5_handle.hpp"
#include "memory_file.hpp"
#include "utf8.hpp"

namespace quantbound::store::detail {

namespace {

using sweep::Axis;
using sweep::Dataset;
using sweep::Group;
using sweep::Variable;

/// Variables below this size are contiguous and uncompressed: chunk indices would cost more than they save.
constexpr std::size_t small_variable = std::size_t{64} << 10;
constexpr std::size_t chunk_target = std::size_t{512} << 10;
constexpr unsigned deflate_level = 4;

/// Type in the file, which is also the type in memory on the little-endian machines we run on.
template <class Number>
hid_t number_type() {
  if constexpr (std::is_same_v<Number, double>) return H5T_IEEE_F64LE;
  if constexpr (std::is_same_v<Number, std::int8_t>) return H5T_STD_I8LE;
  if constexpr (std::is_same_v<Number, std::int64_t>) return H5T_STD_I64LE;
  if constexpr (std::is_same_v<Number, std::uint64_t>) return H5T_STD_U64LE;
  if constexpr (std::is_same_v<Number, std::int32_t>) return H5T_STD_I32LE;
}

/// Creation orders on (netCDF-4 wants them), object times off (they would differ between equal runs).
void set_order(const Properties& properties) {
  verify(H5Pset_attr_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), "track the order");
  verify(H5Pset_obj_track_times(properties, false), "switch object times off");
}

Properties group_properties(hid_t kind) {
  Properties properties(H5Pcreate(kind), "make group properties");
  verify(H5Pset_link_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), "track the order");
  set_order(properties);
  return properties;
}

Space simple_space(const std::vector<hsize_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), "make a scalar"};
  return {H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), "make a shape"};
}

// ---- attributes

void write_attribute(hid_t object, const std::string& name, hid_t type, const std::vector<hsize_t>& shape,
                     const void* data) {
  const std::string what = "write the attribute " + name;
  const Space space = simple_space(shape);
  const AttributeHandle attribute(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), what);
  verify(H5Awrite(attribute, type, data), what);
}

void write_text(hid_t object, const std::string& name, const std::string& value) {
  const std::string text = valid_utf8(value);
  const Type type = fixed_text(std::max<std::size_t>(1, text.size()));
  write_attribute(object, name, type, {}, text.c_str());
}

void write_value(hid_t object, const std::string& name, const sweep::AttributeValue& value) {
  std::visit(
      [&](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::string>) {
          write_text(object, name, held);
        } else if constexpr (std::is_arithmetic_v<Held>) {
          write_attribute(object, name, number_type<Held>(), {}, &held);
        } else {
          write_attribute(object, name, number_type<typename Held::value_type>(), {held.size()}, held.data());
        }
      },
      value);
}

void write_attributes(hid_t object, const sweep::Attributes& attributes) {
  for (const sweep::Attribute& attribute : attributes) {
    write_value(object, valid_utf8(attribute.name), attribute.value);
  }
}

// ---- datasets

/// Whole trailing dimensions, leading ones halved until a chunk is small: one network or layer is read at a time.
std::vector<hsize_t> chunk_shape(std::vector<hsize_t> shape, std::size_t element_size) {
  std::size_t bytes = element_size;
  for (const hsize_t size : shape) bytes *= size;
  for (hsize_t& size : shape) {
    while (size > 1 && bytes > chunk_target) {
      bytes /= size;
      size = (size + 1) / 2;
      bytes *= size;
    }
  }
  return shape;
}

void set_layout(const Properties& properties, const std::vector<hsize_t>& shape, std::size_t element_size) {
  std::size_t bytes = element_size;
  for (const hsize_t size : shape) bytes *= size;
  if (shape.empty() || bytes <= small_variable) return;
  const std::vector<hsize_t> chunk = chunk_shape(shape, element_size);
  verify(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()), "set the chunks");
  verify(H5Pset_shuffle(properties), "set the shuffle filter");
  verify(H5Pset_deflate(properties, deflate_level), "set the compression");
}

template <class Number>
DatasetHandle write_numbers(hid_t group, const std::string& name, const std::vector<hsize_t>& shape,
                            const std::vector<Number>& values, const sweep::Fill& fill) {
  const std::string what = "write the variable " + name;
  Properties properties(H5Pcreate(H5P_DATASET_CREATE), what);
  set_order(properties);
  set_layout(properties, shape, sizeof(Number));
  const hid_t type = number_type<Number>();
  if (const Number* value = std::get_if<Number>(&fill)) verify(H5Pset_fill_value(properties, type, value), what);
  const Space space = simple_space(shape);
  DatasetHandle dataset(H5Dcreate2(group, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT), what);
  if (!values.empty()) verify(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), what);
  return dataset;
}

DatasetHandle write_texts(hid_t group, const std::string& name, const std::vector<hsize_t>& shape,
                          const std::vector<std::string>& values) {
  const std::string what = "write the variable " + name;
  Properties properties(H5Pcreate(H5P_DATASET_CREATE), what);
  set_order(properties);
  const Type type = variable_text();
  const Space space = simple_space(shape);
  DatasetHandle dataset(H5Dcreate2(group, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT), what);
  std::vector<std::string> texts(values.size());
  std::transform(values.begin(), values.end(), texts.begin(), valid_utf8);
  std::vector<const char*> pointers(texts.size());
  std::transform(texts.begin(), texts.end(), pointers.begin(), [](const std::string& text) { return text.c_str(); });
  if (!texts.empty()) verify(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()), what);
  return dataset;
}

template <class Values>
DatasetHandle write_values(hid_t group, const std::string& name, const std::vector<hsize_t>& shape,
                           const Values& values, const sweep::Fill& fill) {
  if constexpr (std::is_same_v<Values, std::vector<std::string>>) {
    return write_texts(group, name, shape, values);
  } else {
    return write_numbers(group, name, shape, values, fill);
  }
}

// ---- dimension scales

/// One entry of the REFERENCE_LIST of a scale: a variable, and which of its dimensions the scale describes.
struct ScaleUse {
  hobj_ref_t variable = 0;
  std::int32_t dimension = 0;
  std::int32_t padding = 0;  ///< the library has a hole here; ours holds zeros, so that equal datasets give equal bytes
};
static_assert(sizeof(ScaleUse) == 16);

struct Scale {
  DatasetHandle dataset;
  hobj_ref_t reference = 0;
  std::vector<ScaleUse> uses;
};

/// Scales by axis name: those of one group, with those of the root behind them.
struct Scales {
  std::map<std::string, Scale> own;
  Scales* outer = nullptr;

  Scale& find(const std::string& name) {
    const auto found = own.find(name);
    return found != own.end() ? found->second : outer->find(name);
  }
};

hobj_ref_t reference_to(hid_t object) {
  hobj_ref_t reference = 0;
  verify(H5Rcreate(&reference, object, ".", H5R_OBJECT, -1), "make a reference");
  return reference;
}

void write_ascii(hid_t object, const std::string& name, const std::string& value) {
  const Type type(H5Tcopy(H5T_C_S1), "make a text type");
  verify(H5Tset_size(type, value.size() + 1), "make a text type");
  write_attribute(object, name, type, {}, value.c_str());
}

Scale write_scale(hid_t group, const Axis& axis) {
  const std::string name = valid_utf8(axis.name);
  Scale scale;
  scale.dataset =
      std::visit([&](const auto& labels) { return write_values(group, name, {labels.size()}, labels, sweep::Fill()); },
                 axis.labels);
  write_ascii(scale.dataset, "CLASS", "DIMENSION_SCALE");
  write_ascii(scale.dataset, "NAME", name);
  write_attributes(scale.dataset, axis.attributes);
  scale.reference = reference_to(scale.dataset);
  return scale;
}

/// The DIMENSION_LIST of a variable: for each dimension the scales attached, exactly one.
void attach_scales(hid_t variable, const std::vector<std::string>& dimensions, Scales& scales) {
  if (dimensions.empty()) return;
  std::vector<hvl_t> lists;
  std::int32_t position = 0;
  for (const std::string& dimension : dimensions) {
    Scale& scale = scales.find(dimension);
    lists.push_back({1, &scale.reference});
    scale.uses.push_back({reference_to(variable), position++, 0});
  }
  const Type type(H5Tvlen_create(H5T_STD_REF_OBJ), "make a type of lists");
  write_attribute(variable, "DIMENSION_LIST", type, {lists.size()}, lists.data());
}

void write_reference_list(const Scale& scale) {
  if (scale.uses.empty()) return;
  const std::string what = "make the type of dimension scales";
  const Type type(H5Tcreate(H5T_COMPOUND, sizeof(ScaleUse)), what);
  verify(H5Tinsert(type, "dataset", HOFFSET(ScaleUse, variable), H5T_STD_REF_OBJ), what);
  verify(H5Tinsert(type, "dimension", HOFFSET(ScaleUse, dimension), number_type<std::int32_t>()), what);
  write_attribute(scale.dataset, "REFERENCE_LIST", type, {scale.uses.size()}, scale.uses.data());
}

// ---- groups

bool is_subset(const std::vector<std::string>& small, const std::vector<std::string>& large) {
  return std::all_of(small.begin(), small.end(),
                     [&](const auto& name) { return std::find(large.begin(), large.end(), name) != large.end(); });
}

/// Names of the coordinates that describe a variable with these dimensions, as CF writes them: separated by blanks.
std::string coordinates_of(const std::vector<std::string>& dimensions, const Group& group) {
  std::string names;
  for (const Variable& other : group.variables) {
    if (other.role != sweep::Role::coordinate || !is_subset(other.dimensions, dimensions)) continue;
    names += (names.empty() ? "" : " ") + other.name;
  }
  return names;
}

/// Coordinates that no variable has: xarray looks for them in an attribute of the group.
std::string lonely_coordinates(const Group& group) {
  std::string names;
  for (const Variable& coordinate : group.variables) {
    if (coordinate.role != sweep::Role::coordinate) continue;
    const bool used = std::any_of(group.variables.begin(), group.variables.end(), [&](const Variable& variable) {
      return variable.role == sweep::Role::data && is_subset(coordinate.dimensions, variable.dimensions);
    });
    if (!used) names += (names.empty() ? "" : " ") + coordinate.name;
  }
  return names;
}

void write_fill(hid_t dataset, const sweep::Fill& fill) {
  std::visit(
      [&](const auto& value) {
        using Value = std::decay_t<decltype(value)>;
        if constexpr (!std::is_same_v<Value, std::monostate>) {
          write_attribute(dataset, "_FillValue", number_type<Value>(), {}, &value);
        }
      },
      fill);
}

void write_variable(hid_t group_id, const Variable& variable, const Group& group, const Group& outer, Scales& scales) {
  std::vector<hsize_t> shape;
  for (const std::size_t size : sweep::shape_of(variable.dimensions, group, outer)) shape.push_back(size);
  const DatasetHandle dataset = std::visit(
      [&](const auto& values) {
        return write_values(group_id, valid_utf8(variable.name), shape, values, variable.fill);
      },
      variable.data);
  write_attributes(dataset, variable.attributes);
  const std::string coordinates =
      variable.role == sweep::Role::data ? coordinates_of(variable.dimensions, group) : std::string();
  if (!coordinates.empty()) write_text(dataset, "coordinates", coordinates);
  write_fill(dataset, variable.fill);
  attach_scales(dataset, variable.dimensions, scales);
}

/// Everything but the lists of references, which are complete only when all groups are written.
Scales write_group(hid_t group_id, const Group& group, const Group& outer, Scales* outer_scales) {
  write_attributes(group_id, group.attributes);
  const std::string lonely = lonely_coordinates(group);
  if (!lonely.empty()) write_text(group_id, "coordinates", lonely);
  Scales scales{{}, outer_scales};
  for (const Axis& axis : group.axes) scales.own.emplace(axis.name, write_scale(group_id, axis));
  for (const Variable& variable : group.variables) write_variable(group_id, variable, group, outer, scales);
  return scales;
}

void write_groups(const File& file, const Dataset& dataset, Scales& root) {
  const Properties creation = group_properties(H5P_GROUP_CREATE);
  for (const sweep::NamedGroup& named : dataset.groups) {
    const std::string name = valid_utf8(named.name);
    const GroupHandle group(H5Gcreate2(file, name.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT), "make " + name);
    const Scales scales = write_group(group, named.group, dataset.root, &root);
    for (const auto& [axis, scale] : scales.own) write_reference_list(scale);
  }
}

}  // namespace

std::vector<std::byte> result_image(const Dataset& dataset) {
  MemoryFile memory(group_properties(H5P_FILE_CREATE));
  {
    const File& file = memory.file();
    Scales root = write_group(file, dataset.root, dataset.root, nullptr);
    write_groups(file, dataset, root);
    for (const auto& [axis, scale] : root.own) write_reference_list(scale);
  }
  return memory.close();
}

}  // namespace quantbound::store::detail

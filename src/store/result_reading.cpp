#include "result_reading.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "hdf5_handle.hpp"

namespace quantbound::store::detail {

namespace {

using sweep::Axis;
using sweep::Dataset;
using sweep::Group;
using sweep::Variable;

[[noreturn]] void refuse(const std::string& object, const std::string& why) {
  throw Hdf5Error{"cannot read '" + object + "': " + why};
}

std::vector<std::size_t> shape_of(const Space& space, const std::string& name) {
  if (H5Sget_simple_extent_type(space) == H5S_NULL) refuse(name, "it is empty");
  const int rank = verify(H5Sget_simple_extent_ndims(space), "read the shape of " + name);
  std::vector<hsize_t> sizes(static_cast<std::size_t>(rank));
  verify(H5Sget_simple_extent_dims(space, sizes.data(), nullptr), "read the shape of " + name);
  return {sizes.begin(), sizes.end()};
}

// ---- the elements of a dataset or of an attribute

/// What is read from, with the two calls that differ between datasets and attributes.
struct Source {
  hid_t id;
  std::string name;
  herr_t (*read_into)(hid_t id, hid_t type, void* data);
};

herr_t read_from_dataset(hid_t id, hid_t type, void* data) {
  return H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
}

herr_t read_from_attribute(hid_t id, hid_t type, void* data) { return H5Aread(id, type, data); }

template <class Number>
std::vector<Number> read_numbers(const Source& source, hid_t type, std::size_t count) {
  std::vector<Number> values(count);
  if (count > 0) verify(source.read_into(source.id, type, values.data()), "read " + source.name);
  return values;
}

std::vector<std::string> read_variable_texts(const Source& source, const Type& stored, const Space& space,
                                             std::size_t count) {
  Type type(H5Tcopy(stored), "read " + source.name);
  std::vector<char*> pointers(count, nullptr);
  if (count > 0) verify(source.read_into(source.id, type, pointers.data()), "read " + source.name);
  std::vector<std::string> texts(count);
  std::transform(pointers.begin(), pointers.end(), texts.begin(),
                 [](const char* pointer) { return std::string(pointer == nullptr ? "" : pointer); });
  if (count > 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data());
  return texts;
}

std::vector<std::string> read_fixed_texts(const Source& source, const Type& stored, std::size_t count) {
  const std::size_t width = H5Tget_size(stored);
  std::string characters(width * count, '\0');
  if (count > 0) verify(source.read_into(source.id, stored, characters.data()), "read " + source.name);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string padded = characters.substr(i * width, width);
    texts.push_back(padded.substr(0, padded.find('\0')));
  }
  return texts;
}

std::vector<std::string> read_texts(const Source& source, const Type& stored, const Space& space, std::size_t count) {
  const htri_t is_variable = verify(H5Tis_variable_str(stored), "read the type of " + source.name);
  return is_variable > 0 ? read_variable_texts(source, stored, space, count) : read_fixed_texts(source, stored, count);
}

sweep::Data read_data(const Source& source, const Type& type, const Space& space) {
  std::size_t count = 1;
  for (const std::size_t size : shape_of(space, source.name)) count *= size;
  const std::size_t width = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      return read_texts(source, type, space, count);
    case H5T_FLOAT:
      return read_numbers<double>(source, H5T_NATIVE_DOUBLE, count);
    case H5T_INTEGER:
      if (H5Tget_sign(type) == H5T_SGN_NONE && width == sizeof(std::uint64_t)) {
        return read_numbers<std::uint64_t>(source, H5T_NATIVE_UINT64, count);
      }
      if (H5Tget_sign(type) != H5T_SGN_NONE && width == sizeof(std::int8_t)) {
        return read_numbers<std::int8_t>(source, H5T_NATIVE_INT8, count);
      }
      return read_numbers<std::int64_t>(source, H5T_NATIVE_INT64, count);
    default:
      refuse(source.name, "it holds neither numbers nor text");
  }
}

// ---- attributes

/// What this room writes by itself, around the attributes of the dataset.
bool is_structural(const std::string& name) {
  static const std::set<std::string> names = {"CLASS",          "NAME",       "REFERENCE_LIST",
                                              "DIMENSION_LIST", "_FillValue", "coordinates"};
  return names.contains(name) || name.starts_with("_Netcdf4") || name == "_NCProperties";
}

/// A list as it is, a single value as a single value.
template <class Number>
sweep::AttributeValue list_or_number(std::vector<Number> values, const Space& space) {
  if (H5Sget_simple_extent_ndims(space) > 0) return values;
  if constexpr (std::is_same_v<Number, std::int8_t>) {
    return static_cast<std::int64_t>(values.front());
  } else {
    return values.front();
  }
}

sweep::AttributeValue attribute_value(sweep::Data data, const Space& space, const std::string& name) {
  return std::visit(
      [&](auto& values) -> sweep::AttributeValue {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<Element, std::string>) {
          if (values.size() != 1) refuse(name, "it is a list of texts");
          return std::move(values.front());
        } else if constexpr (std::is_same_v<Element, std::uint64_t>) {
          return list_or_number(std::vector<std::int64_t>(values.begin(), values.end()), space);
        } else {
          return list_or_number(std::move(values), space);
        }
      },
      data);
}

sweep::Data read_attribute_data(const AttributeHandle& attribute, const std::string& name, const Space& space) {
  const Type type(H5Aget_type(attribute), "read the type of " + name);
  return read_data({attribute, name, read_from_attribute}, type, space);
}

std::vector<std::string> attribute_names(hid_t object) {
  std::vector<std::string> names;
  const auto keep = [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  verify(H5Aiterate2(object, H5_INDEX_CRT_ORDER, H5_ITER_INC, nullptr, keep, &names), "list the attributes");
  return names;
}

sweep::Attributes read_attributes(hid_t object) {
  sweep::Attributes attributes;
  for (const std::string& name : attribute_names(object)) {
    if (is_structural(name)) continue;
    const AttributeHandle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), "open the attribute " + name);
    const Space space(H5Aget_space(attribute), "read the shape of " + name);
    attributes.push_back({name, attribute_value(read_attribute_data(attribute, name, space), space, name)});
  }
  return attributes;
}

bool has_attribute(hid_t object, const std::string& name) {
  return verify(H5Aexists(object, name.c_str()), "look for the attribute " + name) > 0;
}

/// The first element of an attribute as a fill value; text gives none.
sweep::Fill read_fill(hid_t dataset) {
  if (!has_attribute(dataset, "_FillValue")) return {};
  const AttributeHandle attribute(H5Aopen(dataset, "_FillValue", H5P_DEFAULT), "open the fill value");
  const Space space(H5Aget_space(attribute), "read the fill value");
  return std::visit(
      [](const auto& values) -> sweep::Fill {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<Element, std::string>) {
          return {};
        } else {
          return values.empty() ? sweep::Fill() : sweep::Fill(values.front());
        }
      },
      read_attribute_data(attribute, "_FillValue", space));
}

// ---- groups

/// An attribute that is one text; empty where it is absent or something else.
std::string attribute_text(hid_t object, const std::string& name) {
  if (!has_attribute(object, name)) return "";
  const AttributeHandle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), "open " + name);
  const Space space(H5Aget_space(attribute), "read " + name);
  const sweep::Data data = read_attribute_data(attribute, name, space);
  const auto* texts = std::get_if<std::vector<std::string>>(&data);
  return texts != nullptr && texts->size() == 1 ? texts->front() : "";
}

/// Adds the names in a `coordinates` attribute, which are separated by blanks.
void collect_coordinates(hid_t object, std::set<std::string>& names) {
  std::istringstream words(attribute_text(object, "coordinates"));
  for (std::string word; words >> word;) names.insert(word);
}

bool is_scale(const DatasetHandle& dataset) { return attribute_text(dataset, "CLASS") == "DIMENSION_SCALE"; }

/// netCDF keeps dimensions that have no coordinate as datasets without meaning, and says so in their name.
bool has_labels(const DatasetHandle& scale) {
  return !attribute_text(scale, "NAME").starts_with("This is a netCDF dimension but not a netCDF variable");
}

/// Last part of the path of the object a reference leads to.
std::string name_of_reference(const DatasetHandle& from, const hobj_ref_t& reference) {
  const ObjectHandle object(H5Rdereference2(from, H5P_DEFAULT, H5R_OBJECT, &reference), "follow a reference");
  const auto length = static_cast<std::size_t>(verify(H5Iget_name(object, nullptr, 0), "read the name of an axis"));
  std::string path(length + 1, '\0');
  verify(H5Iget_name(object, path.data(), path.size()), "read the name of an axis");
  path.resize(length);
  return path.substr(path.rfind('/') + 1);
}

std::vector<std::string> read_dimensions(const DatasetHandle& dataset, const std::string& name, std::size_t rank) {
  if (rank == 0) return {};
  if (!has_attribute(dataset, "DIMENSION_LIST")) refuse(name, "its dimensions have no labels");
  const AttributeHandle attribute(H5Aopen(dataset, "DIMENSION_LIST", H5P_DEFAULT), "open the dimensions of " + name);
  const Space space(H5Aget_space(attribute), "read the dimensions of " + name);
  if (shape_of(space, name) != std::vector{rank}) refuse(name, "its list of dimensions does not fit its shape");
  const Type type(H5Tvlen_create(H5T_STD_REF_OBJ), "make a type of lists");
  std::vector<hvl_t> lists(rank);
  verify(H5Aread(attribute, type, lists.data()), "read the dimensions of " + name);
  std::vector<std::string> dimensions;
  dimensions.reserve(rank);
  for (const hvl_t& list : lists) {
    dimensions.push_back(list.len == 1 ? name_of_reference(dataset, *static_cast<hobj_ref_t*>(list.p)) : "");
  }
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, lists.data());
  if (std::find(dimensions.begin(), dimensions.end(), "") != dimensions.end()) {
    refuse(name, "a dimension has not exactly one axis");
  }
  return dimensions;
}

sweep::Labels to_labels(sweep::Data data, const std::string& name) {
  return std::visit(
      [&](auto& values) -> sweep::Labels {
        using Values = std::decay_t<decltype(values)>;
        if constexpr (std::is_constructible_v<sweep::Labels, Values&&>) {
          return std::move(values);
        } else if constexpr (std::is_same_v<Values, std::vector<std::int8_t>>) {
          return std::vector<std::int64_t>(values.begin(), values.end());
        } else {
          refuse(name, "labels of this type are not known");
        }
      },
      data);
}

sweep::Data read_dataset_data(const DatasetHandle& dataset, const std::string& name, const Space& space) {
  const Type type(H5Dget_type(dataset), "read the type of " + name);
  return read_data({dataset, name, read_from_dataset}, type, space);
}

void read_object(const DatasetHandle& dataset, const std::string& name, Group& group) {
  const Space space(H5Dget_space(dataset), "read the shape of " + name);
  const std::size_t rank = shape_of(space, name).size();
  if (is_scale(dataset)) {
    if (rank != 1) refuse(name, "an axis must have one dimension");
    if (!has_labels(dataset)) refuse(name, "this axis has no labels");
    group.axes.push_back({name, to_labels(read_dataset_data(dataset, name, space), name), read_attributes(dataset)});
    return;
  }
  Variable variable;
  variable.name = name;
  variable.dimensions = read_dimensions(dataset, name, rank);
  variable.data = read_dataset_data(dataset, name, space);
  variable.attributes = read_attributes(dataset);
  variable.fill = read_fill(dataset);
  group.variables.push_back(std::move(variable));
}

/// Names in a group, in the order they were made where the file keeps it.
std::vector<std::string> link_names(hid_t group) {
  std::vector<std::string> names;
  const auto keep = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  H5G_info_t info{};
  verify(H5Gget_info(group, &info), "read the group");
  const H5_index_t index = info.nlinks > 0 && H5Lget_name_by_idx(group, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, 0,
                                                                 nullptr, 0, H5P_DEFAULT) >= 0
                               ? H5_INDEX_CRT_ORDER
                               : H5_INDEX_NAME;
  verify(H5Literate(group, index, H5_ITER_INC, nullptr, keep, &names), "list the group");
  return names;
}

enum class Depth { root, nested };

void read_group(hid_t group_id, Depth depth, Group& group, Dataset& dataset) {
  std::set<std::string> coordinates;
  collect_coordinates(group_id, coordinates);
  group.attributes = read_attributes(group_id);
  std::vector<std::pair<std::string, GroupHandle>> nested;
  for (const std::string& name : link_names(group_id)) {
    ObjectHandle object(H5Oopen(group_id, name.c_str(), H5P_DEFAULT), "open " + name);
    if (H5Iget_type(object) == H5I_GROUP && depth == Depth::root) {
      nested.emplace_back(name, GroupHandle(H5Gopen2(group_id, name.c_str(), H5P_DEFAULT), "open " + name));
    } else if (H5Iget_type(object) == H5I_DATASET) {
      const DatasetHandle handle(H5Dopen2(group_id, name.c_str(), H5P_DEFAULT), "open " + name);
      collect_coordinates(handle, coordinates);
      read_object(handle, name, group);
    } else {
      refuse(name, "groups inside groups and named types are not known");
    }
  }
  for (Variable& variable : group.variables) {
    if (coordinates.contains(variable.name)) variable.role = sweep::Role::coordinate;
  }
  for (const auto& [name, handle] : nested) {
    dataset.groups.push_back({name, {}});
    read_group(handle, Depth::nested, dataset.groups.back().group, dataset);
  }
}

File open_for_reading(const std::filesystem::path& path) {
  Properties access(H5Pcreate(H5P_FILE_ACCESS), "make file properties");
  // Results are replaced as a whole: there is nothing to lock, and some file systems cannot.
  verify(H5Pset_file_locking(access, false, true), "switch file locks off");
  return {H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), "open the file"};
}

}  // namespace

Dataset read_dataset(const std::filesystem::path& path) {
  const File file = open_for_reading(path);
  Dataset dataset;
  read_group(file, Depth::root, dataset.root, dataset);
  if (const auto problem = sweep::inconsistency(dataset)) refuse(path.filename().string(), *problem);
  return dataset;
}

sweep::Attributes read_root_attributes(const std::filesystem::path& path) {
  const File file = open_for_reading(path);
  const GroupHandle root(H5Gopen2(file, "/", H5P_DEFAULT), "open the root group");
  return read_attributes(root);
}

}  // namespace quantbound::store::detail

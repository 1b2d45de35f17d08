/// Which nodes of an ONNX graph matter and in which order: those that the output depends on, the file's order kept
/// wherever it is a topological one. Nodes that nothing reads are dropped unseen; cycles, doubly produced and missing
/// names are errors.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace onnx {
class GraphProto;
}

namespace quantbound::network::detail {

struct LiveNodes {
  std::vector<int> order;              ///< indices of nodes of the graph
  std::map<std::string, int> readers;  ///< how many live nodes read a name's values; the graph output counts as one
  std::set<std::string> tail;          ///< names whose values reach the output unchanged and go nowhere else
};

/// @param known names that need no producer: initializers and the graph input
LiveNodes live_nodes(const ::onnx::GraphProto& graph, const std::string& output, const std::set<std::string>& known,
                     const std::string& file);

}  // namespace quantbound::network::detail

#include "onnx_order.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

namespace {

using Producers = std::unordered_map<std::string, int>;

std::string node_label(const ::onnx::NodeProto& node) {
  const std::string& name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
  return fmt::format("'{}' ({})", name, node.op_type());
}

Producers producers_of(const ::onnx::GraphProto& graph, const std::set<std::string>& known, const std::string& file) {
  Producers producers;
  for (int v = 0; v < graph.node_size(); ++v) {
    for (const std::string& name : graph.node(v).output()) {
      if (name.empty()) continue;
      if (known.contains(name) || !producers.emplace(name, v).second) {
        throw core::InputError(
            fmt::format("value '{}' is produced twice, the second time by node {}", name, node_label(graph.node(v))),
            file);
      }
    }
  }
  return producers;
}

/// Marks the nodes that `output` depends on.
std::vector<char> reachable(const ::onnx::GraphProto& graph, const std::string& output, const Producers& producers,
                            const std::set<std::string>& known, const std::string& file) {
  std::vector<char> live(static_cast<std::size_t>(graph.node_size()), 0);
  std::vector<int> open;
  const auto visit = [&](const std::string& name, const std::string& reader) {
    if (name.empty() || known.contains(name)) return;
    const auto producer = producers.find(name);
    if (producer == producers.end()) {
      throw core::InputError(
          fmt::format("{} reads '{}', which no node, initializer or input provides; the file is incomplete", reader,
                      name),
          file);
    }
    char& mark = live[static_cast<std::size_t>(producer->second)];
    if (mark == 0) open.push_back(producer->second);
    mark = 1;
  };
  visit(output, "the graph output");
  while (!open.empty()) {
    const ::onnx::NodeProto& node = graph.node(open.back());
    open.pop_back();
    for (const std::string& name : node.input()) visit(name, "node " + node_label(node));
  }
  return live;
}

/// Kahn's algorithm, the earliest node of the file first.
std::vector<int> sorted(const ::onnx::GraphProto& graph, const std::vector<char>& live, const Producers& producers,
                        const std::string& file) {
  std::vector<int> missing(live.size(), 0);
  std::vector<std::vector<int>> readers(live.size());
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  std::size_t count = 0;
  for (std::size_t v = 0; v < live.size(); ++v) {
    if (live[v] == 0) continue;
    ++count;
    for (const std::string& name : graph.node(static_cast<int>(v)).input()) {
      const auto producer = producers.find(name);
      if (producer == producers.end()) continue;
      readers[static_cast<std::size_t>(producer->second)].push_back(static_cast<int>(v));
      ++missing[v];
    }
    if (missing[v] == 0) ready.push(static_cast<int>(v));
  }
  std::vector<int> order;
  while (!ready.empty()) {
    order.push_back(ready.top());
    ready.pop();
    for (const int reader : readers[static_cast<std::size_t>(order.back())]) {
      if (--missing[static_cast<std::size_t>(reader)] == 0) ready.push(reader);
    }
  }
  if (order.size() == count) return order;
  for (std::size_t v = 0; v < live.size(); ++v) {
    if (live[v] == 0 || missing[v] == 0) continue;
    throw core::InputError(fmt::format("node {} lies on or behind a cycle; only feed-forward graphs can be read",
                                       node_label(graph.node(static_cast<int>(v)))),
                           file);
  }
  return order;
}

bool keeps_values(std::string_view op) {
  constexpr std::string_view ops[] = {"Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze"};
  return std::find(std::begin(ops), std::end(ops), op) != std::end(ops);
}

std::set<std::string> tail_of(const ::onnx::GraphProto& graph, const std::string& output, const Producers& producers,
                              const std::map<std::string, int>& readers) {
  std::set<std::string> tail;
  std::string name = output;
  while (readers.contains(name) && readers.at(name) == 1 && tail.insert(name).second) {
    const auto producer = producers.find(name);
    if (producer == producers.end()) break;
    const ::onnx::NodeProto& node = graph.node(producer->second);
    if (!keeps_values(node.op_type()) || node.input_size() == 0) break;
    name = node.input(0);
  }
  return tail;
}

}  // namespace

LiveNodes live_nodes(const ::onnx::GraphProto& graph, const std::string& output, const std::set<std::string>& known,
                     const std::string& file) {
  const Producers producers = producers_of(graph, known, file);
  const std::vector<char> live = reachable(graph, output, producers, known, file);
  LiveNodes result;
  result.order = sorted(graph, live, producers, file);
  for (const int v : result.order) {
    if (graph.node(v).op_type() == "Shape") continue;  // reads the shape, not the values
    for (const std::string& name : graph.node(v).input()) ++result.readers[name];
  }
  ++result.readers[output];
  result.tail = tail_of(graph, output, producers, result.readers);
  return result;
}

}  // namespace quantbound::network::detail

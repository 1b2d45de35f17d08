#include "quantbound/core/error.hpp"

#include <utility>

namespace quantbound::core {

Error::Error(const std::string& message, std::string where)
    : std::runtime_error(where.empty() ? message : message + " (" + where + ")"), where_(std::move(where)) {}

UnsupportedOperator::UnsupportedOperator(std::string op, std::string node, const std::string& message,
                                         const std::string& file)
    : InputError("operator " + op + " of node '" + node + "' is not supported: " + message, file),
      op_(std::move(op)),
      node_(std::move(node)) {}

}  // namespace quantbound::core

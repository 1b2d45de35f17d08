/// The two kinds of error. What the user or the system did wrong is a typed exception that carries its data; what we
/// did wrong is QUANTBOUND_ASSERT (assert.hpp). Libraries throw and never print or exit; apps/ turns the type into one
/// line `quantbound: error: WHAT (WHERE)` and an exit code: InputError 2, everything else 1.
#pragma once

#include <stdexcept>
#include <string>

namespace quantbound::core {

/// Base of all errors that are not ours. `what()` is "WHAT (WHERE)", or "WHAT" where there is no place.
class Error : public std::runtime_error {
 public:
  Error(const std::string& message, std::string where);
  /// The place: a file with line and column, a node, a layer, a path. May be empty.
  const std::string& where() const { return where_; }

 private:
  std::string where_;
};

/// A study, a network file, samples or an option that cannot be used. The message says what to do instead.
class InputError : public Error {
 public:
  using Error::Error;
};

/// A network with an operator, or a form of one, that we do not have.
class UnsupportedOperator : public InputError {
 public:
  UnsupportedOperator(std::string op, std::string node, const std::string& message, const std::string& file);
  const std::string& op() const { return op_; }
  const std::string& node() const { return node_; }

 private:
  std::string op_;
  std::string node_;
};

/// The system refused: no space left, no permission, a file that vanished.
class IoError : public Error {
 public:
  IoError(const std::string& message, std::string path) : Error(message, std::move(path)) {}
  const std::string& path() const { return where(); }
};

/// A computation that could not be completed with finite numbers.
class NumericalError : public Error {
 public:
  using Error::Error;
};

}  // namespace quantbound::core

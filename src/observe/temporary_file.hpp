/// A file without a name in $TMPDIR (else /tmp): the system removes it when the process ends, however it ends.
#pragma once

#include <span>
#include <string>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::observe::detail {

using tensor::Index;

/// Numbers at offsets counted in numbers. All members throw core::IoError that says what to do.
class TemporaryFile {
 public:
  TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();

  void write(Index offset, std::span<const double> values);
  /// Fills `values`; several threads may read. @pre all of it has been written
  void read(Index offset, std::span<double> values) const;

 private:
  std::string directory_;
  int descriptor_ = -1;
};

}  // namespace quantbound::observe::detail

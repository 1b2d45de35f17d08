#include "quantbound/bounds/table_gain.hpp"

#include <cmath>

namespace quantbound::bounds {

double log10_table_gain(const TableRow& row) {
  const double old_constant =
      std::log10(row.old_width) + 2.0 * std::log10(row.depth) + (row.depth - 1.0) * std::log10(row.old_r);
  const double new_constant =
      std::log10(row.depth) + std::log10(row.new_width) + (row.depth - 1.0) * std::log10(row.r_conv);
  return old_constant - new_constant;
}

}  // namespace quantbound::bounds

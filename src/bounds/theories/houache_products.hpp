/// P_l of Theorem 4.1 of arXiv 2502.01156 on a graph: T_l H_l, with the gains r_l.
///
/// |dW_l y'_u + db_l| <= max(D, 1) n_l max(|dW_l|, |db_l|) H_u, where H_u must be at least 1 if biases moved: the
/// constant 1 in front of db_l may exceed |y'_u|. (docs/theory.md 1.3, remark 4, leaves that out: with W_1 = 0 and a
/// moved b_2 its P_2 would be 0.) On a chain with kept biases T_l H_l is docs/theory.md's max_{i <= l-1} prod_{j >= i,
/// j != l} r_j.
#pragma once

#include "quantbound/bounds/path_products.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds::detail {

inline std::vector<core::Upper> houache_products(const NormInput& input) {
  const std::vector<core::Upper> gains = to_upper(augmented_norms(input));
  const PathProducts products = path_products(input.graph, input.domain, gains, Constants::added);
  std::vector<core::Upper> result;
  for (std::size_t l = 0; l < gains.size(); ++l) {
    const bool bias_moved = input.quantized[l].delta_bias_max > 0.0;
    const core::Upper head = bias_moved ? max(products.head[l], core::Upper(1.0)) : products.head[l];
    result.push_back(products.tail[l] * head);
  }
  return result;
}

}  // namespace quantbound::bounds::detail

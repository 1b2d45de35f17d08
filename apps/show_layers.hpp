/// `quantbound show --layers`: what every weight layer does to the deviation in one configuration, from a result file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "stored_result.hpp"

namespace quantbound::apps {

/// One weight layer; NaN where the file has no number.
struct ShownLayer {
  std::string name, op;
  double weight_norm = 0, delta_norm = 0;  ///< operator norms inf->inf of W and of W' - W
  double deviation = 0;                    ///< after the layer and its activation, inf-norm
  double amplification = 0, local = 0;     ///< X_l; the 2-norm of what the layer's own quantization adds
  double share = 0;                        ///< of the propagated error of the output
};

struct ShownLayers {
  std::string samples;  ///< the set that they were measured on
  std::int64_t sample_count = 0;
  std::vector<ShownLayer> layers;
};

/// Throws core::InputError where the file has no measurement of layers for the network, or not on these samples.
ShownLayers read_layers(const StoredResult& result, const std::string& network, std::size_t configuration,
                        const std::optional<std::string>& samples);
std::string to_text(const ShownLayers& shown);
std::string to_json(const ShownLayers& shown);

}  // namespace quantbound::apps

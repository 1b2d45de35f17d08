/// The options that the verbs for one network share (docs/design.md section 7): which configuration, which domain.
#pragma once

#include <optional>
#include <string>

#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"

#include "verb.hpp"

namespace quantbound::apps {

void add_input_options(options::options_description& all);
/// `quantizers`: what --quantizer may be, in words.
void add_configuration_options(options::options_description& all,
                               const char* quantizers = "floor, round, truncate or stochastic");
void add_domain_options(options::options_description& all);

/// --threads, where it is given.
std::optional<int> read_threads(const options::variables_map& values);
/// The network of `input`, or of another option, with --input-shape.
network::Network read_network_argument(const options::variables_map& values, const char* option = "input");
/// --bits --edge-bits --quantizer --granularity --step --grid --seed.
quantize::Configuration read_configuration(const options::variables_map& values);
/// The same without --quantizer: that of the result is round to nearest.
quantize::Configuration read_grids(const options::variables_map& values);
/// Throws core::InputError where the domain options contradict each other.
void require_one_domain(const options::variables_map& values);
/// --box, --vnnlib, --around with --radius and --clip, or the box that the file brings. Throws core::InputError where
/// there is none, or more than one.
network::Box read_domain(const options::variables_map& values, const network::Network& network);

}  // namespace quantbound::apps

// Every bound of a network for inputs in [0, 1] and weights of 4 bits: bounds_of_a_network NETWORK
#include <cmath>
#include <iostream>
#include <vector>

#include <quantbound/bounds/bound_table.hpp>
#include <quantbound/network/readers.hpp>

int main(int, char** arguments) {
  using namespace quantbound;
  const network::Network net = network::read_network(arguments[1]);
  const auto inputs = static_cast<std::size_t>(tensor::elements(net.graph.input_shape()));
  const network::Box domain{.low = std::vector(inputs, 0.0), .high = std::vector(inputs, 1.0)};
  const auto table = bounds::evaluate_theories(net, domain, {.granularity = quantize::Granularity::channel, .bits = 4});
  std::cout.precision(17);
  for (std::size_t t = 0; t < table.results.size(); ++t) {
    const auto& bound = table.results[t].bound;  // none where its assumptions fail
    std::cout << bounds::theories()[t].name << ' ' << (bound ? bound->log10() : NAN) << '\n';
  }
}

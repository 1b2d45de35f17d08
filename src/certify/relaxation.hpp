/// Linear relaxations of one activation node, for functionals whose coefficients are known (docs/theory.md 5.5). Of one
/// network, p act(x) <= a x + c over an interval. Of a pair, p act(y) + q (act(y') - act(y)) <= a y + b d + c over
/// everything that is known of the neuron: the hexagon that the intervals of y, y' and d = y' - y cut out. Every slope
/// is sound, because c is the largest residual over the vertices of the pieces into which the kinks of the activation
/// cut interval or hexagon; what a method chooses are the slopes. Here: of the envelope above the middle (CROWN); for a
/// pair the best of both apart, act(y) and the difference, act(y') and the difference (NeuroDiff's lines in d).
/// Offsets are rounded up for the very slopes used (9.5.4). Sigmoid and tanh have no vertices: chords where they bend
/// the right way, tangents, lines of the smallest slope, and sigma'(xi) d for the difference, slopes and offsets fixed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

#include "row_sum.hpp"

namespace quantbound::certify::detail {

using network::Activation;

bool is_piecewise_linear(const Activation& activation);
/// Where its slope changes; empty for curved functions.
std::vector<double> kinks_of(const Activation& activation);
/// Sigmoid and tanh.
bool is_sigmoidal(const Activation& activation);

/// A line above act and a line below it. The offsets are those of sigmoidal functions, others have vertices.
struct Lines {
  double upper = 0.0, lower = 0.0;
  double upper_offset = 0.0, lower_offset = 0.0;
};

/// A plane whose slopes follow the coefficients: a = (s + x sign p) p + (w + x narrowness sign q) q and
/// b = (t + z sign q) q + (v + z sign p) p. What the relaxation chose is in s, w, t, v; an optimiser moves x and z.
struct PlaneForm {
  double s = 0.0, w = 0.0, t = 0.0, v = 0.0;
  double x = 0.0, z = 0.0;
};

/// Which neurons need no relaxation, and vertices of those that do. Arrays hold neuron after neuron for each vertex.
struct Vertices {
  std::vector<double> factor;    ///< per neuron: 1 where the activation is the identity, 0 where it vanishes
  std::vector<Index> relaxed;    ///< the others
  Index count = 0;               ///< vertices per neuron
  std::vector<double> y, d;      ///< `d` and `g` only for pairs
  std::vector<double> r, g;      ///< act(y), act(y + d) - act(y)
  std::vector<double> extent_y;  ///< largest magnitude in play: errors of c are proportional to it
  std::vector<double> extent_d;  ///< the same, zero where d vanishes
  Index neurons() const { return std::ssize(relaxed); }
};

class SingleRelaxation {
 public:
  SingleRelaxation() = default;
  SingleRelaxation(const Activation& activation, const Box& input);
  /// Coefficients on the output become coefficients on the input, in place.
  void apply(std::span<double> p, RowSum& sum) const;

  /// The same with slopes from outside where p < 0, a = p slope per relaxed neuron; `active` receives the vertex that
  /// decided each offset.
  void apply(std::span<double> p, std::span<const double> slopes, std::span<std::uint8_t> active, RowSum& sum) const;
  /// The slopes that the first apply takes.
  void initial_slopes(std::span<double> slopes) const;
  double upper_slope(Index j) const { return upper_[static_cast<std::size_t>(j)]; }
  const Vertices& vertices() const { return vertices_; }

 private:
  Vertices vertices_;
  std::vector<double> upper_, lower_;  ///< slopes per relaxed neuron
  std::vector<double> upper_offset_, lower_offset_;
};

class PairRelaxation {
 public:
  PairRelaxation() = default;
  /// `strips`: neurons that were only assumed to be on different pieces in f and f_q. The box of y is narrow by that
  /// assumption alone, so planes should not lean on it: only those in act(y) and the difference compete.
  PairRelaxation(const Activation& activation, const PairBox& input, std::span<const Index> strips = {});
  /// Coefficients on output and output difference become coefficients on y and d, in place.
  void apply(std::span<double> p, std::span<double> q, RowSum& sum) const;
  /// How far the planes of the first apply lie above what they replace, over the middle of each relaxed neuron.
  std::vector<double> gaps(std::span<const double> p, std::span<const double> q) const;

  /// The planes that the first apply takes for these coefficients, as forms per relaxed neuron.
  void initial_forms(std::span<const double> p, std::span<const double> q, std::span<PlaneForm> forms) const;
  /// The same with planes from outside; `active` receives the vertex that decided each offset.
  void apply(std::span<double> p, std::span<double> q, std::span<const PlaneForm> forms, std::span<std::uint8_t> active,
             RowSum& sum) const;
  /// Of relaxed neuron j: how much narrower the interval of d is than that of y; at most 1.
  double narrowness(Index j) const { return narrowness_[static_cast<std::size_t>(j)]; }
  const Vertices& vertices() const { return vertices_; }

 private:
  struct Chunk;
  void add_neuron(const Activation& activation, std::span<const double> kinks, const PairBox& input, Index j);
  void gather(std::span<const double> p, std::span<const double> q, Chunk& work) const;
  /// Calls visit(work) for the relaxed neurons, some at a time, with their coefficients.
  template <class Visit>
  void for_each_chunk(std::span<const double> p, std::span<const double> q, const Visit& visit) const;
  /// apply() with the planes that choose(work) finds best.
  template <class Choose>
  void replace(std::span<double> p, std::span<double> q, RowSum& sum, const Choose& choose) const;
  void candidates(Chunk& work) const;
  void add_sigmoidal_neuron(const Activation& activation, const PairBox& input, Index j);
  void compete(Chunk& work, double kind) const;

  Vertices vertices_;
  std::vector<Lines> f_, fq_, d_;  ///< per relaxed neuron
  std::vector<double> narrowness_;
  std::vector<double> penalty_;              ///< of planes that are not in act(y) and the difference
  std::vector<double> middle_y_, middle_d_;  ///< where planes are compared
  std::vector<double> middle_r_, middle_g_;  ///< act(y), act(y + d) - act(y) there
};

}  // namespace quantbound::certify::detail

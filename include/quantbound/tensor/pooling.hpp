/// Pooling of a batch of images in double: largest value, average (both rules for the divisor), sum over a window, and
/// the average of a whole channel. Sums run over the window row by row, always in the same order. Data: batch x
/// {channels, height, width}, row-major; each channel is pooled alone.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

struct Image {
  Index channels = 1, height = 1, width = 1;
  Index pixels() const { return height * width; }
  Index elements() const { return channels * height * width; }
};

/// What the average over a window is divided by: the number of its positions inside the image, or all of them.
enum class Divisor { inside, window };

/// Largest value inside the image. @pre every position of the window covers some of the image
std::vector<double> max_pool(const Window& window, const Image& image, std::span<const double> input, Index batch);
/// @pre with Divisor::inside, every position of the window covers some of the image
std::vector<double> average_pool(const Window& window, const Image& image, Divisor divisor,
                                 std::span<const double> input, Index batch);
/// Sum over the window; positions outside the image count as zeros.
std::vector<double> sum_pool(const Window& window, const Image& image, std::span<const double> input, Index batch);
/// batch x channels.
std::vector<double> global_average_pool(const Image& image, std::span<const double> input, Index batch);

std::vector<double> max_pool_reference(const Window& window, const Image& image, std::span<const double> input,
                                       Index batch);
std::vector<double> average_pool_reference(const Window& window, const Image& image, Divisor divisor,
                                           std::span<const double> input, Index batch);
std::vector<double> sum_pool_reference(const Window& window, const Image& image, std::span<const double> input,
                                       Index batch);

/// Number of positions of the window inside the image, for each of its out_height x out_width places.
std::vector<Index> inside_counts(const Window& window, const Image& image);

}  // namespace quantbound::tensor

// Reading and normalising blocks of 32 images 224 x 224 x 3, stored channels last, wanted channels first. Beside it the
// time to allocate the block that is returned, which is most of it.
#include <filesystem>
#include <fstream>
#include <string>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "quantbound/observe/samples.hpp"

namespace quantbound::observe {
namespace {

constexpr Index images = 128, batch = 32, size = Index{224} * 224 * 3;

/// A .npy file of images of one element type, all zero, removed at the end.
class ImageFile {
 public:
  ImageFile(const std::string& type, Index element_size)
      : path_(std::filesystem::temp_directory_path() / ("quantbound-bench-" + std::to_string(getpid()) + ".npy")) {
    std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (128, 224, 224, 3)}";
    header.resize(118, ' ');
    std::ofstream(path_, std::ios::binary) << "\x93NUMPY" << '\x01' << '\0' << '\x76' << '\0' << header;
    std::filesystem::resize_file(path_, 128 + static_cast<std::uintmax_t>(images * size * element_size));
  }
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;
  ~ImageFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

void report(benchmark::State& state) {
  state.counters["s/image"] = benchmark::Counter(
      static_cast<double>(batch), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void block(benchmark::State& state, const std::string& type, Index element_size) {
  const ImageFile file(type, element_size);
  const SampleSet set({.name = "images",
                       .images = file.path(),
                       .layout = Layout::nhwc,
                       .scale = 255.0,
                       .mean = {0.485, 0.456, 0.406},
                       .std = {0.229, 0.224, 0.225}});
  Index first = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(set.block({3, 224, 224}, first, batch));
    first = (first + batch) % images;
  }
  report(state);
}
BENCHMARK_CAPTURE(block, uint8, "|u1", 1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block, int32, "<i4", 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block, float32, "<f4", 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block, float32_big_endian, ">f4", 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block, float64, "<f8", 8)->Unit(benchmark::kMillisecond);

void allocation_of_a_block(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(std::vector<double>(static_cast<std::size_t>(batch * size)));
  report(state);
}
BENCHMARK(allocation_of_a_block)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantbound::observe

BENCHMARK_MAIN();

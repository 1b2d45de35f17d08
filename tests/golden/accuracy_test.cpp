// Accuracies of real networks on real images, counted in float and compared with counts that others made: those of
// the MANIFEST.md of the shared data (MNIST, the 100 lossless CIFAR images), and those of onnxruntime-node 1.30 on the
// very same images (the 2000 JPEG CIFAR images and the 100 ImageNet images, for which MANIFEST.md has percentages of
// other selections).
#include <filesystem>

#include <gtest/gtest.h>

#include "quantbound/network/readers.hpp"
#include "quantbound/observe/deviation.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound {
namespace {

using observe::Index;
using observe::Layout;
using observe::SampleSpec;

const std::string data = QUANTBOUND_SHARED_DATA;

/// The images of a data set in the normalisation of a network.
SampleSpec mnist() {
  return {.images = data + "/data/mnist/t10k-images-idx3-ubyte",
          .labels = data + "/data/mnist/t10k-labels-idx1-ubyte",
          .scale = 255.0};
}
SampleSpec cifar(const std::string& part, double scale, std::vector<double> mean, std::vector<double> deviation) {
  return {.images = data + "/data/cifar10/" + part + "_X.npy",
          .labels = data + "/data/cifar10/" + part + "_y.npy",
          .layout = Layout::nhwc,
          .scale = scale,
          .mean = std::move(mean),
          .std = std::move(deviation)};
}
SampleSpec imagenet(double scale, std::vector<double> mean, std::vector<double> deviation) {
  return {.images = data + "/data/imagenet/sample100_224_X.npy",
          .labels = data + "/data/imagenet/sample100_224_y.npy",
          .layout = Layout::nhwc,
          .scale = scale,
          .mean = std::move(mean),
          .std = std::move(deviation)};
}
const std::vector<double> usual_mean{0.485, 0.456, 0.406}, usual_std{0.229, 0.224, 0.225};

Index count_correct(const std::string& model, const SampleSpec& spec) {
  const auto network = network::read_network(data + "/models/" + model);
  const observe::SampleSet set(spec);
  const auto& shape = network.graph.input_shape();
  set.require_fits(shape, model);
  const Index piece = 8 * observe::micro_batch(network.graph);
  Index correct = 0;
  for (Index first = 0; first < set.count(); first += piece) {
    const Index count = std::min(piece, set.count() - first);
    const auto labels =
        std::span(set.labels()).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    correct += observe::observe(network.graph, network.layers, std::span<const quantize::Configuration>{},
                                set.block(shape, first, count), labels, {.precision = observe::Precision::float32})
                   .correct_reference;
  }
  return correct;
}

struct Expected {
  std::string model;
  SampleSpec samples;
  Index correct;
};
void PrintTo(const Expected& expected, std::ostream* out) {
  *out << expected.model << " on " << expected.samples.images;
}

class Accuracy : public ::testing::TestWithParam<Expected> {};

TEST_P(Accuracy, IsTheCountThatOthersMade) {
  if (!std::filesystem::exists(data)) GTEST_SKIP() << "no shared data at " << data;
  const auto& expected = GetParam();

  EXPECT_EQ(count_correct(expected.model, expected.samples), expected.correct);
}

INSTANTIATE_TEST_SUITE_P(Mnist, Accuracy,
                         ::testing::Values(Expected{"mnist/qebverif_mnist_1blk_100.onnx", mnist(), 9692},
                                           Expected{"mnist/qebverif_mnist_2blk_100_100.onnx", mnist(), 9707},
                                           Expected{"mnist/qebverif_mnist_3blk_100_100_100.onnx", mnist(), 9671},
                                           Expected{"mnist/mnist-net_256x2.onnx", mnist(), 9808},
                                           Expected{"mnist/mnist-net_256x4.onnx", mnist(), 9764},
                                           Expected{"mnist/mnist_relu_9_200.onnx", mnist(), 9495},
                                           Expected{"mnist/ffnnSIGMOID_6x200.onnx", mnist(), 9766},
                                           Expected{"mnist/reludiff_mnist_relu_3_100.nnet", mnist(), 9654}));

INSTANTIATE_TEST_SUITE_P(
    Cifar, Accuracy,
    ::testing::Values(
        Expected{"cifar10/resnet20_cifar10_folded.onnx", cifar("exact100", 255.0, usual_mean, usual_std), 94},
        Expected{"cifar10/resnet20_cifar10_bn.onnx", cifar("exact100", 255.0, usual_mean, usual_std), 94},
        Expected{"cifar10/resnet32_cifar10_folded.onnx", cifar("exact100", 255.0, usual_mean, usual_std), 92},
        Expected{"cifar10/resnet44_cifar10_folded.onnx", cifar("exact100", 255.0, usual_mean, usual_std), 93},
        Expected{"cifar10/resnet20_cifar10_folded.onnx", cifar("jpeg2000", 255.0, usual_mean, usual_std), 1627},
        Expected{"cifar10/resnet32_cifar10_folded.onnx", cifar("jpeg2000", 255.0, usual_mean, usual_std), 1676},
        Expected{"cifar10/resnet44_cifar10_folded.onnx", cifar("jpeg2000", 255.0, usual_mean, usual_std), 1644},
        Expected{"cifar10/mlperf_resnet8_float.onnx", cifar("exact100", 1.0, {}, {}), 88},
        Expected{"cifar10/mlperf_resnet8_float.onnx", cifar("jpeg2000", 1.0, {}, {}), 1528}));

INSTANTIATE_TEST_SUITE_P(
    ImageNet, Accuracy,
    ::testing::Values(Expected{"imagenet/mbv2_1.0_tv_float_folded.onnx", imagenet(255.0, usual_mean, usual_std), 84},
                      Expected{"imagenet/squeezenet1.1_float.onnx", imagenet(255.0, usual_mean, usual_std), 63},
                      Expected{"imagenet/mbv1_0.25_224_float_folded.onnx", imagenet(127.5, {1.0}, {}), 63},
                      Expected{"imagenet/mbv1_0.25_224_float_bn.onnx", imagenet(127.5, {1.0}, {}), 63}));

}  // namespace
}  // namespace quantbound

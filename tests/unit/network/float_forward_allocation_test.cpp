// Counts calls of operator new while the float engine runs. oneDNN 2.6 builds a small table of the arguments of every
// primitive that it executes; those calls come from its shared library and are told apart by the return address.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "quantbound/network/float_forward.hpp"

#include "random_graph.hpp"

namespace {

std::atomic<bool> counting{false};
std::atomic<long> ours{0}, of_libraries{0}, largest{0};

/// The object file that this address lies in.
const void* object_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

void count(std::size_t size, const void* caller) {
  if (!counting) return;
  ++(object_of(caller) == object_of(reinterpret_cast<const void*>(&object_of)) ? ours : of_libraries);
  if (static_cast<long>(size) > largest) largest = static_cast<long>(size);
}

void* allocate(std::size_t size, std::size_t alignment) {
  // aligned_alloc wants a multiple of the alignment
  void* memory = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

[[gnu::noinline]] void release(void* memory) { std::free(memory); }  // inlined, GCC takes it for a mismatch with new

}  // namespace

// The replacements of the whole test program: all forms, because those that are left out belong to the sanitizer.
void* operator new(std::size_t size) {
  count(size, __builtin_return_address(0));
  return allocate(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size) {
  count(size, __builtin_return_address(0));
  return allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  count(size, __builtin_return_address(0));
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  count(size, __builtin_return_address(0));
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  count(size, __builtin_return_address(0));
  return std::malloc(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  count(size, __builtin_return_address(0));
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace quantbound::network {
namespace {

/// What run() and use() allocate once the engine has run.
void count_a_run(const Network& network, Index batch, std::span<const NodeId> captured) {
  FloatForward engine(network.graph, batch, captured);
  const std::array weights{engine.make_weights(network.layers), engine.make_weights(network.layers)};
  const std::vector<float> samples(static_cast<std::size_t>(batch * tensor::elements(network.graph.input_shape())),
                                   0.5F);
  engine.use(weights[0]);
  engine.run(samples);

  ours = of_libraries = largest = 0;
  counting = true;
  engine.use(weights[1]);
  engine.run(samples);
  counting = false;
}

TEST(FloatForwardAllocation, TheCounterSeesWhatWeAllocate) {
  ours = 0;
  counting = true;
  void* memory = ::operator new(100);  // a call: a new expression might be optimized away
  counting = false;
  ::operator delete(memory);
  EXPECT_EQ(ours, 1);
}

TEST(FloatForwardAllocation, NothingOfOursAfterTheFirstRun) {
  const void* library = object_of(dlsym(RTLD_DEFAULT, "dnnl_primitive_execute"));
  if (library == nullptr || library == object_of(reinterpret_cast<const void*>(&object_of)))
    GTEST_SKIP() << "oneDNN is linked statically: its allocations cannot be told from ours";
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Network network = testing::random_network(seed);
    const auto last = static_cast<NodeId>(seed % network.graph.nodes.size());
    const std::vector<NodeId> captured{std::max<NodeId>(last, 1)};
    count_a_run(network, static_cast<Index>(1 + seed % 8), captured);

    EXPECT_EQ(ours, 0);
    EXPECT_LE(largest, 1024) << "oneDNN's tables of arguments are small; a buffer would be larger";
  }
}

}  // namespace
}  // namespace quantbound::network

/// Counts calls of operator new: include it in one file of a test program, whose operators it replaces. oneDNN 2.6
/// builds a small table of the arguments of every primitive that it executes; those calls come from its shared library
/// and are told apart by the return address.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include <dlfcn.h>

namespace quantbound::testing {

inline std::atomic<bool> counting{false};
inline std::atomic<long> ours{0}, of_libraries{0}, largest{0};

/// The object file that this address lies in.
inline const void* object_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

inline void count(std::size_t size, const void* caller) {
  if (!counting) return;
  ++(object_of(caller) == object_of(reinterpret_cast<const void*>(&object_of)) ? ours : of_libraries);
  if (static_cast<long>(size) > largest) largest = static_cast<long>(size);
}

inline void* allocate(std::size_t size, std::size_t alignment) {
  // aligned_alloc wants a multiple of the alignment
  void* memory = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

/// Inlined, GCC takes it for a mismatch with new.
[[gnu::noinline]] inline void release(void* memory) { std::free(memory); }

/// Whether what oneDNN allocates can be told from what we do: not where it is linked statically.
inline bool knows_onednn() {
  const void* library = object_of(dlsym(RTLD_DEFAULT, "dnnl_primitive_execute"));
  return library != nullptr && library != object_of(reinterpret_cast<const void*>(&object_of));
}

}  // namespace quantbound::testing

// The replacements of the whole test program: all forms, because those that are left out belong to the sanitizer.
void* operator new(std::size_t size) {
  quantbound::testing::count(size, __builtin_return_address(0));
  return quantbound::testing::allocate(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size) {
  quantbound::testing::count(size, __builtin_return_address(0));
  return quantbound::testing::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  quantbound::testing::count(size, __builtin_return_address(0));
  return quantbound::testing::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  quantbound::testing::count(size, __builtin_return_address(0));
  return quantbound::testing::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  quantbound::testing::count(size, __builtin_return_address(0));
  return std::malloc(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  quantbound::testing::count(size, __builtin_return_address(0));
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { quantbound::testing::release(memory); }
void operator delete[](void* memory) noexcept { quantbound::testing::release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { quantbound::testing::release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { quantbound::testing::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { quantbound::testing::release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { quantbound::testing::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { quantbound::testing::release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { quantbound::testing::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { quantbound::testing::release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { quantbound::testing::release(memory); }

// What code that is compiled with -fsanitize=thread calls, answered by the Explorer. The names and
// what they take are GCC's (gcc/sanitizer.def; sanitizer/tsan_interface_atomic.h).

#include <pthread.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "tests/litmus/explorer.h"

namespace xencomm::litmus {
namespace {

std::uintptr_t At(const volatile void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

// Runs `watched` with the Explorer when a thread of the program asks, and `otherwise` if not.
template <class Watched, class Otherwise>
auto Ask(Watched watched, Otherwise otherwise) {
  Explorer& explorer = Explorer::Get();
  if (!explorer.is_watching()) return otherwise();
  const Explorer::Answering answering;
  return watched(explorer);
}

void Plain(const volatile void* start, std::size_t bytes, MemoryModel::Access access) {
  Ask([&](Explorer& explorer) { explorer.Touch(At(start), bytes, access); }, [] {});
}

template <class T>
T Load(const volatile T* a, const Site& site) {
  return Ask(
      [&](Explorer& explorer) { return static_cast<T>(explorer.Load(At(a), sizeof(T), site)); },
      [a] { return T{*a}; });
}

template <class T>
void Store(volatile T* a, T value, const Site& site) {
  Ask([&](Explorer& explorer) { explorer.Store(At(a), sizeof(T), value, site); },
      [=] { *a = value; });
}

template <class T, class Change>
T Update(volatile T* a, const Site& site, Change change) {
  return Ask(
      [&](Explorer& explorer) {
        return static_cast<T>(explorer.Update(At(a), sizeof(T), site, [&](std::uint64_t old) {
          return std::uint64_t{change(static_cast<T>(old))};
        }));
      },
      [&] {
        const T old = *a;
        *a = change(old);
        return old;
      });
}

template <class T>
bool Exchange(volatile T* a, T* expected, T value, const Site& site, const Site& failed) {
  const T found = Ask(
      [&](Explorer& explorer) {
        return static_cast<T>(explorer.Exchange(At(a), sizeof(T), *expected, value, site, failed));
      },
      [&] {
        const T old = *a;
        if (old == *expected) *a = value;
        return old;
      });
  const bool is_done = found == *expected;
  *expected = found;
  return is_done;
}

}  // namespace
}  // namespace xencomm::litmus

#pragma GCC diagnostic ignored "-Wmissing-declarations"

#define HERE reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

#define PLAIN(bytes)                                                                       \
  void __tsan_read##bytes(void* p) { Plain(p, bytes, MemoryModel::kPlainRead); }           \
  void __tsan_write##bytes(void* p) { Plain(p, bytes, MemoryModel::kPlainWrite); }         \
  void __tsan_unaligned_read##bytes(void* p) { Plain(p, bytes, MemoryModel::kPlainRead); } \
  void __tsan_unaligned_write##bytes(void* p) { Plain(p, bytes, MemoryModel::kPlainWrite); }

#define UPDATE(bits, name, expression)                                                       \
  Word##bits __tsan_atomic##bits##_##name(volatile Word##bits* a, Word##bits v, int order) { \
    return Update(a, {HERE, Site::kUpdate, order},                                           \
                  [v](Word##bits old) { return static_cast<Word##bits>(expression); });      \
  }

#define EXCHANGE(bits, strength)                                                           \
  bool __tsan_atomic##bits##_compare_exchange_##strength(                                  \
      volatile Word##bits* a, Word##bits* expected, Word##bits v, int order, int failed) { \
    return Exchange(a, expected, v, {HERE, Site::kUpdate, order},                          \
                    {HERE, Site::kFailedUpdate, failed});                                  \
  }

#define ATOMIC(bits)                                                                  \
  using Word##bits = std::uint##bits##_t;                                             \
  Word##bits __tsan_atomic##bits##_load(const volatile Word##bits* a, int order) {    \
    return Load(a, {HERE, Site::kLoad, order});                                       \
  }                                                                                   \
  void __tsan_atomic##bits##_store(volatile Word##bits* a, Word##bits v, int order) { \
    Store(a, v, {HERE, Site::kStore, order});                                         \
  }                                                                                   \
  UPDATE(bits, exchange, (static_cast<void>(old), v))                                 \
  UPDATE(bits, fetch_add, old + v)                                                    \
  UPDATE(bits, fetch_sub, old - v)                                                    \
  UPDATE(bits, fetch_and, old& v)                                                     \
  UPDATE(bits, fetch_or, old | v)                                                     \
  UPDATE(bits, fetch_xor, old ^ v)                                                    \
  EXCHANGE(bits, strong)                                                              \
  EXCHANGE(bits, weak)

using xencomm::litmus::Ask;
using xencomm::litmus::Exchange;
using xencomm::litmus::Explorer;
using xencomm::litmus::Load;
using xencomm::litmus::MemoryModel;
using xencomm::litmus::Plain;
using xencomm::litmus::Site;
using xencomm::litmus::Store;
using xencomm::litmus::Update;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
// The pointer to an object's virtual functions.
void __tsan_vptr_update(void** p, void*) { Plain(p, sizeof(*p), MemoryModel::kPlainWrite); }
void __tsan_vptr_read(void** p) { Plain(p, sizeof(*p), MemoryModel::kPlainRead); }

PLAIN(1) PLAIN(2) PLAIN(4) PLAIN(8) PLAIN(16) void __tsan_read_range(void* p, std::size_t bytes) {
  Plain(p, bytes, MemoryModel::kPlainRead);
}
void __tsan_write_range(void* p, std::size_t bytes) { Plain(p, bytes, MemoryModel::kPlainWrite); }

ATOMIC(8) ATOMIC(16) ATOMIC(32) ATOMIC(64) void __tsan_atomic_thread_fence(int order) {
  const Site site = {HERE, Site::kFence, order};
  Ask([&](Explorer& explorer) { explorer.Fence(site); }, [] {});
}
void __tsan_atomic_signal_fence(int) {}

// Calls that the linker leads here (--wrap).
void* __real_memcpy(void* to, const void* from, std::size_t bytes);
void* __wrap_memcpy(void* to, const void* from, std::size_t bytes) {
  Plain(from, bytes, MemoryModel::kPlainRead);
  Plain(to, bytes, MemoryModel::kPlainWrite);
  return __real_memcpy(to, from, bytes);
}
void* __real_memmove(void* to, const void* from, std::size_t bytes);
void* __wrap_memmove(void* to, const void* from, std::size_t bytes) {
  Plain(from, bytes, MemoryModel::kPlainRead);
  Plain(to, bytes, MemoryModel::kPlainWrite);
  return __real_memmove(to, from, bytes);
}
void* __real_memset(void* to, int byte, std::size_t bytes);
void* __wrap_memset(void* to, int byte, std::size_t bytes) {
  Plain(to, bytes, MemoryModel::kPlainWrite);
  return __real_memset(to, byte, bytes);
}
int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  return Ask([&](Explorer& explorer) { return explorer.Lock(mutex), 0; },
             [&] { return __real_pthread_mutex_lock(mutex); });
}
int __real_pthread_mutex_unlock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
  return Ask([&](Explorer& explorer) { return explorer.Unlock(mutex), 0; },
             [&] { return __real_pthread_mutex_unlock(mutex); });
}

}  // extern "C"

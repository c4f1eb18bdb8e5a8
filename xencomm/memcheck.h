// What valgrind's memcheck is told of memory that a hypervisor reads and writes: it sees neither.
//
// In a program that does not run under it, and when this was built without valgrind's header,
// nothing is watched. Asking whether it is costs a load.
#ifndef XENCOMM_MEMCHECK_H_
#define XENCOMM_MEMCHECK_H_

#include <algorithm>
#include <array>
#include <cstddef>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif

namespace xencomm::memcheck {

#if __has_include(<valgrind/memcheck.h>)

// Whether all of it may be read, as much as it may be said to be. No complaint.
inline bool IsReadable(const void* start, std::size_t bytes) {
  std::array<std::byte, 4096> bits;
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t piece = std::min(bits.size(), bytes - done);
    if (VALGRIND_GET_VBITS(static_cast<const std::byte*>(start) + done, bits.data(), piece) != 1) {
      return false;
    }
    done += piece;
  }
  return true;
}

inline void SetUndefined(const void* start, std::size_t bytes) {
  VALGRIND_MAKE_MEM_UNDEFINED(start, bytes);
}
inline void SetDefined(const void* start, std::size_t bytes) {
  VALGRIND_MAKE_MEM_DEFINED(start, bytes);
}
// Complains of the first byte that is not.
inline void ExpectDefined(const void* start, std::size_t bytes) {
  VALGRIND_CHECK_MEM_IS_DEFINED(start, bytes);
}

// While there is one, nothing that this thread does is complained of.
class Silence {
 public:
  Silence() { VALGRIND_DISABLE_ERROR_REPORTING; }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { VALGRIND_ENABLE_ERROR_REPORTING; }
};

// Other tools of valgrind's answer as no tool does.
inline const bool kIsWatching = IsReadable(&kIsWatching, sizeof(kIsWatching));

#else

inline bool IsReadable(const void*, std::size_t) { return false; }
inline void SetUndefined(const void*, std::size_t) {}
inline void SetDefined(const void*, std::size_t) {}
inline void ExpectDefined(const void*, std::size_t) {}
struct Silence {
  Silence() {}
};
inline constexpr bool kIsWatching = false;

#endif

}  // namespace xencomm::memcheck

#endif  // XENCOMM_MEMCHECK_H_

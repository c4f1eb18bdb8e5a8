// The record of a scenario: what every hypercall answered, as numbers without a byte order. A line
// for each step, so that two records can be compared step by step, and a digest of all.
//
//   RUN <name>
//   STEP <step> <number> <number> …
//   DIGEST <name> <digest>

#ifndef TESTS_QEMU_SCENARIO_RECORD_H_
#define TESTS_QEMU_SCENARIO_RECORD_H_

#include <stddef.h>
#include <stdint.h>

#include <initializer_list>

#include "tests/qemu/runtime/print.h"

namespace qemu {

// FNV-1a over the numbers' eight bytes, the lowest first (Fowler, Noll, Vo: 64-bit parameters).
class Digest {
 public:
  void Add(uint64_t number) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      value_ = (value_ ^ (number >> shift & 0xff)) * 0x100000001b3;
    }
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325;
};

class Record {
 public:
  explicit Record(const char* name) : name_(name) { Print("RUN ", name, "\n"); }

  void Step(const char* step, std::initializer_list<uint64_t> numbers) {
    Print("STEP ", step);
    for (const uint64_t number : numbers) {
      Print(' ', Hex{number});
      digest_.Add(number);
    }
    Print("\n");
  }

  void End() { Print("DIGEST ", name_, ' ', Hex{digest_.value()}, "\n"); }

 private:
  const char* name_;
  Digest digest_;
};

// A buffer of bytes as one number; texts have no byte order.
inline uint64_t DigestOf(const char* bytes, uint64_t size) {
  Digest digest;
  for (uint64_t i = 0; i < size; ++i) digest.Add(static_cast<uint8_t>(bytes[i]));
  return digest.value();
}

}  // namespace qemu

#endif  // TESTS_QEMU_SCENARIO_RECORD_H_

// The four functions that a freestanding compiler may call on its own (GCC manual, "Standards":
// memcpy, memmove, memset, memcmp). Nothing else of a C library exists in these programs.
//
// Compiled with -fno-tree-loop-distribute-patterns, so that no loop below becomes a call to itself.

#include <stddef.h>
#include <stdint.h>

namespace {

// Eight bytes that may lie anywhere and be of any type. All machines here load and store them
// unaligned.
struct __attribute__((packed, may_alias)) Word {
  uint64_t value;
};

}  // namespace

extern "C" {

void* memcpy(void* to, const void* from, size_t size) {
  auto* out = static_cast<uint8_t*>(to);
  const auto* in = static_cast<const uint8_t*>(from);
  for (; size >= sizeof(Word); size -= sizeof(Word)) {
    static_cast<Word*>(static_cast<void*>(out))->value =
        static_cast<const Word*>(static_cast<const void*>(in))->value;
    out += sizeof(Word);
    in += sizeof(Word);
  }
  while (size-- != 0) *out++ = *in++;
  return to;
}

void* memmove(void* to, const void* from, size_t size) {
  auto* out = static_cast<uint8_t*>(to);
  const auto* in = static_cast<const uint8_t*>(from);
  if (out <= in || out >= in + size) return memcpy(to, from, size);
  while (size != 0) {
    --size;
    out[size] = in[size];
  }
  return to;
}

void* memset(void* to, int value, size_t size) {
  auto* out = static_cast<uint8_t*>(to);
  const auto byte = static_cast<uint8_t>(value);
  const Word word = {byte * uint64_t{0x0101010101010101}};
  for (; size >= sizeof(Word); size -= sizeof(Word)) {
    static_cast<Word*>(static_cast<void*>(out))->value = word.value;
    out += sizeof(Word);
  }
  while (size-- != 0) *out++ = byte;
  return to;
}

int memcmp(const void* left, const void* right, size_t size) {
  const auto* a = static_cast<const uint8_t*>(left);
  const auto* b = static_cast<const uint8_t*>(right);
  for (size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

}  // extern "C"

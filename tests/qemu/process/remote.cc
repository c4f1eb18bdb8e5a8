#include "tests/qemu/process/remote.h"

#include <unistd.h>

#include <cstddef>

#include "xencomm/byte_order.h"

namespace qemu {
namespace {

using xencomm::ByteOrder;

constexpr int kFromPeer = STDIN_FILENO;
constexpr int kToPeer = STDOUT_FILENO;

enum Request : std::uint64_t { kFileOffset, kPayloadOffset, kHandle, kHypercall, kGuestPhysical };
constexpr std::size_t kWords = 5;  // of a request: its kind and what it takes

bool ReadWords(std::uint64_t* words, std::size_t count) {
  std::byte bytes[kWords * sizeof(std::uint64_t)];
  const std::size_t size = count * sizeof(std::uint64_t);
  for (std::size_t done = 0; done < size;) {
    const ssize_t more = read(kFromPeer, bytes + done, size - done);
    if (more <= 0) return false;
    done += static_cast<std::size_t>(more);
  }
  for (std::size_t i = 0; i < count; ++i) {
    words[i] =
        xencomm::LoadField<std::uint64_t>(bytes + i * sizeof(std::uint64_t), ByteOrder::kBig);
  }
  return true;
}

void WriteWords(const std::uint64_t* words, std::size_t count) {
  std::byte bytes[kWords * sizeof(std::uint64_t)];
  for (std::size_t i = 0; i < count; ++i) {
    xencomm::StoreField(bytes + i * sizeof(std::uint64_t), words[i], ByteOrder::kBig);
  }
  const auto size = static_cast<ssize_t>(count * sizeof(std::uint64_t));
  Require(write(kToPeer, bytes, static_cast<std::size_t>(size)) == size, "the other process");
}

std::uint64_t Ask(Request request, std::uint64_t a1 = 0, std::uint64_t a2 = 0, std::uint64_t a3 = 0,
                  std::uint64_t a4 = 0) {
  const std::uint64_t words[kWords] = {request, a1, a2, a3, a4};
  WriteWords(words, kWords);
  std::uint64_t answer = 0;
  Require(ReadWords(&answer, 1), "the other process");
  return answer;
}

std::uint64_t Answer(Kernel& kernel, const std::uint64_t (&words)[kWords]) {
  switch (words[0]) {
    case kFileOffset:
      return kernel.FileOffset(words[1]);
    case kPayloadOffset:
      return kernel.payload_offset();
    case kHandle:
      return kernel.Handle(words[1], words[2]);
    case kGuestPhysical:
      return kernel.GuestPhysical(words[1]);
    default:
      return static_cast<std::uint64_t>(kernel.Hypercall(words[1], words[2], words[3], words[4]));
  }
}

}  // namespace

void Serve(Kernel& kernel) {
  std::uint64_t words[kWords];
  while (ReadWords(words, kWords)) {
    const std::uint64_t answer = Answer(kernel, words);
    WriteWords(&answer, 1);
  }
}

std::uint64_t RemoteKernel::FileOffset(std::uint64_t offset) { return Ask(kFileOffset, offset); }

std::uint64_t RemoteKernel::GuestPhysical(std::uint64_t offset) {
  return Ask(kGuestPhysical, offset);
}

std::uint64_t RemoteKernel::payload_offset() { return Ask(kPayloadOffset); }

std::uint64_t RemoteKernel::Handle(std::uint64_t address, std::uint64_t bytes) {
  return Ask(kHandle, address, bytes);
}

std::int64_t RemoteKernel::Hypercall(std::uint64_t index, std::uint64_t a1, std::uint64_t a2,
                                     std::uint64_t a3) {
  return static_cast<std::int64_t>(Ask(kHypercall, index, a1, a2, a3));
}

}  // namespace qemu

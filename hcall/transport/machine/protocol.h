// What a machine's process and its clients say to one another.
//
// A client connects to the machine's Unix socket (SOCK_SEQPACKET). It sends requests, one message
// each, and gets one reply to each, in order: for what is rare. Descriptors travel beside a reply.
// Calls go by lanes: places in memory that both sides share (lane.h). Both sides are of one build
// or say so: the first request names the version.
//
// Nothing that a client says is trusted. Its pointers are worthless to the machine: it names
// addresses of its own only as what its region's table is to say.
#ifndef HCALL_TRANSPORT_MACHINE_PROTOCOL_H_
#define HCALL_TRANSPORT_MACHINE_PROTOCOL_H_

#include <cstddef>
#include <cstdint>

#include "hcall/transport/setting.h"

namespace xencomm::machine {

inline constexpr std::uint64_t kMagic = 0x58434d4143480000;  // "XCMACH"
inline constexpr std::uint64_t kVersion = 3;

enum class Kind : std::uint64_t {
  kHello = 1,      // {kMagic, kVersion, SpaceOption, process, domain} -> {memory, domain, release};
                   // descriptor of the lanes. A supervisor says which process it speaks for, whose
                   // name is in the log; others 0. The domain is what the client's calls are of:
                   // an id, or kNewDomain | its bytes, for as long as the client is there
  kLane,           // {index}: from now on the machine serves it
  kMemory,         // -> {size}; descriptor of domains' memory
  kReserve,        // {virtual base, length in bytes}: the client's region
  kPopulate,       // {offset, length}: bytes of payload -> mfns of the pages, as PageRun each
  kHold,           // {file, domain, write, gfns...} -> as Held each; file 0: none
  kHoldResource,   // {file, domain, type, id, first, count} -> {errno, mfns...}
  kCountResource,  // {file, domain, type, id} -> {frames, or a negative errno}
  kRelease,        // {HeldFrame...}
  kOpen,  // {xencomm_device, access mode} -> {file}; descriptor of a device's file (device_names.h)
  kAttach,        // with a descriptor of one: from now on this client may name it -> {file}
  kEvent,         // {file, ioctl, bytes that its argument has, argument} -> what evtchn answers
  kReaches,       // {file, domain}: 0, or why that is not reached by it
  kRestrictFile,  // {file, domain}: what privcmd answers
  kTrace,         // {pointer, TracedSpace} -> how it is translated: as Traced, then its steps
  // Of files of gntdev and gntalloc, by their pages.
  kMapPages,   // {file, page, write, count} -> {errno, tag, mfns...}: what is released so is told
               // apart by the tag (HeldFrame)
  kSetNotice,  // {file, byte, action, port} -> {errno}
  kAddGrants,  // {file, domain << 32 | ref...} -> {page, or a negative errno}
  kRemoveGrants,  // {file, page, count} -> {errno}
  kCopyGrant,     // {file, flags, and of source and of destination domain << 32 | ref and offset,
                  // length, bytes...} -> {GNTST_*, or a positive errno; bytes}
  kShare,        // {file, page or ~0, domain, writable, count} -> {page or negative errno, refs...}
  kUnshare,      // {file, page, count} -> {errno}
  kShareAlso,    // {file, page, domain, writable, count} -> {errno, refs...}
  kListShares,   // {file, page} -> {errno, ShareListed...}
  kRevokeShare,  // {file, ref} -> {errno}
  kRestrict,     // calls of this client are refused from now on
};

// In a hello: a domain that is made for the client.
inline constexpr std::uint64_t kNewDomain = std::uint64_t{1} << 63;

// A message is 64-bit words: of a request its kind and what stands beside it; of a reply 0 and what
// was asked for, or a positive errno and a sentence's bytes, padded with zeroes. So many follow the
// first one at most.
inline constexpr std::size_t kMostWords = 4096;

// So many bytes are populated by one request: each page may be a run of its own.
inline constexpr std::uint64_t kMostPopulated = kMostWords / 2 * 4096;

// Pages that follow one another in the machine.
struct PageRun {
  std::uint64_t mfn = 0;
  std::uint64_t count = 0;
};

struct Traced {
  std::uint64_t region = 0;   // where it begins
  std::uint64_t machine = 0;  // address of the byte
  std::uint64_t start = 0;  // guest-physical address of the byte, and how far it goes on from there
  std::uint64_t length = 0;
};
struct TracedStep {
  char table[8] = {};  // its name
  std::uint64_t level = 0;
  std::uint64_t index = 0;
  std::uint64_t address = 0;
  std::uint64_t entry = 0;
};

struct Held {
  std::uint64_t mfn = 0;    // or ~0
  std::uint64_t error = 0;  // a positive errno
};

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_PROTOCOL_H_

// Transport: the way from this process to a hypervisor.
//
// This layer knows no more of it than what is here; the transports themselves, and what opens one
// by its setting, are in hcall/transport.
#ifndef XENCOMM_TRANSPORT_H_
#define XENCOMM_TRANSPORT_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "xencomm/address.h"
#include "xencomm/backing.h"
#include "xencomm/trace.h"

namespace xencomm {

// A space in which a pointer's translation can be looked at.
enum class TracedSpace : std::uint8_t {
  kRegion,  // the region's bases
  kWalk,    // the page tables of this process
};

struct TracedPointer {
  Trace trace;                  // that ends in no fault
  VirtualAddress region = {};   // where it begins; of kRegion only
  MachineAddress machine = {};  // of the byte at the pointer
};

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  // Where the Arena of this transport's calls gets its memory. Called once. The backing must not
  // outlive the transport.
  virtual absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() = 0;

  // A hypercall: the hypervisor's answer, or a negative errno. By any thread.
  virtual std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) = 0;

  // How `pointer`, into the Arena's payload, is translated. kOutOfRange when it leads nowhere,
  // kUnimplemented where that cannot be known.
  virtual absl::StatusOr<TracedPointer> TraceOf(const void* pointer, TracedSpace space) = 0;

  // The file descriptor that calls go through, or one that stands for it; -1 when there is none.
  virtual int fd() const { return -1; }

  // Takes away every device: its descriptors become ones of /dev/null. What memory there is stays.
  // 0 or a negative errno.
  virtual int Restrict() { return 0; }

  // Whether the hypervisor knows the bit by which a call opts into a region (xencomm/hypercall.h).
  // The bit is a kernel's to set, so it is the transport that asks.
  virtual bool knows_regions() = 0;

  // Whether memory of the backing stays present whatever the kernel does (a call never answers
  // -EFAULT for it).
  virtual bool never_faults() const = 0;
};

}  // namespace xencomm

#endif  // XENCOMM_TRANSPORT_H_

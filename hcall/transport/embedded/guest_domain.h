// A domain other than 0 whose processes are here: its kernel is this machine's, for as long as
// somebody has it.
//
// The domain has been made by a toolstack and never ran, or by BuildDomain. What a toolstack put
// into its memory stays: the kernel takes the half of it that was given last.
#ifndef HCALL_TRANSPORT_EMBEDDED_GUEST_DOMAIN_H_
#define HCALL_TRANSPORT_EMBEDDED_GUEST_DOMAIN_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/embedded/ram_file.h"
#include "hcall/transport/embedded/vcpu_pool.h"

namespace xencomm::embedded {

class GuestDomain {
 public:
  // All are borrowed. kNotFound: there is no such domain; kFailedPrecondition: it runs by itself,
  // or ends, or has no memory.
  static absl::StatusOr<std::unique_ptr<GuestDomain>> Adopt(hypervisor::Hypervisor& hypervisor,
                                                            RamFile& ram, std::uint16_t id);

  GuestDomain(const GuestDomain&) = delete;
  GuestDomain& operator=(const GuestDomain&) = delete;
  ~GuestDomain();

  GuestKernel& kernel() { return *kernel_; }

 private:
  GuestDomain(hypervisor::Hypervisor& hypervisor, std::uint16_t id) : vcpus_(hypervisor, id) {}

  VcpuPool vcpus_;
  std::unique_ptr<GuestKernel> kernel_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_GUEST_DOMAIN_H_

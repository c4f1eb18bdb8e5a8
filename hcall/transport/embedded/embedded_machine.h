// The embedded machine: memory, the hypervisor, and domain 0 with its kernel. All in this process.
#ifndef HCALL_TRANSPORT_EMBEDDED_EMBEDDED_MACHINE_H_
#define HCALL_TRANSPORT_EMBEDDED_EMBEDDED_MACHINE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/embedded/guest_domain.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/embedded/ram_file.h"
#include "hcall/transport/embedded/vcpu_pool.h"
#include "hcall/transport/setting.h"
#include "xencomm/fork_marker.h"
#include "xencomm/mutex.h"

namespace xencomm::embedded {

class EmbeddedMachine final : private hypervisor::Machine, private FrameHolder {
 public:
  // Whether domains' memory is lent to other processes. The hypervisor's own pages, and those that
  // domain 0's kernel keeps to itself, then lie where no mapping of theirs reaches.
  enum class Lending : std::uint8_t { kNone, kDomainsMemory };

  // Started, with domain 0 up.
  static absl::StatusOr<std::shared_ptr<EmbeddedMachine>> Create(const MachineSetting& setting,
                                                                 Lending lending = Lending::kNone);

  // The machine of this process, made by its first caller. It stays on until the process ends, so
  // that a domain outlives the handle through which it was made. kInvalidArgument when it stands
  // and was made with another setting. A forked child has a machine of its own.
  static absl::StatusOr<std::shared_ptr<EmbeddedMachine>> OfThisProcess(
      const MachineSetting& setting);

  EmbeddedMachine(const EmbeddedMachine&) = delete;
  EmbeddedMachine& operator=(const EmbeddedMachine&) = delete;
  ~EmbeddedMachine();

  const MachineSetting& setting() const { return setting_; }
  RamFile& ram() { return *ram_; }
  hypervisor::Hypervisor& hypervisor() { return *hypervisor_; }
  VcpuPool& vcpus() { return *vcpus_; }
  GuestKernel& kernel() { return *kernel_; }
  // From now on this eventfd, which is borrowed, is written to whenever a domain may have shut down
  // or ended; -1: none.
  void TellOfDomains(int event_fd) { tell_of_domains_.store(event_fd); }
  // From now on called, by the thread that asked, when an op (kNoOp: a whole hypercall) is refused
  // for the first time because it is not implemented. It makes no calls.
  using TellOfMissing = void (*)(std::uint64_t hypercall, std::uint64_t op);
  void Tell(TellOfMissing tell) { tell_of_missing_.store(tell); }
  // The domain of that id, which has processes here for as long as somebody has what is answered.
  // The errors of GuestDomain::Adopt.
  absl::StatusOr<std::shared_ptr<GuestDomain>> Join(std::uint16_t domain)
      ABSL_LOCKS_EXCLUDED(joined_mutex_);
  // One that is made for that, of so many bytes, with an id that is free; it ends with whoever has
  // it. kResourceExhausted.
  absl::StatusOr<std::shared_ptr<GuestDomain>> MakeDomain(std::uint64_t bytes)
      ABSL_LOCKS_EXCLUDED(joined_mutex_);

  FrameHolder& frame_holder() { return *this; }
  ForeignMappings& foreign_mappings() { return *foreign_mappings_; }

 private:
  EmbeddedMachine(const MachineSetting& setting, std::unique_ptr<RamFile> ram);

  // Of domain 0's pages `own_frames` are its kernel's, of all memory the first `own_bytes` the
  // hypervisor's.
  absl::Status SwitchOn(std::uint64_t own_frames, std::uint64_t own_bytes);

  std::uint64_t NowNanoseconds() override;
  void WriteConsole(std::string_view text) override;
  bool Discard(MachineAddress start, std::uint64_t bytes) override;
  void Upcall(std::uint16_t domain, unsigned vcpu) override;

  int Hold(std::uint16_t domain, std::span<const std::uint64_t> frames, Access access,
           std::span<std::uint64_t> mfns, std::span<int> errors) override;
  int HoldResource(const ForeignMemory::Resource& resource, std::span<std::uint64_t> mfns) override;
  std::int64_t CountResource(const ForeignMemory::Resource& resource) override;
  void Release(std::span<const std::uint64_t> held) override;

  void GlobalVirq(std::uint32_t virq) override;
  void Unimplemented(std::uint64_t hypercall, std::uint64_t op) override;

  const MachineSetting setting_;
  std::atomic<int> tell_of_domains_ = -1;
  std::atomic<TellOfMissing> tell_of_missing_ = nullptr;
  const std::chrono::steady_clock::time_point switched_on_ = std::chrono::steady_clock::now();
  const ForkMarker marker_;
  std::unique_ptr<RamFile> ram_;
  std::unique_ptr<hypervisor::Hypervisor> hypervisor_;
  std::unique_ptr<VcpuPool> vcpus_;
  std::unique_ptr<GuestKernel> kernel_;
  std::unique_ptr<ForeignMappings> foreign_mappings_;
  Mutex joined_mutex_;
  struct Joined {
    std::unique_ptr<GuestDomain> domain;
    unsigned users = 0;
    bool ends_with_them = false;
  };
  std::shared_ptr<GuestDomain> UseOf(std::uint16_t id, Joined& joined)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(joined_mutex_);
  absl::Status Adopt(std::uint16_t id, Joined& joined) ABSL_EXCLUSIVE_LOCKS_REQUIRED(joined_mutex_);
  void Leave(std::uint16_t id) ABSL_LOCKS_EXCLUDED(joined_mutex_);

  std::map<std::uint16_t, Joined> joined_ ABSL_GUARDED_BY(joined_mutex_);
  // Those that upcalls are for, which come with the events' lock held.
  Mutex kernels_mutex_;
  std::map<std::uint16_t, GuestKernel*> kernels_ ABSL_GUARDED_BY(kernels_mutex_);
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_EMBEDDED_MACHINE_H_

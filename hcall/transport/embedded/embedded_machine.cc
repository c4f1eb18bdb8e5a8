#include "hcall/transport/embedded/embedded_machine.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/process_slot.h"
#include "xencomm/sentence.h"

namespace xencomm::embedded {
namespace {

// The machine of a process.
struct Slot {
  Mutex mutex;
  std::shared_ptr<EmbeddedMachine> machine ABSL_GUARDED_BY(mutex);
};

Slot& SlotOfThisProcess() {
  static ProcessSlot<Slot> slot;
  return slot.OfThisProcess();
}

constexpr std::uint64_t kBlockBytes = kBlockFrames << hypervisor::kPageShift;

absl::Status Refused(const char* what, std::int64_t answer) {
  return absl::ErrnoToStatus(static_cast<int>(-answer), what);
}

}  // namespace

absl::StatusOr<std::shared_ptr<EmbeddedMachine>> EmbeddedMachine::Create(
    const MachineSetting& setting, Lending lending) {
  // An eighth each: tables of domain 0's processes; what domains cost besides their memory.
  const bool lends = lending != Lending::kNone;
  const std::uint64_t of_dom0 = lends ? setting.dom0_bytes / 8 / kBlockBytes * kBlockBytes : 0;
  const std::uint64_t own =
      lends ? setting.memory_bytes / 8 / kBlockBytes * kBlockBytes + of_dom0 : 0;
  absl::StatusOr<std::unique_ptr<RamFile>> ram = RamFile::Create(setting.memory_bytes, own);
  if (!ram.ok()) return ram.status();
  std::shared_ptr<EmbeddedMachine> machine(new EmbeddedMachine(setting, *std::move(ram)));
  const absl::Status on = machine->SwitchOn(of_dom0 >> hypervisor::kPageShift, own);
  if (!on.ok()) return on;
  return machine;
}

absl::StatusOr<std::shared_ptr<EmbeddedMachine>> EmbeddedMachine::OfThisProcess(
    const MachineSetting& setting) {
  Slot& slot = SlotOfThisProcess();
  const MutexLock lock(slot.mutex);
  if (slot.machine == nullptr) {
    absl::StatusOr<std::shared_ptr<EmbeddedMachine>> machine = Create(setting);
    if (!machine.ok()) return machine.status();
    slot.machine = *machine;
  } else if (slot.machine->setting_ != setting) {
    return absl::InvalidArgumentError(
        "this process has its embedded machine already, with other options: expected the same "
        "(only space can differ, but xcom and inline only from one another)");
  }
  return slot.machine;
}

EmbeddedMachine::EmbeddedMachine(const MachineSetting& setting, std::unique_ptr<RamFile> ram)
    : setting_(setting),
      ram_(std::move(ram)),
      hypervisor_(std::make_unique<hypervisor::Hypervisor>()),
      vcpus_(std::make_unique<VcpuPool>(*hypervisor_)) {}

EmbeddedMachine::~EmbeddedMachine() {
  if (marker_.in_same_process()) return;
  // A forked child does not have the machine's memory: nothing in it can be taken down here.
  static_cast<void>(kernel_.release());
  static_cast<void>(vcpus_.release());
  static_cast<void>(hypervisor_.release());
  static_cast<void>(ram_.release());
}

absl::Status EmbeddedMachine::SwitchOn(std::uint64_t own_frames, std::uint64_t own_bytes) {
  std::int64_t answer = hypervisor_->Init(
      {
          .memory = std::bit_cast<std::uintptr_t>(ram_->data()),
          .pool_begin = 0,
          .pool_end = ram_->size(),
          .own_end = own_bytes,
          .pool_is_zero = true,
          .release = setting_.release,
          .cpus = setting_.cpus,
          .max_domains = setting_.max_domains,
      },
      *this);
  if (answer < 0) return Refused("the embedded hypervisor does not start", answer);
  const std::uint64_t frames = setting_.dom0_bytes >> hypervisor::kPageShift;
  const auto space = setting_.xcom ? hypervisor::SpaceKind::kXcom : hypervisor::SpaceKind::kRaw;
  answer = hypervisor_->BuildDomain({
      .id = 0,
      .pages = frames,
      .own_pages = own_frames,
      .vcpus = setting_.vcpus,
      .space = space,
      .reaches_frames = true,
      .privileged = true,
  });
  if (answer < 0) return Refused("domain 0 cannot be built", answer);
  const absl::Status claimed = vcpus_->Claim(setting_.vcpus);
  if (!claimed.ok()) return claimed;
  kernel_ = std::make_unique<GuestKernel>(*hypervisor_, *ram_, *vcpus_, frames, own_frames);
  foreign_mappings_ = std::make_unique<ForeignMappings>(frame_holder(), *ram_);
  return kernel_->BindPorts(space);
}

std::uint64_t EmbeddedMachine::NowNanoseconds() {
  const std::chrono::nanoseconds up = std::chrono::steady_clock::now() - switched_on_;
  return static_cast<std::uint64_t>(up.count());
}

void EmbeddedMachine::WriteConsole(std::string_view text) {
  if (!setting_.console) return;
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool EmbeddedMachine::Discard(MachineAddress start, std::uint64_t bytes) {
  return ram_->Discard(start, bytes);
}

void EmbeddedMachine::Upcall(std::uint16_t domain, unsigned /*vcpu*/) {
  if (domain == 0) {
    if (kernel_ != nullptr) kernel_->Upcall();
    return;
  }
  const MutexLock lock(kernels_mutex_);
  const auto kernel = kernels_.find(domain);
  if (kernel != kernels_.end()) kernel->second->Upcall();
}

absl::Status EmbeddedMachine::Adopt(std::uint16_t id, Joined& joined) {
  absl::StatusOr<std::unique_ptr<GuestDomain>> adopted =
      GuestDomain::Adopt(*hypervisor_, *ram_, id);
  if (!adopted.ok()) return adopted.status();
  joined.domain = *std::move(adopted);
  const MutexLock lock(kernels_mutex_);
  kernels_[id] = &joined.domain->kernel();
  return absl::OkStatus();
}

std::shared_ptr<GuestDomain> EmbeddedMachine::UseOf(std::uint16_t id, Joined& joined) {
  ++joined.users;
  return {joined.domain.get(), [this, id](GuestDomain*) { Leave(id); }};
}

void EmbeddedMachine::Leave(std::uint16_t id) {
  const MutexLock lock(joined_mutex_);
  const auto joined = joined_.find(id);
  if (--joined->second.users != 0) return;
  {
    const MutexLock kernels_lock(kernels_mutex_);
    kernels_.erase(id);
  }
  const bool ends = joined->second.ends_with_them;
  joined_.erase(joined);
  if (ends) hypervisor_->EndDomain(id);
}

absl::StatusOr<std::shared_ptr<GuestDomain>> EmbeddedMachine::Join(std::uint16_t domain) {
  const MutexLock lock(joined_mutex_);
  const auto known = joined_.find(domain);
  if (known != joined_.end()) return UseOf(domain, known->second);
  Joined joined;
  const absl::Status adopted = Adopt(domain, joined);
  if (!adopted.ok()) return adopted;
  return UseOf(domain, joined_[domain] = std::move(joined));
}

absl::StatusOr<std::shared_ptr<GuestDomain>> EmbeddedMachine::MakeDomain(std::uint64_t bytes) {
  const MutexLock lock(joined_mutex_);
  std::int64_t answer = -EEXIST;
  std::uint16_t id = 0;
  while (answer == -EEXIST && ++id < DOMID_FIRST_RESERVED) {
    answer = hypervisor_->BuildDomain({.id = id,
                                       .pages = bytes >> hypervisor::kPageShift,
                                       .vcpus = 2,
                                       .space = hypervisor::SpaceKind::kRaw,
                                       .reaches_frames = true});
  }
  if (answer < 0) {
    return absl::ResourceExhaustedError(Sentence("a domain of %uM cannot be made: %s", bytes >> 20,
                                                 strerrordesc_np(static_cast<int>(-answer))));
  }
  Joined joined = {.domain = nullptr, .users = 0, .ends_with_them = true};
  const absl::Status adopted = Adopt(id, joined);
  if (!adopted.ok()) {
    hypervisor_->EndDomain(id);
    return adopted;
  }
  return UseOf(id, joined_[id] = std::move(joined));
}

void EmbeddedMachine::GlobalVirq(std::uint32_t virq) {
  const int event_fd = tell_of_domains_.load();
  if (virq == VIRQ_DOM_EXC && event_fd >= 0) eventfd_write(event_fd, 1);
}

void EmbeddedMachine::Unimplemented(std::uint64_t hypercall, std::uint64_t op) {
  if (const TellOfMissing tell = tell_of_missing_.load(); tell != nullptr) tell(hypercall, op);
}

int EmbeddedMachine::Hold(std::uint16_t domain, std::span<const std::uint64_t> frames,
                          Access access, std::span<std::uint64_t> mfns, std::span<int> errors) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    errors[i] = static_cast<int>(hypervisor_->HoldFrame(domain, frames[i], access, &mfns[i]));
    if (errors[i] != 0) mfns[i] = hypervisor::kNoFrame;
  }
  return 0;
}

int EmbeddedMachine::HoldResource(const ForeignMemory::Resource& resource,
                                  std::span<std::uint64_t> mfns) {
  if (resource.domain == 0) return -EPERM;  // Xen has them for others
  // The last one first: a table grows for it, or for none.
  for (std::size_t i = mfns.size(); i-- > 0;) {
    const std::int64_t error = hypervisor_->HoldResourceFrame(
        resource.domain, {.type = resource.type, .id = resource.id}, resource.first + i, &mfns[i]);
    if (error == 0) continue;
    mfns[i] = hypervisor::kNoFrame;
    for (const std::uint64_t mfn : mfns.subspan(i + 1)) hypervisor_->ReleaseFrame(mfn);
    std::ranges::fill(mfns, hypervisor::kNoFrame);
    return static_cast<int>(error);
  }
  return 0;
}

std::int64_t EmbeddedMachine::CountResource(const ForeignMemory::Resource& resource) {
  if (resource.domain == 0) return -EPERM;
  return hypervisor_->CountResourceFrames(resource.domain,
                                          {.type = resource.type, .id = resource.id});
}

void EmbeddedMachine::Release(std::span<const std::uint64_t> held) {
  for (const std::uint64_t word : held) hypervisor_->ReleaseFrame(HeldFrame::FromWord(word).mfn());
}

}  // namespace xencomm::embedded

#include "hcall/hypervisor/hypervisor.h"

#include <cstring>
#include <new>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/boot_messages.h"
#include "hcall/hypervisor/dispatch.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "hcall/hypervisor/memory/physmap.h"

namespace xencomm::hypervisor {
namespace {

// What BuildDomain gives a new domain, with the control lock held: nobody can destroy it meanwhile.
std::int64_t Built(Core& core, Domain& domain, const DomainConfig& config) {
  std::int64_t error = CreateVcpus(core, domain);
  if (error != 0) return error;
  for (unsigned i = 0; i < config.vcpus; ++i) {
    domain.vcpus[i]->online = true;
    domain.vcpus[i]->initialised = true;
  }
  domain.max_pages.store(config.pages);
  Physmap physmap(core, domain);
  for (std::uint64_t gfn = 0; gfn < config.pages; ++gfn) {
    std::uint64_t mfn = 0;
    if (gfn < config.own_pages) {
      mfn = core.own().Allocate(0);
      error = mfn != kNoFrame ? physmap.Adopt(mfn, 0) : -kENOMEM;
    } else {
      error = physmap.Allocate(gfn, 0, FrameHeap::kAnyWidth, &mfn);
    }
    if (error == 0) error = physmap.Place(gfn, mfn, 0, P2mType::kRam);
    if (error != 0) return error;
  }
  domain.controller_pauses.store(0);
  domain.creation_finished = true;
  return 0;
}

}  // namespace

std::int64_t Hypervisor::Init(const MachineConfig& config, Machine& machine) {
  if (!IsAligned(config.memory | config.pool_begin | config.pool_end | config.own_end, kPageSize) ||
      config.pool_begin >= config.pool_end || config.cpus == 0 || config.cpus > kMaxCpus ||
      config.preempt_interval == 0) {
    return -kEINVAL;
  }
  const std::uint64_t count = (config.pool_end - config.pool_begin) >> kPageShift;
  if (count >= kNoIndex) return -kEINVAL;

  // From the front of the pool: the frame table, this object, the callers' slots.
  const std::uint64_t table_bytes = AlignUp(count * sizeof(Frame), kPageSize);
  const std::uint64_t core_bytes = AlignUp(sizeof(Core), kPageSize);
  const std::uint64_t slot_bytes = AlignUp(kMaxCallers * sizeof(CallerSlot), kPageSize);
  const std::uint64_t front = table_bytes + core_bytes + slot_bytes;
  const std::uint64_t own_end = config.own_end != 0 ? config.own_end : config.pool_end;
  if (own_end > config.pool_end || own_end < config.pool_begin) return -kEINVAL;
  if (front >= own_end - config.pool_begin) return -kENOMEM;

  auto* at = reinterpret_cast<std::byte*>(config.memory + config.pool_begin);
  // A frame's row that reads as zero is one that nobody owns.
  if (!config.pool_is_zero) std::memset(at, 0, table_bytes);
  auto* frames = std::launder(reinterpret_cast<Frame*>(at));
  Core& core = *new (at + table_bytes) Core(config, machine);
  auto* slots = reinterpret_cast<CallerSlot*>(at + table_bytes + core_bytes);
  for (unsigned i = 0; i < kMaxCallers; ++i) new (slots + i) CallerSlot;

  core.frames = FrameTable(config.memory, frames, config.pool_begin >> kPageShift,
                           static_cast<std::uint32_t>(count));
  core.quiescence.Init(slots, kMaxCallers);
  auto begin = static_cast<std::uint32_t>(front >> kPageShift);
  const auto end = static_cast<std::uint32_t>(count);
  if (own_end != config.pool_end) {
    const auto middle = static_cast<std::uint32_t>((own_end - config.pool_begin) >> kPageShift);
    core.InitOwn(begin, middle, config.pool_is_zero);
    core.total_pages = core.own().free_pages();
    begin = middle;
  }
  core.heap.Init(core.frames, begin, end, config.pool_is_zero, machine, core.quiescence);
  core.total_pages += core.heap.free_pages();
  PrintBootMessages(core);
  core_ = &core;
  return 0;
}

std::int64_t Hypervisor::BuildDomain(const DomainConfig& config) {
  if (config.id >= kFirstReservedDomain || config.vcpus == 0 || config.vcpus > 128) {
    return -kEINVAL;
  }
  SpinGuard guard(core_->control);
  Domain* domain = nullptr;
  std::int64_t error = CreateDomain(*core_,
                                    {.id = config.id,
                                     .order = config.order,
                                     .space = config.space,
                                     .privileged = config.privileged,
                                     .translated = true,
                                     .built = true,
                                     .reaches_frames = config.reaches_frames,
                                     .max_vcpus = config.vcpus},
                                    &domain);
  if (error != 0) return error;
  error = Built(*core_, *domain, config);
  if (error != 0) {
    Work whole(~std::uint64_t{0});
    KillDomain(*core_, *domain, whole);
  }
  return error;
}

std::int64_t Hypervisor::Adopt(std::uint16_t domain_id, unsigned most, unsigned* vcpus,
                               std::uint64_t* pages) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr) return -kESRCH;
  *vcpus = 0;
  for (unsigned i = 0; i < most && domain->vcpu(i) != nullptr; ++i) {
    domain->vcpu(i)->online = true;
    domain->vcpu(i)->initialised = true;
    *vcpus = i + 1;
  }
  if (domain->dying() || *vcpus == 0) return -kEINVAL;
  domain->built = true;
  domain->reaches_frames = true;
  *pages = domain->tot_pages.load();
  return 0;
}

std::uint64_t Hypervisor::ListMemory(std::uint16_t domain_id, std::span<std::uint64_t> frames) {
  // Where toolstacks place what a domain shares with them (tools/libs/guest/xg_dom_x86.c).
  constexpr std::uint64_t kSpecialBegin = 0xf0000;
  constexpr std::uint64_t kSpecialEnd = 0x100000;
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr) return 0;
  SpinGuard domain_guard(domain->lock);
  std::uint64_t count = 0;
  for (std::uint32_t at = domain->last_page; at != kNoIndex && count < frames.size();
       at = core_->frames.At(at).previous) {
    const Frame& frame = core_->frames.At(at);
    const std::uint64_t number = domain->translated() ? frame.gfn : core_->frames.MfnOf(at);
    const bool is_special = domain->translated() && number >= kSpecialBegin && number < kSpecialEnd;
    if (number == kNoFrame || is_special || frame.pins != 0 || frame.holds.load() != 0 ||
        frame.type.type() != PageType::kNone || frame.owner.load().use != FrameUse::kMemory) {
      continue;
    }
    frames[count++] = number;
  }
  return count;
}

void Hypervisor::EndDomain(std::uint16_t domain_id) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr || domain->life.load() == Life::kDead) return;
  Work whole(~std::uint64_t{0});
  KillDomain(*core_, *domain, whole);
}

Vcpu* Hypervisor::ClaimVcpu(std::uint16_t domain_id, unsigned vcpu_id) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  Vcpu* vcpu = domain == nullptr || domain->dying() ? nullptr : domain->vcpu(vcpu_id);
  if (vcpu == nullptr || vcpu->slot != nullptr) return nullptr;
  vcpu->slot = core_->quiescence.Claim();
  if (vcpu->slot == nullptr) return nullptr;
  vcpu->slot->writes.Forget();
  core_->schedule.Claim(*vcpu);
  ++domain->claimed_vcpus;
  return vcpu;
}

void Hypervisor::ReleaseVcpu(Vcpu& vcpu) {
  SpinGuard guard(core_->control);
  Domain& domain = *vcpu.domain;
  core_->schedule.Release(vcpu);
  Quiescence::Release(*vcpu.slot);
  vcpu.slot = nullptr;
  vcpu.raw_space = nullptr;
  --domain.claimed_vcpus;
  ForgetDomain(*core_, domain);
  core_->Reclaim();
}

void Hypervisor::SetRawSpace(Vcpu& vcpu, Space& space) { vcpu.raw_space = &space; }

std::int64_t Hypervisor::Hypercall(Vcpu& caller, HypercallFrame& frame) {
  core_->quiescence.Enter(*caller.slot);
  const std::int64_t answer = Dispatch(*core_, caller, frame);
  caller.short_legs = frame.continued && core_->RanShort(*caller.slot) ? caller.short_legs + 1 : 0;
  caller.domain->dirty_log.EndLeg(caller.slot->writes);
  Quiescence::Leave(*caller.slot);
  if (core_->has_waiting()) [[unlikely]]
    core_->Reclaim();
  return answer;
}

std::int64_t Hypervisor::Call(Vcpu& caller, HypercallFrame frame, std::uint32_t* continuations) {
  std::int64_t answer = Hypercall(caller, frame);
  std::uint32_t count = 0;
  for (; frame.continued; ++count) answer = Hypercall(caller, frame);
  if (continuations != nullptr) *continuations = count;
  return answer;
}

DomainMemory Hypervisor::MemoryOf(Vcpu& vcpu) { return CallMemory(vcpu); }

LockedMemory Hypervisor::LockedMemoryOf(Vcpu& vcpu) { return LockedMemory(*vcpu.domain); }

std::uint64_t Hypervisor::FrameOf(std::uint16_t domain_id, std::uint64_t gfn) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr) return kNoFrame;
  // Not a call, which the pages of a p2m that grows would wait for.
  SpinGuard domain_guard(domain->lock);
  const P2mEntry entry = domain->p2m.Load(gfn);
  return entry.present() ? entry.mfn() : kNoFrame;
}

std::byte* Hypervisor::SharedInfoOf(std::uint16_t domain_id) {
  SpinGuard guard(core_->control);
  const Domain* domain = core_->domains.Find(domain_id);
  return domain == nullptr || !domain->built ? nullptr
                                             : core_->frames.Bytes(domain->shared_info_mfn);
}

Hypervisor::DomainState Hypervisor::StateOf(std::uint16_t domain_id) {
  SpinGuard guard(core_->control);
  const Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr) return DomainState::kAbsent;
  if (domain->dying()) return DomainState::kDying;
  return domain->shut_down ? DomainState::kShutDown : DomainState::kAlive;
}

std::int64_t Hypervisor::HoldFrame(std::uint16_t domain_id, std::uint64_t frame, Access access,
                                   std::uint64_t* mfn) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr || domain->dying()) return -kESRCH;
  const std::int64_t error = Physmap(*core_, *domain).Hold(frame, access, mfn);
  if (error != 0 || !core_->IsOwn(*mfn)) return error;
  ReleaseMapping(*core_, *mfn);
  return -kEPERM;
}

bool Hypervisor::IsLent(std::uint64_t mfn) const {
  return core_->frames.Has(mfn) && !core_->IsOwn(mfn);
}

void Hypervisor::ReleaseFrame(std::uint64_t mfn) {
  SpinGuard guard(core_->control);
  ReleaseMapping(*core_, mfn);
  core_->Reclaim();
}

std::int64_t Hypervisor::HoldResourceFrame(std::uint16_t domain_id, const Resource& resource,
                                           std::uint64_t index, std::uint64_t* mfn) {
  SpinGuard guard(core_->control);
  Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr || domain->dying()) return -kESRCH;
  if (FramesOf(*core_, *domain, resource) == 0) return -kEINVAL;
  return HoldResource(*core_, *domain, resource, index, {mfn, 1});
}

std::int64_t Hypervisor::CountResourceFrames(std::uint16_t domain_id, const Resource& resource) {
  SpinGuard guard(core_->control);
  const Domain* domain = core_->domains.Find(domain_id);
  if (domain == nullptr) return -kESRCH;
  const std::uint32_t frames = FramesOf(*core_, *domain, resource);
  return frames != 0 ? frames : -kEINVAL;
}

}  // namespace xencomm::hypervisor

#include "tests/qemu/process/kernel.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "hcall/hypervisor/base/errno.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/process_call.h"
#include "xencomm/region_table.h"

namespace qemu {
namespace {

using xencomm::Access;
using xencomm::PhysicalAddress;
using xencomm::RegionLayout;
using xencomm::RegionTable;
using xencomm::XencommOp;
using xencomm::hypervisor::SpaceKind;

// The bare machines' numbers (tests/qemu/hypervisor), since some answers tell of them.
constexpr std::uint64_t kPoolBegin = 0x04000000;
constexpr std::uint64_t kPoolEnd = kMachineBytes;
constexpr std::uint64_t kDomainPages = (96 << 20) / kPage;

// Guest-physical places: buffers from here, scattered; descriptors and page tables below.
constexpr std::uint64_t kDescriptors = 0x100000;
constexpr std::uint64_t kDescriptorBytes = 0x4000;
constexpr std::uint64_t kDescriptorSlots = 8;
constexpr std::uint64_t kTables = 0x200000;
constexpr std::uint64_t kScattered = 0x1000000;
constexpr std::uint64_t kScatteredPages = kDomainPages - kScattered / kPage;
constexpr std::uint64_t kStep = 7919;  // prime: every page once

SpaceKind KindOf(ProcessSpace space) {
  return space == ProcessSpace::kDescriptors || space == ProcessSpace::kInline ? SpaceKind::kXcom
                                                                               : SpaceKind::kRaw;
}

}  // namespace

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "cannot set up: %s\n", what);
  std::exit(2);
}

Kernel::Kernel(std::byte* memory, ProcessSpace space, xencomm::ByteOrder order)
    : space_(space), order_(order) {
  Require(hypervisor_.Init({.memory = reinterpret_cast<std::uintptr_t>(memory),
                            .pool_begin = kPoolBegin,
                            .pool_end = kPoolEnd,
                            .pool_is_zero = true,
                            .cpus = 4,
                            .dom0_scales_frequency = true},
                           machine_) == 0,
          "the hypervisor");
  Require(hypervisor_.BuildDomain({.id = 0,
                                   .pages = kDomainPages,
                                   .order = order,
                                   .space = KindOf(space),
                                   .privileged = true}) == 0,
          "the domain");
  vcpu_ = hypervisor_.ClaimVcpu(0, 0);
  Require(vcpu_ != nullptr, "the vcpu");
  memory_.emplace(hypervisor_.LockedMemoryOf(*vcpu_));
  call_memory_.emplace(hypervisor_.MemoryOf(*vcpu_));
  if (space == ProcessSpace::kRegistered || space == ProcessSpace::kStateless) BuildRegion();
  if (space == ProcessSpace::kRaw) BuildPageTables();
}

std::uint64_t Kernel::GuestPhysical(std::uint64_t offset) const {
  return kScattered + offset / kPage * kStep % kScatteredPages * kPage + offset % kPage;
}

std::uint64_t Kernel::FileOffset(std::uint64_t offset) {
  return hypervisor_.FrameOf(0, GuestPhysical(offset) / kPage) * kPage;
}

void Kernel::BuildRegion() {
  const auto layout = RegionLayout::Make({kBuffers}, kBufferBytes, xencomm::hypervisor::kPageShift);
  std::vector<PhysicalAddress> granules;
  for (std::uint64_t i = 0; i < layout->table_granules(); ++i) {
    granules.push_back({GuestPhysical(i * kPage)});
  }
  const auto table = RegionTable<LockedMemory>::Build(*memory_, *layout, order_, granules);
  Require(table.ok(), "the region's table");
  for (std::uint64_t i = layout->table_granules(); i < layout->base_count(); ++i) {
    Require(table->Back(i, {GuestPhysical(i * kPage)}).ok(), "a granule");
  }
  payload_offset_ = layout->payload_offset();
  region_handle_ = table->handle().value;
  if (space_ == ProcessSpace::kRegistered) {
    const std::int64_t handle = hypervisor_.Call(
        *vcpu_, {.index = xencomm::kXencommOp,
                 .arguments = {static_cast<std::uint64_t>(XencommOp::kRegister), region_handle_,
                               static_cast<std::uint64_t>(Access::kWrite)}});
    Require(handle > 0, "registering");
    region_handle_ = static_cast<std::uint64_t>(handle);
  }
}

void Kernel::BuildPageTables() {
  constexpr unsigned kLevels = 4;
  TableFrames frames = {kTables};
  const auto tables =
      xencomm::x86_64::PageTables<LockedMemory, TableFrames>::Make(*memory_, frames, kLevels);
  Require(tables.ok(), "the page tables");
  for (std::uint64_t offset = 0; offset < kBufferBytes; offset += kPage) {
    Require(tables
                ->Map({kBuffers + offset}, {GuestPhysical(offset)}, kPage,
                      xencomm::x86_64::kEntryUser | xencomm::x86_64::kEntryWritable)
                .ok(),
            "a page");
  }
  raw_.emplace(
      xencomm::x86_64::PageWalk<DomainMemory>(*call_memory_, {.cr3 = tables->root().value}),
      *call_memory_);
  hypervisor_.SetRawSpace(*vcpu_, *raw_);
}

std::uint64_t Kernel::Handle(std::uint64_t address, std::uint64_t bytes) {
  if (KindOf(space_) != SpaceKind::kXcom) return address;
  const std::uint64_t offset = address - kBuffers;
  // Nothing to describe: any descriptor is as good.
  if (bytes == 0) bytes = 1;
  if (space_ == ProcessSpace::kInline && offset % kPage + bytes <= kPage) {
    return xencomm::InlineAddress({GuestPhysical(offset)}).value;
  }
  const std::uint64_t entries = xencomm::DescriptorEntries(address, bytes);
  Require(xencomm::DescriptorBytes(entries) <= kDescriptorBytes, "a descriptor as long as that");
  const std::uint64_t place = kDescriptors + slot_++ % kDescriptorSlots * kDescriptorBytes;
  std::vector<std::byte> descriptor(xencomm::DescriptorBytes(entries));
  xencomm::StoreDescriptor(descriptor.data(), static_cast<std::uint32_t>(entries), order_,
                           [&](std::uint64_t i) {
                             const std::uint64_t page = offset / kPage * kPage + i * kPage;
                             return PhysicalAddress{GuestPhysical(i == 0 ? offset : page)};
                           });
  for (std::uint64_t done = 0; done < descriptor.size();) {
    const auto run = memory_->Map({place + done}, descriptor.size() - done, Access::kWrite);
    Require(run.ok(), "memory for a descriptor");
    std::memcpy(run.start(), descriptor.data() + done, run.length());
    done += run.length();
  }
  return place;
}

std::int64_t Kernel::Hypercall(std::uint64_t index, std::uint64_t a1, std::uint64_t a2,
                               std::uint64_t a3) {
  const std::uint64_t arguments[5] = {a1, a2, a3};
  const auto call = xencomm::PassOn(
      index, arguments, xencomm::RegionHandle::FromRegister(region_handle_), xencomm::kRegionCall);
  if (!call) return -xencomm::hypervisor::kEPERM;
  return hypervisor_.Call(
      *vcpu_, {.index = call->index, .arguments = {a1, a2, a3}, .region = call->region});
}

}  // namespace qemu

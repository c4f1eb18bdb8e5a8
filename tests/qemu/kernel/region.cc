#include "tests/qemu/kernel/region.h"

#include "arch.h"
#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/runtime/platform_call.h"
#include "xencomm/process_call.h"

namespace qemu {
namespace {

using xencomm::Access;
using xencomm::GranuleUse;
using xencomm::RegionHandle;
using xencomm::RegionLayout;
using xencomm::RegionTable;
using xencomm::XencommOp;
using xencomm::hypervisor::kEINVAL;
using xencomm::hypervisor::kENOSPC;
using xencomm::hypervisor::kEPERM;

KernelMemory memory;

uint64_t XencommCall(XencommOp op, uint64_t a2, uint64_t a3 = 0, uint64_t a4 = 0, uint64_t a5 = 0) {
  return Hypercall(xencomm::kXencommOp, static_cast<uint64_t>(op), a2, a3, a4, a5);
}

}  // namespace

int64_t HypercallFor(uint64_t index, std::span<const uint64_t, 5> arguments, RegionHandle region) {
  // The machine's own calls are not for programs either. The bit is not the program's to set.
  if ((index & ~xencomm::kRegionCall) >= PLATFORM_CALLS) return -kEPERM;
  const auto call = xencomm::PassOn(index, arguments, region, arch::kRegionOptIn);
  if (!call) return -kEPERM;
  const uint64_t* const a = call->arguments;
  return static_cast<int64_t>(Hypercall(call->index, a[0], a[1], a[2], a[3], a[4], call->region));
}

int64_t Region::Create(ProcessMemory& process, uint64_t address, uint64_t bytes,
                       unsigned granule_shift, RegionKind kind) {
  // A granule of less than a page would put a part of the table beside payload.
  if (granule_shift < PageShift() || kind > kRegionPage) return -kEINVAL;
  const auto layout = RegionLayout::Make({address}, bytes, granule_shift);
  if (!layout.ok() || !process.IsFree(address, bytes)) return -kEINVAL;
  if ((kind == kRegionPage) != (layout->base_count() == 1)) return -kEINVAL;

  // A table of that many granules serves a gigabyte and more.
  constexpr uint64_t kMaxTableGranules = 640;
  static xencomm::PhysicalAddress granules[kMaxTableGranules];
  if (layout->table_granules() > kMaxTableGranules) return -kENOSPC;
  for (uint64_t i = 0; i < layout->table_granules(); ++i) {
    const Protection protection =
        kind == kRegionPage ? Protection::kReadWrite : Protection::kReadOnly;
    if (!Granule(process, i, *layout, protection, &granules[i])) return -kEINVAL;
  }
  const auto table = RegionTable<KernelMemory>::Build(memory, *layout, xencomm::kNativeOrder,
                                                      {granules, layout->table_granules()});
  if (!table.ok()) return -kEINVAL;

  handle_ = RegionHandle::Stateless(table->handle());
  if (kind == kRegionRegistered || kind == kRegionRegisteredRead) {
    const auto access =
        static_cast<uint64_t>(kind == kRegionRegistered ? Access::kWrite : Access::kRead);
    const uint64_t answer = XencommCall(XencommOp::kRegister, table->handle().value, access);
    if (static_cast<int64_t>(answer) < 0) return static_cast<int64_t>(answer);
    handle_ = RegionHandle::FromRegister(answer);
  }
  table_.emplace(*table);
  return 0;
}

int64_t Region::Back(ProcessMemory& process, uint64_t first, uint64_t count, GranuleUse use) {
  const Protection protection =
      use == GranuleUse::kArgumentsOnly ? Protection::kReadOnly : Protection::kReadWrite;
  for (uint64_t i = first; i - first < count; ++i) {
    // Judged before memory is spent on it: a granule of the payload, and not backed yet.
    if (i >= table_->layout().base_count() || i < table_->layout().table_granules() ||
        table_->Base(i).ok()) {
      return -kEINVAL;
    }
    xencomm::PhysicalAddress granule;
    if (!Granule(process, i, table_->layout(), protection, &granule) ||
        !table_->Back(i, granule).ok()) {
      return -kEINVAL;
    }
  }
  if (!handle_.is_registered()) return 0;
  return static_cast<int64_t>(
      XencommCall(XencommOp::kExtend, handle_.value(), first, count, static_cast<uint64_t>(use)));
}

void Region::Destroy() {
  if (handle_.is_registered()) XencommCall(XencommOp::kUnregister, handle_.value());
  handle_ = RegionHandle::None();
  table_.reset();
}

bool Region::Granule(ProcessMemory& process, uint64_t index, const RegionLayout& layout,
                     Protection protection, xencomm::PhysicalAddress* granule) {
  granule->value = layout.granule_size() == PageSize() ? AllocateFrame()
                                                       : AllocateContiguous(layout.granule_size());
  const uint64_t address = layout.virtual_base().value + (index << layout.granule_shift());
  for (uint64_t done = 0; done < layout.granule_size(); done += PageSize()) {
    if (!process.MapPage(address + done, granule->value + done, protection)) return false;
  }
  return true;
}

}  // namespace qemu

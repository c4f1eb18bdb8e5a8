#include "tests/qemu/kernel/restriction.h"

#include <string.h>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/schema/generated/xen.h"
#include "tests/qemu/kernel/machine.h"
#include "xencomm/space.h"

namespace qemu {
namespace {

using xencomm::hypervisor::kEINVAL;
using xencomm::hypervisor::kEPERM;
using xencomm::schema::AllowedOp;
using xencomm::schema::AuditedCall;
using namespace xencomm::xen;

// The one list of names in this kernel. All else that it knows of ops is in the table.
constexpr AllowedOp kAllowed[] = {
    {__HYPERVISOR_xen_version, XENVER_extraversion},
    {__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist},
    {__HYPERVISOR_memory_op, XENMEM_current_reservation},
    {__HYPERVISOR_memory_op, XENMEM_decrease_reservation},
    {__HYPERVISOR_multicall, 0},
};

KernelMemory memory;

}  // namespace

int64_t Restriction::Begin(ProcessMemory& process, Region& region) {
  if (exists()) return -kEPERM;
  const xencomm::RegionLayout& layout = region.layout();
  const uint64_t last = layout.base_count() - 1;
  if (!region.handle().is_registered()) return -kEINVAL;
  const int64_t error = region.Back(process, last, 1, xencomm::GranuleUse::kArgumentsOnly);
  if (error != 0) return error;
  scratch_.address = layout.virtual_base() + (last << layout.granule_shift());
  uint64_t physical;
  process.Translate(scratch_.address.value, &physical);
  scratch_.memory = {KernelPointer<std::byte>(physical), layout.granule_size()};
  region_ = &region;
  return 0;
}

int64_t Restriction::Hypercall(uint64_t index, std::span<const uint64_t, 5> arguments) {
  xencomm::SpaceOver space(region_->AsStateless(), memory);
  const xencomm::schema::Call call = {
      .hypercall = index & ~xencomm::kRegionCall,  // the bit is not the program's to set
      .registers = {arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]}};
  AuditedCall audited(call, {space},
                      {.region = region_->layout(),
                       .allowed = kAllowed,
                       .arguments_only = {scratch_.address, scratch_.memory.size()}},
                      scratch_);
  finding_ = audited.finding();
  if (!audited.ok()) return -kEPERM;
  const std::span<const uint64_t, 5> passed_on(audited.call().registers.data(), 5);
  const int64_t answer = HypercallFor(index, passed_on, region_->handle());
  // Into the program's own memory, which was read from a moment ago.
  (void)audited.CopyBack();
  return answer;
}

Refusal Restriction::LastRefusal() const {
  constexpr uint64_t kNone = xencomm::schema::kNoIndex;
  const xencomm::schema::Op* const op = finding_.op;
  const xencomm::schema::Part* const part = finding_.part;
  return {.hypercall = op != nullptr ? op->hypercall().number : kNone,
          .op = op != nullptr ? op->number : kNone,
          .field = part != nullptr ? part->offset : kNone,
          .entry = finding_.entry,
          .index = finding_.index,
          .address = finding_.ok() ? kNone : finding_.address.value};
}

}  // namespace qemu

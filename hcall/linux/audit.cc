// SPDX-License-Identifier: GPL-2.0 OR MIT
// The audit (hcall/schema/audited_call.h) over a region of a process.
#include "hcall/linux/audit.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/schema/audited_call.h"
#include "xencomm/region.h"
#include "xencomm/region_translation.h"
#include "xencomm/space.h"

namespace {

using xencomm::Access;
using xencomm::Cursor;
using xencomm::Fault;
using xencomm::Mapping;
using xencomm::RegionLayout;
using xencomm::VirtualAddress;
using xencomm::schema::AllowedOp;
using xencomm::schema::AllowedOps;
using xencomm::schema::AuditedCall;
using xencomm::schema::Finding;
using xencomm::schema::Problem;
using xencomm::schema::Range;

constexpr unsigned kPageShift = 12;
constexpr std::uint64_t kPage = std::uint64_t{1} << kPageShift;

// Linux's errno values.
constexpr long kEPERM = 1;
constexpr long kE2BIG = 7;
constexpr long kEACCES = 13;

static_assert(sizeof(unsigned long) == sizeof(std::uint64_t));
static_assert(sizeof(AllowedOp) == sizeof(xencomm_allowed_op) &&
              offsetof(AllowedOp, op) == offsetof(xencomm_allowed_op, op));

// The region's pages where the kernel has them: what the hypervisor will read, or is still to be
// told of. What is for arguments only is the kernel's own, and read as the rest: no pointer to it
// passes but one.
class PagesOfRegion final : public xencomm::Space {
 public:
  PagesOfRegion(void* region, const RegionLayout& layout) : region_(region), layout_(layout) {}

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t into;
    const Fault fault = LocateInRegion(layout_.virtual_base(), layout_.payload_offset(),
                                       layout_.length(), pointer, offset, &into);
    if (fault != Fault::kNone) return fault;
    auto* const page = static_cast<std::byte*>(xencomm_audit_page(region_, into >> kPageShift));
    if (page == nullptr) return Fault::kNotBacked;
    const std::uint64_t within = into % kPage;
    return {page + within, length < kPage - within ? length : kPage - within};
  }

  void* const region_;
  const RegionLayout& layout_;
};

Range RangeOf(const xencomm_range& range) { return {{range.start}, range.bytes}; }

AllowedOps AllowedBy(const xencomm_rules& rules) {
  if (rules.op_count == 0) return AllowedOps::All();
  return std::span(reinterpret_cast<const AllowedOp*>(rules.ops), rules.op_count);
}

// What a PV domain's kernel calls for itself: its page tables and descriptors, where it is entered,
// what it returns to. By it a process could become the kernel. Numbers: public/xen.h.
bool IsOfPvKernels(std::uint64_t hypercall) {
  switch (hypercall & 0xffffffff) {
    case 0:   // set_trap_table
    case 1:   // mmu_update
    case 2:   // set_gdt
    case 3:   // stack_switch
    case 4:   // set_callbacks
    case 5:   // fpu_taskswitch
    case 8:   // set_debugreg
    case 10:  // update_descriptor
    case 14:  // update_va_mapping
    case 22:  // update_va_mapping_otherdomain
    case 23:  // iret
    case 25:  // set_segment_base
    case 26:  // mmuext_op
    case 28:  // nmi_op
    case 30:  // callback_op
      return true;
    default:
      return false;
  }
}

// The call, or one of a list of calls, of which `copy` is what Xen gets.
bool CallsForPvKernels(const xencomm_audited_call& call, const std::byte* copy) {
  constexpr unsigned long kMulticall = 13, kEntry = 64;
  if (call.hypercall != kMulticall) return IsOfPvKernels(call.hypercall);
  for (unsigned long i = 0; i < (call.args[1] & 0xffffffff); ++i) {
    std::uint64_t op;
    __builtin_memcpy(&op, copy + i * kEntry, sizeof(op));
    if (IsOfPvKernels(op)) return true;
  }
  return false;
}

long Refuse(xencomm_audited_call& call, const Finding& finding) {
  call.problem = static_cast<unsigned long>(finding.problem);
  call.op = finding.op != nullptr ? finding.op->number : finding.number;
  call.entry = finding.entry;
  call.address = finding.address.value;
  // Before any op was known, it was the copy that had no room.
  if (finding.problem == Problem::kTooMany && finding.op == nullptr) return -kE2BIG;
  // Xen's own answer, by which programs find out what it is.
  if (finding.problem == Problem::kUnknownVersion) return -kEACCES;
  return -kEPERM;
}

}  // namespace

unsigned long xencomm_audit_release(unsigned long major, unsigned long minor) {
  unsigned long release = 1;
  for (const xencomm::schema::ReleaseNumber& each : xencomm::schema::ReleaseNumbers()) {
    if (each.major == major && each.minor == minor) return release;
    release <<= 1;
  }
  return 0;
}

bool xencomm_audit_copies(unsigned long hypercall) {
  const xencomm::schema::Hypercall* const found = xencomm::schema::Find(hypercall);
  return found != nullptr &&
         (found->op_place == xencomm::schema::OpPlace::kArgument || found->holds_calls);
}

long xencomm_audit_call(xencomm_audited_call* call, const xencomm_rules* rules) {
  const unsigned long* const args = call->args;
  const auto layout = RegionLayout::Make({call->whole.start}, call->whole.bytes, kPageShift);
  if (!layout.ok()) return Refuse(*call, {.problem = Problem::kOutside});
  PagesOfRegion pages(call->region, *layout);
  const xencomm::schema::Caller caller = {
      .space = pages,
      .vcpus = static_cast<std::uint32_t>(rules->vcpus),
      .releases = static_cast<xencomm::schema::Releases>(rules->releases)};
  const xencomm::schema::AuditScratch scratch = {
      {call->scratch.start}, {static_cast<std::byte*>(call->scratch_memory), call->scratch.bytes}};
  AuditedCall audited(
      {.hypercall = call->hypercall, .registers = {args[0], args[1], args[2], args[3], args[4]}},
      caller,
      {.region = *layout, .allowed = AllowedBy(*rules), .arguments_only = RangeOf(call->arguments)},
      scratch);
  if (!audited.ok()) return Refuse(*call, audited.finding());
  if (rules->op_count == 0 && CallsForPvKernels(*call, scratch.memory.data())) {
    return Refuse(*call, {.problem = Problem::kNotAllowed});
  }
  const long answer =
      xencomm_audit_pass(call->region, call->hypercall, audited.call().registers.data());
  // Into the process's own memory, which was read from a moment ago.
  (void)audited.CopyBack();
  return answer;
}

// The library's own, of the same unit (Kbuild).
#include "hcall/schema/audit.cc"
#include "hcall/schema/audited_call.cc"
#include "hcall/schema/generated/op_table_facts.cc"
#include "hcall/schema/table.cc"
#include "hcall/schema/walk.cc"

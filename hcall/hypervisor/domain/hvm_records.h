// The records of an HVM domain's saved state (public/arch-x86/hvm/save.h): which there are, what
// they hold out of reset, what loading one wants of it, and what is saved.
//
// Loading one record is what Xen 4.17 does with it: most are taken as they are, as long as they
// ought to be, and some that are wrong stay all the same. All with the control lock held.
#ifndef HCALL_HYPERVISOR_DOMAIN_HVM_RECORDS_H_
#define HCALL_HYPERVISOR_DOMAIN_HVM_RECORDS_H_

#include <cstdint>
#include <span>

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/hvm_context.h"

namespace xencomm::hypervisor {

// Types of records that are no device's.
inline constexpr std::uint16_t kEndRecord = 0;
inline constexpr std::uint16_t kHeaderRecord = 1;

struct RecordKind {
  enum class Of : std::uint8_t { kDomain, kVcpu };
  // What is kept of one: all that it says, nothing, or what says itself how long it is.
  enum class Kept : std::uint8_t { kWhole, kNot, kSizedByItself };

  std::uint16_t type;
  std::uint16_t bytes;
  Of of;
  std::uint16_t count = 1;   // of a domain
  std::uint32_t device = 0;  // XEN_X86_EMU_*, without which there is none
  bool is_padded = false;    // a short one is filled up with zeros
  std::int16_t refusal = 0;  // of one that has not the length that it ought to
  Kept kept = Kept::kWhole;
  std::uint16_t bytes_since_4_18 = bytes;

  bool of_vcpu() const { return of == Of::kVcpu; }
  std::uint32_t Bytes(const Core& core) const {
    return (core.config.release & schema::kSince4_18) != 0 ? bytes_since_4_18 : bytes;
  }
};

// By type, in the order in which they are saved; null for a type that there is not.
std::span<const RecordKind> RecordKinds();
const RecordKind* RecordKindOf(std::uint64_t type);

// The longest that is ever saved.
inline constexpr std::uint32_t kMostRecordBytes = 1048;

// Out of reset.
void ResetRecords(const Domain& domain, HvmState& state);
void ResetRecords(const Vcpu& vcpu, HvmVcpu& state);

// What is saved of one, in `contents` of kMostRecordBytes; how many bytes, 0 when there is none.
std::uint32_t SaveRecord(const Core& core, const Domain& domain, const RecordKind& kind,
                         unsigned instance, std::uint8_t* contents);

// A record as it lies in a list.
struct GivenRecord {
  std::uint16_t type;
  std::uint16_t instance;
  std::uint32_t length;
  std::span<const std::uint8_t> contents;  // shorter than that where the list ends before

  bool is_cut() const { return contents.size() != length; }
};

// 0 or a negative errno. The domain's state is there, and a vcpu's when it is the record's.
std::int64_t LoadRecord(Core& core, Domain& domain, const GivenRecord& given);
// What Xen 4.19 and later ask of each record before they load any.
std::int64_t CheckRecord(const Core& core, const Domain& domain, const GivenRecord& given);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_HVM_RECORDS_H_

// Pins of grants: what domains do with the pages that another grants them.
//
// A grant may be in use often at a time, by one domain: what for is counted in four bytes, and
// shown to the granter, who may take back what nobody uses. Of a PV domain's page, a pin for
// writing keeps it from becoming a page table. A mapping holds the page, too, which stays when the
// granter gives it up, or ends; a copy is over before the page can be used again
// (memory/quiescence.h).
//
// Rules:
// 1. The entry is the granter's to write: that it is in use is shown first, then it is read
//    (grant_entry.h).
// 2. While a grant is in use its entry says nothing any more: what is known of it is in here.
//    Whatever a granter writes there meanwhile changes nothing, and the table keeps its version.
// 3. All of it happens with the granter's lock held, and no other domain's.
//
// Source of the checks, their order, and what each answers: xen/common/grant_table.c of Xen 4.17.
#ifndef HCALL_HYPERVISOR_DOMAIN_GRANT_PINS_H_
#define HCALL_HYPERVISOR_DOMAIN_GRANT_PINS_H_

#include <cstdint>

#include "hcall/hypervisor/base/machine.h"
#include "xencomm/memory.h"

namespace xencomm::hypervisor {

class Core;
class Domain;

// What for: their sum. Each is counted in a byte, to 128.
inline constexpr std::uint32_t kPinWrite = 1u << 0;  // by a processor
inline constexpr std::uint32_t kPinRead = 1u << 8;
inline constexpr std::uint32_t kPinDeviceWrite = 1u << 16;
inline constexpr std::uint32_t kPinDeviceRead = 1u << 24;

// A grant that is in use, as it was when that began.
struct ActiveGrant {
  std::uint32_t pins = 0;  // 0: not in use, and all else means nothing
  std::uint16_t grantee = 0;
  std::uint16_t start = 0;   // of the part of the page that is granted
  std::uint16_t length = 0;  // bytes
  bool is_part = false;      // cannot be mapped: a part, or passed on
  std::uint8_t reserved = 0;
  // Whose grant it passes on, and which: the granter itself and this one where it does not.
  std::uint32_t origin_ref = 0;
  Domain* origin = nullptr;
  std::uint64_t mfn = 0;
};

// What is answered beside Xen's codes (GNTST_*, which are 0 and below).
inline constexpr std::int16_t kGrantChanged = 1;   // meanwhile: to be asked for again
inline constexpr std::int16_t kGrantNoMemory = 2;  // for the pin
inline constexpr std::int16_t kGrantNoHandle = 3;  // no memory for a handle

// What a pin gives: a part of a page, or all of it.
struct GrantedPart {
  std::uint64_t mfn = kNoFrame;
  std::uint16_t start = 0;
  std::uint16_t length = 0;  // bytes
};

// Pins grant `ref` of `granter` for `grantee`, who is to map the page: it is held for each of the
// pins.
std::int16_t PinForMapping(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee,
                           std::uint32_t pins, std::uint64_t* mfn);
// The same for a copy, kPinRead or kPinWrite: also of a part of a page, and of what somebody else
// grants to the granter.
std::int16_t PinForCopy(Core& core, Domain& granter, std::uint32_t ref, std::uint16_t grantee,
                        std::uint32_t pins, GrantedPart* part);
// End what these began; what may have been written is marked in the granter's log. After the first
// nobody may need the granter any more: ForgetIfDead.
void UnpinMapping(Core& core, Domain& granter, std::uint32_t ref, std::uint32_t pins);
void UnpinCopy(Core& core, Domain& granter, std::uint32_t ref, std::uint32_t pins);

// A page of the domain's own for a copy, by its number in the physmap; and the end of that.
// GNTST_bad_page: there is none; GNTST_general_error: it is not to be written.
std::int16_t PinOwnPage(Core& core, Domain& domain, std::uint64_t frame, std::uint32_t pins,
                        std::uint64_t* mfn);
void UnpinOwnPage(Core& core, Domain& domain, std::uint64_t mfn, std::uint32_t pins);

// Forgets a dead domain, if nobody needs it any more. Takes the control lock.
void ForgetIfDead(Core& core, Domain& domain);

// The entry of `granter`, from `*ref` on and at most `count` of them, by which `grantee` has this
// page in use. False: none; `*ref` is where it goes on, or 0 at the table's end.
bool FindPin(Domain& granter, std::uint16_t grantee, std::uint64_t mfn, std::uint32_t count,
             std::uint32_t* ref);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_GRANT_PINS_H_

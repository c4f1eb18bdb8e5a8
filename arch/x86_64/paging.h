// The paging structures of x86-64: levels, entry bits, and the rules that a processor's registers
// put in force. Data, no code that walks: that is page_walk.h, and page_tables.h builds.
//
// Sections are of the Intel SDM, volume 3.
#ifndef ARCH_X86_64_PAGING_H_
#define ARCH_X86_64_PAGING_H_

#include <cstdint>

#include "xencomm/memory.h"

namespace xencomm::x86_64 {

// Bits first … last, both included, counted from 0.
constexpr std::uint64_t Bits(unsigned first, unsigned last) {
  return (~std::uint64_t{0} >> (63 - (last - first))) << first;
}
constexpr std::uint64_t Bit(unsigned bit) { return Bits(bit, bit); }

// An entry, at any level (4.5.4, tables 4-14 to 4-20).
inline constexpr std::uint64_t kEntryPresent = Bit(0);
inline constexpr std::uint64_t kEntryWritable = Bit(1);
inline constexpr std::uint64_t kEntryUser = Bit(2);
inline constexpr std::uint64_t kEntryAccessed = Bit(5);
inline constexpr std::uint64_t kEntryDirty = Bit(6);      // in a leaf
inline constexpr std::uint64_t kEntryLargePage = Bit(7);  // PS; in a PT it is PAT
inline constexpr unsigned kAddressBits = 52;              // of a physical address, at most
inline constexpr std::uint64_t kEntryAddress = Bits(12, kAddressBits - 1);
inline constexpr unsigned kKeyShift = 59;  // protection key, in a leaf
inline constexpr std::uint64_t kKeyMask = 15;
inline constexpr std::uint64_t kEntryNoExecute = Bit(63);

inline constexpr std::uint64_t kCr0Wp = Bit(16);
inline constexpr std::uint64_t kCr4La57 = Bit(12);
inline constexpr std::uint64_t kCr4Smep = Bit(20);
inline constexpr std::uint64_t kCr4Smap = Bit(21);
inline constexpr std::uint64_t kCr4Pke = Bit(22);
inline constexpr std::uint64_t kCr4Pks = Bit(24);
inline constexpr std::uint64_t kEferNxe = Bit(11);
inline constexpr std::uint64_t kRflagsAc = Bit(18);

// The error code of a page fault (4.7).
inline constexpr std::uint32_t kErrorPresent = 1 << 0;  // an entry was there and forbids the access
inline constexpr std::uint32_t kErrorWrite = 1 << 1;
inline constexpr std::uint32_t kErrorUser = 1 << 2;
inline constexpr std::uint32_t kErrorReserved = 1 << 3;
inline constexpr std::uint32_t kErrorFetch = 1 << 4;
inline constexpr std::uint32_t kErrorKey = 1 << 5;

inline constexpr unsigned kTableShift = 9;  // 512 entries in a table
inline constexpr std::uint64_t kTableEntries = std::uint64_t{1} << kTableShift;
inline constexpr std::uint64_t kTableBytes = kTableEntries * sizeof(std::uint64_t);
inline constexpr unsigned kMaxLevels = 5;

// When an entry of a level is a leaf, one that maps a page.
enum class Leaf : std::uint8_t { kAlways, kIfPs, kIfPsAndGigabytePages, kNever };

struct Level {
  const char* name;  // of the table
  unsigned shift;    // of the table's index in an address; a leaf maps 1 << shift bytes
  Leaf leaf;
};

// Levels count from the leaf table up, as in FaultInfo; the walk begins at level 4 or 5.
inline constexpr Level kLevels[kMaxLevels + 1] = {
    {"", 0, Leaf::kNever},      {"PT", 12, Leaf::kAlways},
    {"PD", 21, Leaf::kIfPs},    {"PDPT", 30, Leaf::kIfPsAndGigabytePages},
    {"PML4", 39, Leaf::kNever}, {"PML5", 48, Leaf::kNever},
};
static_assert(kLevels[4].shift + kTableShift == 48 && kLevels[5].shift + kTableShift == 57);

constexpr std::uint64_t PageBytes(unsigned level) { return Bit(kLevels[level].shift); }

constexpr std::uint64_t TableIndex(std::uint64_t address, unsigned level) {
  return (address >> kLevels[level].shift) & (kTableEntries - 1);
}

// Whether two addresses are mapped by one table of `level`: the bits above its index are the same.
constexpr bool InSameTable(std::uint64_t a, std::uint64_t b, unsigned level) {
  return (a ^ b) >> (kLevels[level].shift + kTableShift) == 0;
}
static_assert(InSameTable(0x20'0000, 0x3f'ffff, 1) && !InSameTable(0x3f'ffff, 0x40'0000, 1));

// How many of an address's bits are above the width of a walk.
constexpr unsigned BitsAbove(unsigned levels) { return 64 - kLevels[levels].shift - kTableShift; }

// Whether `above` bits of an address repeat the one below them (3.3.7.1 in volume 1).
constexpr bool RepeatsTopBit(std::uint64_t address, unsigned above) {
  const auto top = static_cast<std::int64_t>(address << above);
  return static_cast<std::uint64_t>(top >> above) == address;
}
constexpr bool IsCanonical(std::uint64_t address, unsigned levels) {
  return RepeatsTopBit(address, BitsAbove(levels));
}
static_assert(IsCanonical(0x0000'7fff'ffff'ffff, 4) && !IsCanonical(0x0000'8000'0000'0000, 4));
static_assert(IsCanonical(0xffff'8000'0000'0000, 4) && !IsCanonical(0xffff'7fff'ffff'ffff, 4));
static_assert(IsCanonical(0x00ff'ffff'ffff'ffff, 5) && !IsCanonical(0x0100'0000'0000'0000, 5));
static_assert(IsCanonical(0xff00'0000'0000'0000, 5) && !IsCanonical(0xfeff'ffff'ffff'ffff, 5));

// On whose behalf memory is accessed (4.6).
enum class Privilege : std::uint8_t {
  kUser,
  // What Xen does for an HVM guest, whose kernel may pass pointers to its own memory.
  kSupervisor,
};

// A vcpu's registers, as far as paging depends on them, and what its processor can do. Long mode
// with paging on is understood.
struct PagingState {
  std::uint64_t cr0 = kCr0Wp;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = kEferNxe;
  std::uint64_t rflags = 0;
  std::uint32_t pkru = 0;
  std::uint32_t pkrs = 0;
  unsigned physical_bits = 52;  // MAXPHYADDR, 32…52
  bool gigabyte_pages = true;   // CPUID.80000001H:EDX[26]
  Privilege privilege = Privilege::kUser;
  // Set accessed and dirty bits as the processor would. The tables must be writable in Memory.
  bool mark_accessed = false;
};

// A PagingState made ready for walking: every question of an entry becomes a mask.
class PagingRules {
 public:
  // A bit of an access's rights is forbidden when an entry on the way denies it. The denials of a
  // walk add up by `denied |= entry ^ kGrants`: a set bit is P, R/W or U/S missing somewhere, or NX
  // found somewhere.
  static constexpr std::uint64_t kGrants = kEntryPresent | kEntryWritable | kEntryUser;
  static constexpr std::uint64_t kDenials = kGrants | kEntryNoExecute;

  struct Rights {
    std::uint64_t needed = 0;    // none of these may be denied
    std::uint64_t inverted = 0;  // but these must be: U/S, for a page that must not be a user's
    std::uint32_t error = 0;     // what the error code says of the access itself
  };

  explicit constexpr PagingRules(const PagingState& state)
      : root_(state.cr3 & kEntryAddress),
        levels_((state.cr4 & kCr4La57) != 0 ? 5 : 4),
        bits_above_(BitsAbove(levels_)),
        half_(Bit(63 - bits_above_)),
        mark_accessed_(state.mark_accessed) {
    SetFixed(state);
    SetRights(state);
    SetKeys(state);
    if (!keys_in_force_ && !mark_accessed_) plain_bytes_ = 2 * half_;
    for (unsigned access = 0; access < kAccesses; ++access) {
      inverted_[access] = rights_[access].inverted;
      refuses_[access] = rights_[access].needed | (fixed_[1] & ~kEntryPresent);
    }
  }

  constexpr std::uint64_t root() const { return root_; }
  constexpr unsigned levels() const { return levels_; }
  constexpr bool IsCanonical(std::uint64_t address) const {
    return RepeatsTopBit(address, bits_above_);
  }
  constexpr bool mark_accessed() const { return mark_accessed_; }
  constexpr const Rights& rights(Access access) const {
    return rights_[static_cast<unsigned>(access)];
  }

  // Canonical, and neither keys nor marks: a leaf's rights are all that is asked beside what
  // entries say of themselves.
  constexpr bool IsPlain(std::uint64_t address) const { return address + half_ < plain_bytes_; }
  // Whether something on the way forbids `access`, or is reserved at every level, in the denials of
  // a whole walk.
  constexpr bool Refuses(std::uint64_t denied, Access access) const {
    const auto i = static_cast<unsigned>(access);
    return ((denied ^ inverted_[i]) & refuses_[i]) != 0;
  }

  // Bits of an entry of `level` that leave no choice: P must be set, reserved bits must not.
  constexpr std::uint64_t fixed(unsigned level) const { return fixed_[level]; }

  // Whether the protection key of a leaf forbids `access`; `user_page`: U/S is set all the way
  // (4.6.2). Only data accesses have a key to pass.
  constexpr bool KeyForbids(std::uint64_t leaf, bool user_page, Access access) const {
    const std::uint64_t forbidden = key_forbids_[user_page ? 1 : 0][static_cast<unsigned>(access)];
    return ((forbidden >> ((leaf >> kKeyShift) & kKeyMask)) & 1) != 0;
  }
  constexpr bool keys_in_force() const { return keys_in_force_; }

 private:
  static constexpr unsigned kAccesses = 3;

  constexpr void SetFixed(const PagingState& state) {
    const std::uint64_t everywhere =
        (state.physical_bits < 52 ? Bits(state.physical_bits, 51) : 0) |
        ((state.efer & kEferNxe) == 0 ? kEntryNoExecute : 0);
    for (unsigned level = 1; level <= kMaxLevels; ++level) {
      const Leaf leaf = kLevels[level].leaf;
      const bool ps_reserved =
          leaf == Leaf::kNever || (leaf == Leaf::kIfPsAndGigabytePages && !state.gigabyte_pages);
      fixed_[level] = kEntryPresent | everywhere | (ps_reserved ? kEntryLargePage : 0);
    }
  }

  constexpr void SetRights(const PagingState& state) {
    const bool user = state.privilege == Privilege::kUser;
    const bool write_protect = (state.cr0 & kCr0Wp) != 0;
    const bool smep = (state.cr4 & kCr4Smep) != 0;
    const bool smap = (state.cr4 & kCr4Smap) != 0 && (state.rflags & kRflagsAc) == 0;
    const bool nxe = (state.efer & kEferNxe) != 0;

    const std::uint64_t data_inverted = !user && smap ? kEntryUser : 0;
    const std::uint64_t fetch_inverted = !user && smep ? kEntryUser : 0;
    const std::uint64_t page = kEntryPresent | (user ? kEntryUser : 0);
    const std::uint32_t error = user ? kErrorUser : 0;
    rights_[static_cast<unsigned>(Access::kRead)] = {page | data_inverted, data_inverted, error};
    rights_[static_cast<unsigned>(Access::kWrite)] = {
        page | data_inverted | (user || write_protect ? kEntryWritable : 0), data_inverted,
        error | kErrorWrite};
    rights_[static_cast<unsigned>(Access::kExecute)] = {page | fetch_inverted | kEntryNoExecute,
                                                        fetch_inverted,
                                                        error | (nxe || smep ? kErrorFetch : 0)};
  }

  // PKRU and PKRS hold, for each of 16 keys, access-disable and write-disable. They become a 16-bit
  // set of keys for each kind of access.
  constexpr void SetKeys(const PagingState& state) {
    const bool write_protect = (state.cr0 & kCr0Wp) != 0;
    const bool user = state.privilege == Privilege::kUser;
    const bool in_force[2] = {(state.cr4 & kCr4Pks) != 0, (state.cr4 & kCr4Pke) != 0};
    const std::uint32_t registers[2] = {state.pkrs, state.pkru};
    for (unsigned user_page = 0; user_page < 2; ++user_page) {
      if (!in_force[user_page]) continue;
      for (unsigned key = 0; key < 16; ++key) {
        const bool access_disable = (registers[user_page] >> (2 * key) & 1) != 0;
        const bool write_disable = (registers[user_page] >> (2 * key + 1) & 1) != 0;
        const bool write_checked = write_protect || (user && user_page == 1);
        const bool no_write = access_disable || (write_disable && write_checked);
        auto& sets = key_forbids_[user_page];
        if (access_disable) sets[static_cast<unsigned>(Access::kRead)] |= 1u << key;
        if (no_write) sets[static_cast<unsigned>(Access::kWrite)] |= 1u << key;
      }
      keys_in_force_ = true;
    }
  }

  std::uint64_t root_;
  std::uint64_t fixed_[kMaxLevels + 1] = {};
  Rights rights_[kAccesses] = {};
  std::uint64_t inverted_[kAccesses] = {};  // the same, one beside the other
  std::uint64_t refuses_[kAccesses] = {};   // with what is reserved at every level
  std::uint32_t key_forbids_[2][kAccesses] = {};
  unsigned levels_;
  unsigned bits_above_;
  std::uint64_t half_;             // of the canonical addresses: as many bytes
  std::uint64_t plain_bytes_ = 0;  // all of them, or none
  bool keys_in_force_ = false;
  bool mark_accessed_;
};

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_PAGING_H_

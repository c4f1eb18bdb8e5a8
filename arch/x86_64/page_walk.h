// The x86-64 page walk: a guest's raw pointer, through the guest's own tables.
//
//        63      57|56    48|47    39|38    30|29    21|20    12|11         0
//       +----------+--------+--------+--------+--------+--------+------------+
//       | = bit 56 |  PML5  |  PML4  |  PDPT  |   PD   |   PT   |   offset   |   or with 4 levels:
//       | (47)     |  index |  index |  index |  index |  index |            |   = bit 47
//       +----------+----|---+----|---+----|---+----|---+----|---+------|-----+
//                       |        |        |        |        |          |
//   CR3 (LA57) -----> PML5 --> PML4 --> PDPT ---> PD ----> PT ----> 4 KiB page
//   CR3 ---------------------> PML4       |        |
//                                         | PS     | PS
//                                         |        +--------------> 2 MiB page, offset 20…0
//                                         +-----------------------> 1 GiB page, offset 29…0
//
// Rules:
// 1. Each entry is read once; what was checked is what is used.
// 2. The walk ends with the first entry that is not present or has a reserved bit set. Rights are
//    judged at the leaf, from all entries on the way (4.6), so that is the level of such a fault.
// 3. A fault has the error code that the processor would push (4.7). Where the processor raises no
//    page fault, the code is 0: an address that is not canonical, a table that is not in memory.
//    What is looked for quickly is walked without asking, and begun anew when anything is wrong.
// 4. Nothing is remembered across copies. Within one, the cursor keeps the table of the last leaf,
//    as a processor's paging-structure caches may (4.10.3). Tables above it are not worth keeping:
//    they would save a part of one walk in every 2 MiB.
//
// Sections are of the Intel SDM, volume 3.
#ifndef ARCH_X86_64_PAGE_WALK_H_
#define ARCH_X86_64_PAGE_WALK_H_

#include <cstdint>

#include "arch/x86_64/paging.h"
#include "xencomm/space.h"
#include "xencomm/trace.h"

namespace xencomm::x86_64 {

static_assert(kMaxLevels <= Trace::kMaxSteps);

template <Memory M>
class PageWalk {
 public:
  // The table of the last leaf, which serves its neighbours too: 2 MiB of 4 KiB pages.
  struct Cursor {
    unsigned level = 0;                // 0: none yet
    std::uint64_t address = 0;         // one that the table maps
    const std::byte* table = nullptr;  // where Memory has it
    std::uint64_t word = 0;            // where the guest has it, and what the entries above deny
  };

  // `memory` is borrowed.
  PageWalk(M& memory, const PagingState& state) : PageWalk(memory, PagingRules(state)) {}
  PageWalk(M& memory, const PagingRules& rules) : memory_(&memory), rules_(rules) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                    Access access, Cursor& cursor) const {
    VirtualAddress address;
    if (!AddOffset(pointer, offset, &address)) [[unlikely]]
      return Fault::kOverflow;
    if (rules_.mark_accessed()) [[unlikely]] {
      // On a copy, so that this call does not force the cursor into memory.
      Cursor marked = cursor.level != 0 ? cursor : Cursor();
      const Segment segment = WalkAndMark(address.value, length, access, marked);
      cursor = marked;
      return segment;
    }
    return Walk(address.value, length, access, cursor, kUntraced);
  }

  template <class Quick>
  bool TranslateQuickly(Quick& memory, VirtualAddress pointer, Access access,
                        PhysicalAddress* in_page) const {
    if (!rules_.IsPlain(pointer.value)) [[unlikely]]
      return false;
    return rules_.levels() == 4 ? DescendQuickly<4>(memory, pointer.value, access, in_page)
                                : DescendQuickly<5>(memory, pointer.value, access, in_page);
  }

  // The same walk, with what it saw on the way; it marks nothing as accessed. A fault belongs to
  // the last step, unless the table behind it could not be read: then fault().level is one below.
  Trace TraceOf(VirtualAddress pointer, Access access) const {
    Cursor cursor;
    Trace trace;
    trace.end = Walk(pointer.value, ~std::uint64_t{0}, access, cursor, trace);
    return trace;
  }

  const PagingRules& rules() const { return rules_; }

 private:
  // Another vcpu that changes an entry between its reading and its marking starts the walk anew.
  // One that does so every time is not waited for.
  static constexpr unsigned kMarkAttempts = 64;

  // The walk without questions on the way: what is wrong with an entry, that it is not present
  // included, adds up with what it denies, and is found at the end. Until then a wrong entry leads
  // to memory of the guest, or to none.
  template <unsigned kTop, class Quick>
  bool DescendQuickly(Quick& memory, std::uint64_t address, Access access,
                      PhysicalAddress* in_page) const {
    std::uint64_t entry = rules_.root();
    std::uint64_t denied = 0;
#pragma GCC unroll 5
    for (unsigned level = kTop; level > 0; --level) {
      if (!StepQuickly(memory, address, level, &entry, &denied)) [[unlikely]]
        return false;
      if (level == 1 || (entry & kEntryLargePage) == 0) [[likely]]
        continue;
      const std::uint64_t page_number = Bits(12, kLevels[level].shift - 1);
      if ((rules_.fixed(level) & kEntryLargePage) != 0 || (entry & page_number & ~Bit(12)) != 0) {
        return false;
      }
      // As if a table followed, with an entry for each of its pages.
      entry = (entry & ~page_number) | (address & page_number);
      break;
    }
    if (rules_.Refuses(denied, access)) [[unlikely]]
      return false;
    *in_page = {entry & kEntryAddress};
    return true;
  }

  // From the entry that leads to the table of `level` to the one in it.
  template <class Quick>
  bool StepQuickly(Quick& memory, std::uint64_t address, unsigned level, std::uint64_t* entry,
                   std::uint64_t* denied) const {
    std::byte* table;
    if (!memory.FindPage({*entry & kEntryAddress}, Access::kRead, &table)) [[unlikely]]
      return false;
    *entry = LoadSharedField<std::uint64_t>(
        table + TableIndex(address, level) * sizeof(std::uint64_t), ByteOrder::kLittle);
    *denied |= *entry ^ PagingRules::kGrants;
    return true;
  }

  // `see` is told of each entry read.
  template <class See>
  Segment Walk(std::uint64_t address, std::uint64_t length, Access access, Cursor& cursor,
               See& see) const {
    if (!rules_.IsCanonical(address)) [[unlikely]]
      return Fault::kNotCanonical;

    unsigned first;
    const std::byte* table;
    std::uint64_t word;  // of the table: where the guest has it, and more of what led to it
    std::uint64_t denied;
    if (cursor.level != 0 && InSameTable(address, cursor.address, cursor.level)) {
      first = cursor.level;
      table = cursor.table;
      word = denied = cursor.word;
    } else {
      first = rules_.levels();
      word = rules_.root();
      denied = 0;
      const Mapping root = MapTable(word);
      if (root.length() < kTableBytes) [[unlikely]]
        return NoTable(root, first);
      table = root.start();
    }

    // Unrolled, so that what the level table says of a level is a constant in its copy.
#pragma GCC unroll 5
    for (unsigned level = kMaxLevels; level > 0; --level) {
      if (level > first) continue;
      const std::uint64_t index = TableIndex(address, level);
      const auto entry =
          LoadSharedField<std::uint64_t>(table + index * sizeof(std::uint64_t), ByteOrder::kLittle);
      see(Step{.table = kLevels[level].name,
               .level = static_cast<std::uint8_t>(level),
               .index = index,
               .address = {(word & kEntryAddress) + index * sizeof(std::uint64_t)},
               .entry = entry});

      // Present and nothing reserved, in one comparison: P is among the grants, and no other of
      // them leaves no choice.
      const std::uint64_t lacks = entry ^ PagingRules::kGrants;
      if ((lacks & rules_.fixed(level)) != 0) [[unlikely]]
        return BadEntry(entry, level, access);
      const std::uint64_t denied_above = denied;
      denied |= lacks;
      bool is_leaf = kLevels[level].leaf == Leaf::kAlways;
      if (!is_leaf && kLevels[level].leaf != Leaf::kNever) is_leaf = (entry & kEntryLargePage) != 0;
      if (is_leaf) {
        // Between PAT (bit 12) and the page's address nothing may be set (tables 4-15, 4-17).
        if (level > 1 && (entry & Bits(13, kLevels[level].shift - 1)) != 0) [[unlikely]]
          return BadEntry(entry, level, access);
        const PagingRules::Rights& rights = rules_.rights(access);
        const bool key_forbids =
            rules_.keys_in_force() && rules_.KeyForbids(entry, (denied & kEntryUser) == 0, access);
        if (((denied ^ rights.inverted) & rights.needed) != 0 || key_forbids) [[unlikely]]
          return Forbidden(denied, key_forbids, level, access);
        const std::uint64_t within = address & (PageBytes(level) - 1);
        const std::uint64_t page = entry & kEntryAddress & ~(PageBytes(level) - 1);
        const std::uint64_t rest = PageBytes(level) - within;
        // Only who comes again needs it: for the next page, or the rest of a large one.
        if (length > rest || level > 1) {
          const std::uint64_t place = word & kEntryAddress;
          cursor = {level, address, table, place | (denied_above & PagingRules::kDenials)};
        }
        return {PhysicalAddress{page + within}, length < rest ? length : rest};
      }
      const Mapping next = MapTable(entry);
      if (next.length() < kTableBytes) [[unlikely]]
        return NoTable(next, level - 1);
      table = next.start();
      word = entry;
    }
    __builtin_unreachable();  // every entry of the last level is a leaf
  }

  // All of a table at once: a copy of many pages then looks it up once for all its entries.
  Mapping MapTable(std::uint64_t entry) const {
    return memory_->Map(PhysicalAddress{entry & kEntryAddress}, kTableBytes, Access::kRead);
  }

  [[gnu::cold, gnu::noinline]] static Segment NoTable(Mapping table, unsigned level) {
    const Fault fault = table.ok() ? Fault::kNoMemory : table.fault().fault;
    return FaultInfo(fault, static_cast<std::uint8_t>(level));
  }

  [[gnu::cold, gnu::noinline]] Segment BadEntry(std::uint64_t entry, unsigned level,
                                                Access access) const {
    const auto at = static_cast<std::uint8_t>(level);
    const std::uint32_t error = rules_.rights(access).error;
    if ((entry & kEntryPresent) == 0) return FaultInfo(Fault::kNotPresent, at, error);
    return FaultInfo(Fault::kReserved, at, error | kErrorPresent | kErrorReserved);
  }

  // When several rights are missing, R/W and U/S are named before NX and the key; the error code
  // has a bit for the key whatever else is wrong.
  [[gnu::cold, gnu::noinline]] Segment Forbidden(std::uint64_t denied, bool key_forbids,
                                                 unsigned level, Access access) const {
    const auto at = static_cast<std::uint8_t>(level);
    const PagingRules::Rights& rights = rules_.rights(access);
    const std::uint64_t missing = (denied ^ rights.inverted) & rights.needed;
    const std::uint32_t error = rights.error | kErrorPresent | (key_forbids ? kErrorKey : 0);
    if ((missing & ~kEntryNoExecute) != 0) return FaultInfo(Fault::kProtection, at, error);
    return FaultInfo(missing != 0 ? Fault::kNoExecute : Fault::kProtectionKey, at, error);
  }

  // Walks first and marks then, so that an access that faults has changed nothing.
  [[gnu::noinline]] Segment WalkAndMark(std::uint64_t address, std::uint64_t length, Access access,
                                        Cursor& cursor) const {
    for (unsigned attempt = 0; attempt < kMarkAttempts; ++attempt) {
      Trace trace;
      const Segment segment = Walk(address, length, access, cursor, trace);
      if (!segment.ok()) return segment;
      bool marked = true;
      for (unsigned i = 0; marked && i < trace.count; ++i) {
        const bool leaf = i + 1 == trace.count;
        const std::uint64_t bits =
            kEntryAccessed | (leaf && access == Access::kWrite ? kEntryDirty : std::uint64_t{0});
        const Result<bool> result = Mark(trace.steps[i], bits);
        if (!result.ok()) return FaultInfo(result.fault().fault, trace.steps[i].level);
        marked = *result;
      }
      if (marked) return segment;
      cursor = Cursor();
    }
    return Fault::kNotWritable;
  }

  // Sets `bits` in the entry if it is still as the walk saw it; false if it is not.
  Result<bool> Mark(const Step& step, std::uint64_t bits) const {
    if ((step.entry & bits) == bits) return true;
    const Mapping word = memory_->Map(step.address, sizeof(std::uint64_t), Access::kWrite);
    if (word.length() < sizeof(std::uint64_t)) {
      return word.ok() ? FaultInfo(Fault::kNoMemory) : word.fault();
    }
    // Entries are little-endian, whoever walks.
    std::uint64_t expected = InOrder(step.entry, ByteOrder::kLittle);
    const std::uint64_t marked = InOrder(step.entry | bits, ByteOrder::kLittle);
    // The guest's entry as an object that both sides change; Map's run has its 8-byte alignment.
    auto* entry = reinterpret_cast<std::uint64_t*>(word.start());
    return __atomic_compare_exchange_n(entry, &expected, marked, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
  }

  M* memory_;
  PagingRules rules_;
};

}  // namespace xencomm::x86_64

#endif  // ARCH_X86_64_PAGE_WALK_H_

// All permutations of a walk, in the manner of kvm-unit-tests' access test, with a model in place
// of the processor: two entries take every combination of the bits that matter, under every
// combination of the registers that matter, for each access. The model is as plain as it can be
// made, and follows the manual's sentences (SDM volume 3, 4.5 to 4.7) one by one.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "arch/x86_64/page_walk.h"
#include "tests/unit/hand_built_tables.h"

namespace xencomm::x86_64 {
namespace {

using namespace testing;

INSTANTIATE_TEST_SUITE_P(LevelsAndPageSizes, EachWalk,
                         ::testing::Combine(::testing::Values(4, 5), ::testing::Values(1, 2, 3)),
                         NameOfWalk);

struct Outcome {
  Fault fault = Fault::kNone;
  unsigned level = 0;
  std::uint32_t code = 0;
  std::uint64_t physical = 0;
};

struct Machine {
  unsigned levels;
  bool wp, nxe, smep, smap, ac, pke, pks, user, gigabyte;
  std::uint32_t pkru, pkrs;
  unsigned physical_bits;
};

Outcome Model(const Machine& machine, const std::uint64_t (&entries)[6], std::uint64_t address,
              Access access) {
  const bool write = access == Access::kWrite;
  const bool fetch = access == Access::kExecute;
  std::uint32_t code = 0;
  if (write) code += kErrW;
  if (machine.user) code += kErrU;
  if (fetch && (machine.nxe || machine.smep)) code += kErrId;

  bool all_writable = true, all_user = true, any_nx = false;
  unsigned level = machine.levels;
  std::uint64_t entry = 0;
  for (;; --level) {
    entry = entries[level];
    if (entry % 2 == 0) return {Fault::kNotPresent, level, code, 0};
    const bool ps = (entry & 0x80) != 0;
    bool reserved = false;
    for (unsigned bit = machine.physical_bits; bit < 52; ++bit) {
      if ((entry >> bit) % 2 == 1) reserved = true;
    }
    if (entry >> 63 == 1 && !machine.nxe) reserved = true;
    if (level >= 4 && ps) reserved = true;
    if (level == 3 && ps && !machine.gigabyte) reserved = true;
    if (level == 3 && ps && (entry & 0x3fff'e000) != 0) reserved = true;
    if (level == 2 && ps && (entry & 0x001f'e000) != 0) reserved = true;
    if (reserved) return {Fault::kReserved, level, code + kErrP + kErrRsvd, 0};
    all_writable = all_writable && (entry & 2) != 0;
    all_user = all_user && (entry & 4) != 0;
    any_nx = any_nx || entry >> 63 == 1;
    if (level == 1 || ps) break;
  }

  bool protection = false, key = false, no_execute = false;
  if (machine.user) {
    if (!all_user) protection = true;
    if (write && !all_writable) protection = true;
  } else {
    if (write && machine.wp && !all_writable) protection = true;
    if (!fetch && all_user && machine.smap && !machine.ac) protection = true;
    if (fetch && all_user && machine.smep) protection = true;
  }
  if (fetch && any_nx) no_execute = true;
  if (!fetch && (all_user ? machine.pke : machine.pks)) {
    const std::uint32_t bits = (all_user ? machine.pkru : machine.pkrs) >> (entry >> 59) % 16 * 2;
    if (bits % 2 == 1) key = true;
    if (write && bits / 2 % 2 == 1 && (machine.wp || (machine.user && all_user))) key = true;
  }
  if (protection || no_execute || key) {
    const Fault fault = protection   ? Fault::kProtection
                        : no_execute ? Fault::kNoExecute
                                     : Fault::kProtectionKey;
    return {fault, level, code + kErrP + (key ? kErrPk : 0), 0};
  }
  const std::uint64_t size = kPageBytes[level];
  return {Fault::kNone, 0, 0, (entry & 0x000f'ffff'ffff'f000) / size * size + address % size};
}

// Eight tables in a row: a look-up must cost nothing here.
class FlatTables {
 public:
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access) {
    if (physical.value >= sizeof(words_)) return Fault::kNoMemory;
    const std::uint64_t rest = sizeof(words_) - physical.value;
    return {reinterpret_cast<std::byte*>(words_) + physical.value, length < rest ? length : rest};
  }
  // A quick side that declines nothing that is there.
  FlatTables& Quick() { return *this; }
  bool FindPage(PhysicalAddress physical, Access access, std::byte** page) {
    const Mapping run = Map({physical.value - physical.value % kPage}, kPage, access);
    if (run.ok()) *page = run.start();
    return run.ok();
  }
  std::uint64_t& Word(unsigned level, unsigned index) { return words_[level * 512 + index]; }

 private:
  std::uint64_t words_[6 * 512] = {};
};

class Permutations {
 public:
  Permutations(unsigned levels, unsigned leaf) : levels_(levels), leaf_(leaf) {
    for (unsigned level = 1; level <= levels; ++level) {
      entries_[level] = (level > 1 ? (level - 1) * kPage : kFrame[1]) | kAll;
    }
    entries_[leaf] = kFrame[leaf] | kAll | (leaf > 1 ? kPs : 0);
    for (unsigned level = 1; level <= levels; ++level) Write(level);
  }

  // `varied` is the level above the leaf that varies too.
  void Run(unsigned varied) {
    const std::uint64_t leaf_base = entries_[leaf_] & ~kAll;
    const std::uint64_t upper_base = entries_[varied] & ~kAll;
    for (unsigned registers = 0; registers < (1 << 7); ++registers) {
      // Key 0 is denied nothing, key 3 what `rights` say for user pages, and the opposite for the
      // supervisor's: only one of the two can be asked about a page.
      for (unsigned rights = 0; rights < (1 << 2); ++rights) {
        for (unsigned privilege = 0; privilege < 2; ++privilege) {
          SetMachine(registers, rights, privilege == 1);
          const PageWalk<FlatTables> walk(memory_, state_);
          for (unsigned bits = 0; bits < (1 << 6); ++bits) {
            entries_[leaf_] = leaf_base | EntryBits(bits) | ((bits & 32) != 0 ? One(59) * 3 : 0);
            Write(leaf_);
            for (unsigned upper = 0; upper < (1 << 6); ++upper) {
              entries_[varied] = upper_base | EntryBits(upper) | ((upper & 32) != 0 ? kPs : 0);
              Write(varied);
              for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
                Compare(walk, access);
              }
            }
          }
        }
      }
    }
  }

  std::uint64_t walks() const { return walks_; }
  std::uint64_t successes() const { return successes_; }
  std::uint64_t quick_successes() const { return quick_successes_; }
  const std::optional<std::string>& first_difference() const { return first_difference_; }

 private:
  // P, R/W, U/S, NX and a bit beyond MAXPHYADDR.
  static std::uint64_t EntryBits(unsigned bits) {
    return (bits & 7) | ((bits & 8) != 0 ? kNx : 0) | ((bits & 16) != 0 ? One(50) : 0);
  }

  void SetMachine(unsigned registers, unsigned rights, bool user) {
    const auto on = [registers](unsigned bit) { return (registers >> bit & 1) != 0; };
    machine_ = {.levels = levels_,
                .wp = on(0),
                .nxe = on(1),
                .smep = on(2),
                .smap = on(3),
                .ac = on(4),
                .pke = on(5),
                .pks = on(6),
                .user = user,
                .gigabyte = true,
                .pkru = rights << 6,
                .pkrs = (rights ^ 3) << 6,
                .physical_bits = 46};
    state_ = {.cr0 = machine_.wp ? kWp : 0,
              .cr3 = levels_ * kPage,
              .cr4 = (levels_ == 5 ? kLa57 : 0) | (machine_.smep ? kSmep : 0) |
                     (machine_.smap ? kSmap : 0) | (machine_.pke ? kPke : 0) |
                     (machine_.pks ? kPks : 0),
              .efer = machine_.nxe ? kNxe : 0,
              .rflags = machine_.ac ? kAc : 0,
              .pkru = machine_.pkru,
              .pkrs = machine_.pkrs,
              .physical_bits = 46,
              .privilege = user ? Privilege::kUser : Privilege::kSupervisor};
  }

  void Write(unsigned level) { memory_.Word(level, kIndex[level]) = entries_[level]; }

  void Compare(const PageWalk<FlatTables>& walk, Access access) {
    typename PageWalk<FlatTables>::Cursor cursor;
    const std::uint64_t address = Address(levels_);
    const Segment segment = walk.Translate({address}, 0, 1, access, cursor);
    const Outcome model = Model(machine_, entries_, address, access);
    ++walks_;
    CompareQuickly(walk, access, model);
    bool same;
    if (segment.ok()) {
      ++successes_;
      same = model.fault == Fault::kNone && segment.start().value == model.physical;
    } else {
      const FaultInfo fault = segment.fault();
      same = fault.fault == model.fault && fault.level == model.level &&
             fault.error_code == model.code;
    }
    if (same || first_difference_) return;
    ::testing::Message text;
    text << "access " << static_cast<int>(access) << std::hex << " cr0 " << state_.cr0 << " cr4 "
         << state_.cr4 << " efer " << state_.efer << " rflags " << state_.rflags << " pkru "
         << state_.pkru << " pkrs " << state_.pkrs << (machine_.user ? " user" : " supervisor");
    for (unsigned level = levels_; level >= leaf_; --level) text << "\n  " << entries_[level];
    text << "\nmodel: " << Describe(model.fault) << " level " << model.level << " code "
         << model.code << " at " << model.physical;
    if (segment.ok()) {
      text << "\nwalk: " << segment.start().value;
    } else {
      text << "\nwalk: " << Describe(segment.fault().fault) << " level "
           << int{segment.fault().level} << " code " << segment.fault().error_code;
    }
    first_difference_ = text.GetString();
  }

  // Declines what faults, and nothing else where neither keys nor marks are asked about.
  void CompareQuickly(const PageWalk<FlatTables>& walk, Access access, const Outcome& model) {
    PhysicalAddress place;
    const bool is_quick = walk.TranslateQuickly(memory_, {Address(levels_)}, access, &place);
    const bool is_plain = !machine_.pke && !machine_.pks;
    if (is_quick) ++quick_successes_;
    const bool same = is_quick == (model.fault == Fault::kNone && is_plain) &&
                      (!is_quick || place.value == model.physical - model.physical % kPage);
    if (same || first_difference_) return;
    ::testing::Message text;
    text << "quickly, access " << static_cast<int>(access) << std::hex << " cr0 " << state_.cr0
         << " cr4 " << state_.cr4 << " efer " << state_.efer << " rflags " << state_.rflags
         << (machine_.user ? " user" : " supervisor");
    for (unsigned level = levels_; level >= leaf_; --level) text << "\n  " << entries_[level];
    text << "\nmodel: " << Describe(model.fault) << " at " << model.physical
         << ", quickly: " << (is_quick ? place.value : 0);
    first_difference_ = text.GetString();
  }

  unsigned levels_, leaf_;
  FlatTables memory_;
  std::uint64_t entries_[6] = {};
  Machine machine_ = {};
  PagingState state_;
  std::uint64_t walks_ = 0, successes_ = 0, quick_successes_ = 0;
  std::optional<std::string> first_difference_;
};

TEST_P(EachWalk, AgreesWithAModelInAllPermutations) {
  Permutations permutations(levels(), leaf());
  // The level above the leaf for 4 levels, the top one for 5.
  permutations.Run(levels() == 4 ? leaf() + 1 : 5);
  EXPECT_EQ(permutations.first_difference().value_or("none"), "none");
  EXPECT_EQ(permutations.walks(), std::uint64_t{128} * 4 * 2 * 64 * 64 * 3);
  EXPECT_GT(permutations.successes(), 0u);
  EXPECT_GT(permutations.quick_successes(), 0u);
  RecordProperty("walks", std::to_string(permutations.walks()));
  RecordProperty("successes", std::to_string(permutations.successes()));
}

// Any state of the registers, any bit of any entry, any address: a walk that is quick finds what
// the whole one finds, and declines what that refuses.
TEST(QuickWalk, FindsWhatTheWholeWalkFinds) {
  std::mt19937_64 random(5);
  const auto once_in = [&random](std::uint64_t times) { return random() % times == 0; };
  FlatTables memory;
  std::uint64_t found = 0, declined = 0;
  for (unsigned round = 0; round < 1'000'000; ++round) {
    const unsigned levels = once_in(2) ? 4 : 5;
    const PagingState state = {
        .cr0 = once_in(2) ? kWp : 0,
        .cr3 = levels * kPage | (random() & 0xfff) | (once_in(8) ? random() & kNx : 0),
        .cr4 = (levels == 5 ? kLa57 : 0) | (once_in(2) ? kSmep : 0) | (once_in(2) ? kSmap : 0) |
               (once_in(16) ? kPke : 0) | (once_in(16) ? kPks : 0),
        .efer = once_in(4) ? 0 : kNxe,
        .rflags = once_in(2) ? kAc : 0,
        .pkru = once_in(2) ? static_cast<std::uint32_t>(random()) : 0,
        .pkrs = once_in(2) ? static_cast<std::uint32_t>(random()) : 0,
        .physical_bits = static_cast<unsigned>(once_in(2) ? 52 : 32 + random() % 21),
        .gigabyte_pages = once_in(2),
        .privilege = once_in(2) ? Privilege::kUser : Privilege::kSupervisor,
        .mark_accessed = once_in(16)};
    const unsigned above = levels == 5 ? 7 : 16;
    std::uint64_t address = random();
    if (!once_in(16)) {
      address = static_cast<std::uint64_t>(static_cast<std::int64_t>(address << above) >> above);
    }
    if (once_in(16)) {
      // Where canonical addresses end, and begin again.
      const std::uint64_t end = One(63 - above);
      address = (once_in(2) ? end : 0 - end) + random() % 3 - 1;
    }
    std::uint64_t* entries[6] = {};
    for (unsigned level = 1; level <= levels; ++level) {
      std::uint64_t& entry = memory.Word(level, address >> (12 + 9 * (level - 1)) & 511);
      entries[level] = &entry;
      entry = (level > 1 ? (level - 1) * kPage : kFrame[1] & Bits(0, 31)) | kAll;
      if ((level == 2 || level == 3) && once_in(4)) {
        entry = ((random() & Bits(0, 31)) / kPageBytes[level] * kPageBytes[level]) | kAll | kPs;
      }
      entry ^= once_in(10) ? One(static_cast<unsigned>(random() % 64)) : 0;
      entry ^= once_in(10) ? One(static_cast<unsigned>(random() % 3)) : 0;
      entry |= once_in(3) ? random() & (Bits(52, 62) | kA | kD) : 0;
    }
    const PageWalk<FlatTables> walk(memory, state);
    for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
      PhysicalAddress place;
      const bool is_quick = walk.TranslateQuickly(memory, {address}, access, &place);
      typename PageWalk<FlatTables>::Cursor cursor;
      // It may mark entries, so it comes last.
      const Segment whole = walk.Translate({address}, 0, 1, access, cursor);
      const bool is_asked_more = state.mark_accessed || (state.cr4 & (kPke | kPks)) != 0;
      ASSERT_EQ(is_quick, whole.ok() && !is_asked_more) << round;
      ASSERT_TRUE(!is_quick || place.value == whole.start().value - whole.start().value % kPage)
          << round;
      ++(is_quick ? found : declined);
    }
    for (std::uint64_t* entry : entries) {
      if (entry != nullptr) *entry = 0;
    }
  }
  EXPECT_GT(found, 200'000u);
  EXPECT_GT(declined, 200'000u);
}

}  // namespace
}  // namespace xencomm::x86_64

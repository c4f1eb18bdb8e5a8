// The rules of the x86-64 page walk, each in success and failure, at each level and page size.
#include "arch/x86_64/page_walk.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "tests/unit/hand_built_tables.h"

namespace xencomm::x86_64 {
namespace {

using namespace testing;

INSTANTIATE_TEST_SUITE_P(LevelsAndPageSizes, EachWalk,
                         ::testing::Combine(::testing::Values(4, 5), ::testing::Values(1, 2, 3)),
                         NameOfWalk);

TEST_P(EachWalk, FindsThePage) {
  Tables tables(levels(), leaf());
  const std::uint64_t within = Address(levels()) & (kPageBytes[leaf()] - 1);
  for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
    const Segment segment = tables.Walk(access);
    ASSERT_TRUE(segment.ok());
    EXPECT_EQ(segment.start().value, kFrame[leaf()] + within);
    EXPECT_EQ(segment.length(), kPageBytes[leaf()] - within);
  }
}

TEST_P(EachWalk, GivesNoMoreThanWasAskedFor) {
  Tables tables(levels(), leaf());
  const PageWalk<FakeMemory> walk(tables.memory, tables.state);
  typename PageWalk<FakeMemory>::Cursor cursor;
  const Segment segment = walk.Translate({Address(levels())}, 8, 16, Access::kRead, cursor);
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment.length(), 16u);
  EXPECT_EQ(segment.start().value & 0xfff, kOffset + 8);
}

TEST_P(EachWalk, StopsAtAnEntryThatIsNotPresent) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    // Every other bit set: reserved bits do not count when P is clear (4.7).
    tables.Set(level, ~kP);
    const auto at = static_cast<std::uint8_t>(level);
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo(Fault::kNotPresent, at, kErrU));
    EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo(Fault::kNotPresent, at, kErrU | kErrW));
    EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo(Fault::kNotPresent, at, kErrU | kErrId));
    tables.state.privilege = Privilege::kSupervisor;
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo(Fault::kNotPresent, at, 0));
    EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo(Fault::kNotPresent, at, kErrW));
  }
}

TEST_P(EachWalk, NeedsWritableAtEveryLevelToWrite) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.Remove(level, kW);
    const auto at = static_cast<std::uint8_t>(leaf());  // rights are judged at the leaf
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
    EXPECT_EQ(tables.Fails(Access::kWrite),
              FaultInfo(Fault::kProtection, at, kErrP | kErrW | kErrU));

    tables.state.cr0 = 0;  // WP is the supervisor's
    EXPECT_EQ(tables.Fails(Access::kWrite).fault, Fault::kProtection);
    tables.state.privilege = Privilege::kSupervisor;
    EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
    tables.state.cr0 = kWp;
    EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo(Fault::kProtection, at, kErrP | kErrW));
  }
}

TEST_P(EachWalk, NeedsUserAtEveryLevelForAUser) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.Remove(level, kU);
    const auto at = static_cast<std::uint8_t>(leaf());
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo(Fault::kProtection, at, kErrP | kErrU));
    EXPECT_EQ(tables.Fails(Access::kWrite),
              FaultInfo(Fault::kProtection, at, kErrP | kErrW | kErrU));
    EXPECT_EQ(tables.Fails(Access::kExecute),
              FaultInfo(Fault::kProtection, at, kErrP | kErrU | kErrId));
    tables.state.privilege = Privilege::kSupervisor;
    for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
      EXPECT_EQ(tables.Fails(access), FaultInfo());
    }
  }
}

TEST_P(EachWalk, RefusesAFetchWhereNxIsSetAtAnyLevel) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.Add(level, kNx);
    const auto at = static_cast<std::uint8_t>(leaf());
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
    EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
    EXPECT_EQ(tables.Fails(Access::kExecute),
              FaultInfo(Fault::kNoExecute, at, kErrP | kErrU | kErrId));
    tables.state.privilege = Privilege::kSupervisor;
    EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo(Fault::kNoExecute, at, kErrP | kErrId));
  }
}

TEST_P(EachWalk, TakesNxForReservedWithoutNxe) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.Add(level, kNx);
    tables.state.efer = 0;
    const auto at = static_cast<std::uint8_t>(level);
    EXPECT_EQ(tables.Fails(Access::kRead),
              FaultInfo(Fault::kReserved, at, kErrP | kErrU | kErrRsvd));
    // No I/D bit when neither NXE nor SMEP is on.
    EXPECT_EQ(tables.Fails(Access::kExecute),
              FaultInfo(Fault::kReserved, at, kErrP | kErrU | kErrRsvd));
    tables.state.cr4 |= kSmep;
    EXPECT_EQ(tables.Fails(Access::kExecute),
              FaultInfo(Fault::kReserved, at, kErrP | kErrU | kErrRsvd | kErrId));
    tables.state.efer = kNxe;
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  }
}

TEST_P(EachWalk, SmepKeepsASupervisorFromFetchingUserPages) {
  const auto at = static_cast<std::uint8_t>(leaf());
  Tables tables(levels(), leaf());
  tables.state.cr4 |= kSmep;
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo());  // not of user accesses
  tables.state.privilege = Privilege::kSupervisor;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo(Fault::kProtection, at, kErrP | kErrId));
  tables.state.efer = 0;
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo(Fault::kProtection, at, kErrP | kErrId));
  tables.state.cr4 &= ~kSmep;
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo());
  // One level without U/S makes it a supervisor's page.
  tables.state.cr4 |= kSmep;
  tables.Remove(levels(), kU);
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo());
}

TEST_P(EachWalk, SmapKeepsASupervisorFromUserDataUnlessAcIsSet) {
  const auto at = static_cast<std::uint8_t>(leaf());
  Tables tables(levels(), leaf());
  tables.state.cr4 |= kSmap;
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());  // not of user accesses
  tables.state.privilege = Privilege::kSupervisor;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo(Fault::kProtection, at, kErrP));
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo(Fault::kProtection, at, kErrP | kErrW));
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo());
  tables.state.rflags = kAc;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  tables.state.rflags = 0;
  tables.Remove(levels(), kU);
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
}

TEST_P(EachWalk, NoProtectionKeyForbidsAnythingAtFirst) {
  for (const std::uint64_t key : {0, 1, 15}) {
    for (const Privilege privilege : {Privilege::kUser, Privilege::kSupervisor}) {
      Tables tables(levels(), leaf());
      tables.Add(leaf(), key << 59);
      if (privilege == Privilege::kSupervisor) tables.Remove(levels(), kU);
      tables.state.cr4 |= kPke | kPks;
      tables.state.privilege = privilege;
      EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo()) << key;
    }
  }
}

// Key 5 of the register that governs the page, by access-disable and write-disable.
TEST_P(EachWalk, ProtectionKeyOfAUserPageIsPkrus) {
  const auto at = static_cast<std::uint8_t>(leaf());
  constexpr std::uint32_t kAd = 1 << 10, kWd = 1 << 11;
  Tables tables(levels(), leaf());
  tables.Add(leaf(), std::uint64_t{5} << 59);
  tables.state.pkru = kAd | kWd;
  tables.state.pkrs = ~0u;
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo()) << "CR4.PKE is off";

  tables.state.cr4 |= kPke | kPks;
  EXPECT_EQ(tables.Fails(Access::kRead),
            FaultInfo(Fault::kProtectionKey, at, kErrP | kErrU | kErrPk));
  EXPECT_EQ(tables.Fails(Access::kWrite),
            FaultInfo(Fault::kProtectionKey, at, kErrP | kErrU | kErrPk | kErrW));
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo()) << "a fetch has no key";

  tables.state.pkru = kWd;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  EXPECT_EQ(tables.Fails(Access::kWrite).fault, Fault::kProtectionKey);
  tables.state.cr0 = 0;
  EXPECT_EQ(tables.Fails(Access::kWrite).fault, Fault::kProtectionKey) << "WP is not a user's";
  tables.state.privilege = Privilege::kSupervisor;
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  tables.state.cr0 = kWp;
  EXPECT_EQ(tables.Fails(Access::kWrite),
            FaultInfo(Fault::kProtectionKey, at, kErrP | kErrPk | kErrW));

  tables.state.pkru = ~(kAd | kWd);
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo()) << "the other keys are not this page's";
}

TEST_P(EachWalk, ProtectionKeyOfASupervisorPageIsPkrss) {
  const auto at = static_cast<std::uint8_t>(leaf());
  constexpr std::uint32_t kAd = 1 << 10, kWd = 1 << 11;
  Tables tables(levels(), leaf());
  tables.Remove(levels(), kU);
  tables.Add(leaf(), std::uint64_t{5} << 59);
  tables.state.privilege = Privilege::kSupervisor;
  tables.state.pkru = ~0u;
  tables.state.pkrs = kAd;
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo()) << "CR4.PKS is off";

  tables.state.cr4 |= kPke | kPks;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo(Fault::kProtectionKey, at, kErrP | kErrPk));
  EXPECT_EQ(tables.Fails(Access::kExecute), FaultInfo());
  tables.state.pkrs = kWd;
  EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  EXPECT_EQ(tables.Fails(Access::kWrite),
            FaultInfo(Fault::kProtectionKey, at, kErrP | kErrPk | kErrW));
  tables.state.cr0 = 0;
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  tables.state.cr0 = kWp;
  tables.state.pkrs = ~(kAd | kWd);
  EXPECT_EQ(tables.Fails(Access::kWrite), FaultInfo());
}

TEST_P(EachWalk, TheErrorCodeNamesTheKeyBesideOtherReasons) {
  const auto at = static_cast<std::uint8_t>(leaf());
  Tables tables(levels(), leaf());
  tables.Remove(leaf(), kW);
  tables.state.cr4 |= kPke;
  tables.state.pkru = 2;
  EXPECT_EQ(tables.Fails(Access::kWrite),
            FaultInfo(Fault::kProtection, at, kErrP | kErrW | kErrU | kErrPk));
}

// Bits 51…12 as tables 4-14 to 4-20 have them, and PS; everything else is ignored or a right.
bool ReservedByTheManual(unsigned level, unsigned leaf, unsigned bit, unsigned physical_bits,
                         bool gigabyte_pages, bool nxe) {
  if (bit == 63) return !nxe;
  if (bit >= physical_bits && bit <= 51) return true;
  if (bit == 7) return level >= 4 || (level == 3 && !gigabyte_pages);
  if (level == leaf && level == 2) return bit >= 13 && bit <= 20;
  if (level == leaf && level == 3) return bit >= 13 && bit <= 29;
  return false;
}

TEST_P(EachWalk, ReservedBitMatrix) {
  // Bits that make another walk of it: P, PS where it is allowed, and a table's address.
  for (const unsigned physical_bits : {40u, 45u, 46u, 51u, 52u}) {
    for (const bool nxe : {false, true}) {
      for (unsigned level = levels(); level >= leaf(); --level) {
        for (unsigned bit = 1; bit < 64; ++bit) {
          Tables tables(levels(), leaf());
          tables.state.physical_bits = physical_bits;
          tables.state.efer = nxe ? kNxe : 0;
          const bool reserved = ReservedByTheManual(level, leaf(), bit, physical_bits, true, nxe);
          const bool steers =
              level != leaf() && ((bit >= 12 && bit < physical_bits) || (bit == 7 && level < 4));
          if (steers && !reserved) continue;
          tables.Add(level, One(bit));
          const FaultInfo fault = tables.Fails();
          const FaultInfo expected =
              reserved ? FaultInfo(Fault::kReserved, static_cast<std::uint8_t>(level),
                                   kErrP | kErrU | kErrRsvd)
                       : FaultInfo();
          ASSERT_EQ(fault, expected)
              << "bit " << bit << " at level " << level << ", MAXPHYADDR " << physical_bits;
        }
      }
    }
  }
}

// XSA-176: PS in the top levels, and 1 GiB pages where there are none.
TEST(PageWalk, PsIsReservedInTheTopLevels) {
  for (const unsigned levels : {4u, 5u}) {
    for (unsigned level = levels; level >= 4; --level) {
      // With the address of a table, and with one that would do for a page of any size.
      for (const std::uint64_t address : {kTable[level - 1], std::uint64_t{0}}) {
        Tables tables(levels);
        tables.Set(level, address | kAll | kPs);
        EXPECT_EQ(tables.Fails(), FaultInfo(Fault::kReserved, static_cast<std::uint8_t>(level),
                                            kErrP | kErrU | kErrRsvd));
      }
    }
  }
}

TEST(PageWalk, PsIsReservedInAPdptWithoutGigabytePages) {
  for (const unsigned levels : {4u, 5u}) {
    Tables tables(levels, 3);
    EXPECT_EQ(tables.Fails(), FaultInfo());
    tables.state.gigabyte_pages = false;
    EXPECT_EQ(tables.Fails(), FaultInfo(Fault::kReserved, 3, kErrP | kErrU | kErrRsvd));
    Tables smaller(levels, 2);
    smaller.state.gigabyte_pages = false;
    EXPECT_EQ(smaller.Fails(), FaultInfo());
  }
}

// XSA-173: no address bit is lost on the way, in a leaf or in a pointer to a table.
TEST_P(EachWalk, KeepsHighAddressBits) {
  for (unsigned bit = 32; bit < 52; ++bit) {
    Tables tables(levels(), leaf());
    const std::uint64_t frame = kFrame[leaf()] ^ One(bit);
    tables.Set(leaf(), frame | kAll | (leaf() > 1 ? kPs : 0));
    const Segment segment = tables.Walk();
    ASSERT_TRUE(segment.ok());
    EXPECT_EQ(segment.start().value, frame + (Address(levels()) & (kPageBytes[leaf()] - 1)));

    // A table that is only reached when the bit is there, and nothing where it would be without.
    for (unsigned level = levels(); level > leaf(); --level) {
      Tables high(levels(), leaf());
      const std::uint64_t next = high.Get(level - 1);
      high.memory.RemovePage(kTable[level - 1]);
      high.memory.AddPage(kTable[level - 1] | One(bit));
      high.memory.Put((kTable[level - 1] | One(bit)) + kIndex[level - 1] * 8, next,
                      ByteOrder::kLittle);
      high.Add(level, One(bit));
      EXPECT_EQ(high.Fails(), FaultInfo()) << "bit " << bit << " at level " << level;
    }
  }
}

TEST(PageWalk, IgnoresPcidAndCacheBitsOfCr3) {
  Tables tables(4);
  tables.state.cr3 |= 0xfff | One(61) | One(62);
  EXPECT_EQ(tables.Fails(), FaultInfo());
}

TEST(PageWalk, RefusesAddressesThatAreNotCanonical) {
  struct {
    unsigned levels;
    std::uint64_t address;
    bool canonical;
  } const kCases[] = {
      {4, 0x0000'0000'0000'0000, true},  // both ends of both halves
      {4, 0x0000'7fff'ffff'ffff, true},  {4, 0x0000'8000'0000'0000, false},
      {4, 0xffff'7fff'ffff'ffff, false}, {4, 0xffff'8000'0000'0000, true},
      {4, 0xffff'ffff'ffff'ffff, true},  {4, 0x8000'0000'0000'0000, false},
      {4, 0x0001'0000'0000'0000, false},  // an alias of 0 in 48 bits
      {5, 0x0000'8000'0000'0000, true},  {5, 0x00ff'ffff'ffff'ffff, true},
      {5, 0x0100'0000'0000'0000, false}, {5, 0xfeff'ffff'ffff'ffff, false},
      {5, 0xff00'0000'0000'0000, true},  {5, 0xffff'ffff'ffff'ffff, true},
      {5, 0x0200'0000'0000'0000, false},
  };
  for (const auto& each : kCases) {
    SCOPED_TRACE(::testing::Message() << each.levels << " levels, " << std::hex << each.address);
    Tables tables(each.levels);
    const PageWalk<FakeMemory> walk(tables.memory, tables.state);
    typename PageWalk<FakeMemory>::Cursor cursor;
    const Segment segment = walk.Translate({each.address}, 0, 1, Access::kRead, cursor);
    ASSERT_FALSE(segment.ok());
    // Canonical ones find an empty entry. The other kind is a general protection fault: no code.
    if (each.canonical) {
      EXPECT_EQ(segment.fault().fault, Fault::kNotPresent);
    } else {
      EXPECT_EQ(segment.fault(), FaultInfo(Fault::kNotCanonical));
      EXPECT_EQ(tables.memory.maps(), 0u);
    }
  }
}

TEST(PageWalk, NamesTheLevelWhoseTableIsNotInMemory) {
  for (const unsigned levels : {4u, 5u}) {
    for (unsigned level = levels; level >= 1; --level) {
      Tables tables(levels);
      tables.memory.RemovePage(kTable[level]);
      EXPECT_EQ(tables.Fails(), FaultInfo(Fault::kNoMemory, static_cast<std::uint8_t>(level), 0));
    }
  }
}

TEST(PageWalk, AddsTheOffsetOnceAndRefusesTheWrap) {
  Tables tables(4);
  const PageWalk<FakeMemory> walk(tables.memory, tables.state);
  typename PageWalk<FakeMemory>::Cursor cursor;
  const Segment past = walk.Translate({Address(4)}, ~std::uint64_t{0}, 1, Access::kRead, cursor);
  ASSERT_FALSE(past.ok());
  EXPECT_EQ(past.fault(), FaultInfo(Fault::kOverflow));
  EXPECT_EQ(tables.memory.maps(), 0u);

  const Segment within = walk.Translate({0}, Address(4), 1, Access::kRead, cursor);
  ASSERT_TRUE(within.ok());
  EXPECT_EQ(within.start().value, kFrame[1] + kOffset);
}

// Accessed and dirty bits.

TEST_P(EachWalk, MarksEveryEntryAccessedAndTheLeafDirtyWhenAsked) {
  Tables tables(levels(), leaf());
  ASSERT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  for (unsigned level = leaf(); level <= levels(); ++level) {
    EXPECT_EQ(tables.Get(level) & (kA | kD), 0u) << "without the option nothing is written";
  }
  tables.state.mark_accessed = true;
  ASSERT_EQ(tables.Fails(Access::kRead), FaultInfo());
  for (unsigned level = leaf(); level <= levels(); ++level) {
    EXPECT_EQ(tables.Get(level) & (kA | kD), kA) << level;
  }
  ASSERT_EQ(tables.Fails(Access::kWrite), FaultInfo());
  for (unsigned level = leaf(); level <= levels(); ++level) {
    EXPECT_EQ(tables.Get(level) & (kA | kD), level == leaf() ? kA | kD : kA) << level;
  }
}

TEST_P(EachWalk, MarksNothingWhenTheAccessFaults) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.state.mark_accessed = true;
    tables.Remove(level, kW);
    ASSERT_EQ(tables.Fails(Access::kWrite).fault, Fault::kProtection);
    for (unsigned any = leaf(); any <= levels(); ++any) {
      EXPECT_EQ(tables.Get(any) & (kA | kD), 0u);
    }
  }
}

TEST_P(EachWalk, NeedsWritableTablesOnlyForBitsThatAreMissing) {
  for (unsigned level = levels(); level >= leaf(); --level) {
    Tables tables(levels(), leaf());
    tables.state.mark_accessed = true;
    tables.memory.SetReadOnly(kTable[level]);
    EXPECT_EQ(tables.Fails(Access::kRead),
              FaultInfo(Fault::kNotWritable, static_cast<std::uint8_t>(level), 0));
    tables.Add(level, kA);
    EXPECT_EQ(tables.Fails(Access::kRead), FaultInfo());
  }
}

// A Memory under which something happens before each access that fits.
class Meddled {
 public:
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) {
    if (meddle) meddle(physical, access);
    return memory.Map(physical, length, access);
  }
  FakeMemory& memory;
  std::function<void(PhysicalAddress, Access)> meddle;
};

TEST(PageWalk, StartsAnewWhenAnEntryChangesBeforeItIsMarked) {
  Tables tables(4);
  tables.state.mark_accessed = true;
  const std::uint64_t other = 0x9'8000;
  int changes = 0;
  Meddled meddled{tables.memory, [&](PhysicalAddress at, Access access) {
                    if (access == Access::kWrite && at.value - at.value % kPage == kTable[1] &&
                        changes++ == 0) {
                      tables.Set(1, other | kAll);
                    }
                  }};
  const PageWalk<Meddled> walk(meddled, tables.state);
  typename PageWalk<Meddled>::Cursor cursor;
  const Segment segment = walk.Translate({Address(4)}, 0, 8, Access::kWrite, cursor);
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment.start().value, other + kOffset) << "what is marked is what is used";
  EXPECT_EQ(tables.Get(1), other | kAll | kA | kD);
}

TEST(PageWalk, StartsAnewFromTheTopWhenAnUpperEntryChanges) {
  Tables tables(4);
  tables.state.mark_accessed = true;
  tables.memory.AddPage(0x9'8000);
  tables.memory.Put(0x9'8000 + kIndex[1] * 8, kFrame[2] | kAll, ByteOrder::kLittle);
  int changes = 0;
  Meddled meddled{tables.memory, [&](PhysicalAddress at, Access access) {
                    if (access == Access::kWrite && at.value - at.value % kPage == kTable[2] &&
                        changes++ == 0) {
                      tables.Set(2, 0x9'8000 | kAll);
                    }
                  }};
  const PageWalk<Meddled> walk(meddled, tables.state);
  typename PageWalk<Meddled>::Cursor cursor;
  const Segment segment = walk.Translate({Address(4)}, 0, 8, Access::kRead, cursor);
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment.start().value, kFrame[2] + kOffset);
  EXPECT_EQ(tables.Get(2), 0x9'8000 | kAll | kA);
  EXPECT_EQ(tables.Get(1) & kA, 0u) << "of the table that was left";
}

TEST(PageWalk, DoesNotMarkAnEntryThatWasTakenAway) {
  Tables tables(4);
  tables.state.mark_accessed = true;
  Meddled meddled{tables.memory, [&](PhysicalAddress at, Access access) {
                    if (access == Access::kWrite && at.value - at.value % kPage == kTable[1]) {
                      tables.Set(1, 0);
                    }
                  }};
  const PageWalk<Meddled> walk(meddled, tables.state);
  typename PageWalk<Meddled>::Cursor cursor;
  const Segment segment = walk.Translate({Address(4)}, 0, 8, Access::kWrite, cursor);
  ASSERT_FALSE(segment.ok());
  EXPECT_EQ(segment.fault(), FaultInfo(Fault::kNotPresent, 1, kErrU | kErrW));
  EXPECT_EQ(tables.Get(1), 0u);
}

TEST(PageWalk, DoesNotWaitForAVcpuThatChangesAnEntryEveryTime) {
  Tables tables(4);
  tables.state.mark_accessed = true;
  int changes = 0;
  Meddled meddled{tables.memory, [&](PhysicalAddress at, Access access) {
                    if (access == Access::kWrite && at.value - at.value % kPage == kTable[1]) {
                      tables.Set(1, kFrame[1] | kAll | (++changes % 2 != 0 ? One(9) : 0));
                    }
                  }};
  const PageWalk<Meddled> walk(meddled, tables.state);
  typename PageWalk<Meddled>::Cursor cursor;
  const Segment segment = walk.Translate({Address(4)}, 0, 8, Access::kWrite, cursor);
  ASSERT_FALSE(segment.ok());
  EXPECT_EQ(segment.fault().fault, Fault::kNotWritable);
}

// Hostile tables.

TEST_P(EachWalk, LooksEachTableUpOnce) {
  Tables tables(levels(), leaf());
  std::vector<std::uint64_t> tables_seen;
  Meddled meddled{tables.memory,
                  [&](PhysicalAddress at, Access) { tables_seen.push_back(at.value); }};
  const PageWalk<Meddled> walk(meddled, tables.state);
  typename PageWalk<Meddled>::Cursor cursor;
  ASSERT_TRUE(walk.Translate({Address(levels())}, 0, 8, Access::kRead, cursor).ok());
  std::vector<std::uint64_t> expected;
  for (unsigned level = levels(); level >= leaf(); --level) {
    expected.push_back(kTable[level]);
  }
  EXPECT_EQ(tables_seen, expected);
}

TEST(PageWalk, EndsInTablesThatNameThemselves) {
  Tables tables(4);
  tables.state.cr3 = kTable[4];
  for (unsigned index = 0; index < 512; ++index) {
    tables.memory.Put(kTable[4] + index * 8, kTable[4] | kAll, ByteOrder::kLittle);
  }
  const Segment segment = tables.Walk();
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment.start().value, kTable[4] + kOffset);
}

// Another vcpu switches the leaf between two frames, one writable and one not, and an empty entry
// with all reserved bits set. Whatever the walk sees is one of the three, never a mixture.
TEST(PageWalk, SeesOneOfTheValuesOfAnEntryThatChanges) {
  Tables tables(4);
  const std::uint64_t first = 0x0f'0f0f'0000 | kP | kU;
  const std::uint64_t second = 0x30'3030'3000 | kAll;
  auto* entry = reinterpret_cast<std::uint64_t*>(tables.memory.At(kTable[1] + kIndex[1] * 8));
  std::atomic_ref<std::uint64_t> leaf(*entry);
  // Entries are little-endian, whatever this processor is.
  const auto store = [&](std::uint64_t value) { leaf.store(InOrder(value, ByteOrder::kLittle)); };
  store(first);
  std::atomic<bool> stop = false;
  std::thread mutator([&] {
    while (!stop) {
      store(second);
      store(~kP);
      store(first);
    }
  });
  int wrong = 0;
  for (int i = 0; i < 200'000; ++i) {
    const Segment read = tables.Walk(Access::kRead);
    if (read.ok()) {
      const std::uint64_t frame = read.start().value - kOffset;
      wrong +=
          frame != (first & ~std::uint64_t{0xfff}) && frame != (second & ~std::uint64_t{0xfff});
    } else {
      wrong += read.fault() != FaultInfo(Fault::kNotPresent, 1, kErrU);
    }
    const Segment write = tables.Walk(Access::kWrite);
    if (write.ok()) {
      wrong += write.start().value - kOffset != (second & ~std::uint64_t{0xfff});
    } else {
      wrong += write.fault() != FaultInfo(Fault::kNotPresent, 1, kErrU | kErrW) &&
               write.fault() != FaultInfo(Fault::kProtection, 1, kErrP | kErrU | kErrW);
    }
  }
  stop = true;
  mutator.join();
  EXPECT_EQ(wrong, 0);
}

// Traces.

TEST_P(EachWalk, TraceShowsTheStepsOfTheWalk) {
  Tables tables(levels(), leaf());
  tables.state.mark_accessed = true;
  const PageWalk<FakeMemory> walk(tables.memory, tables.state);
  const Trace trace = walk.TraceOf({Address(levels())}, Access::kRead);
  ASSERT_TRUE(trace.end.ok());
  EXPECT_EQ(trace.end.start().value,
            kFrame[leaf()] + (Address(levels()) & (kPageBytes[leaf()] - 1)));
  ASSERT_EQ(trace.count, levels() - leaf() + 1);
  for (unsigned i = 0; i < trace.count; ++i) {
    const unsigned level = levels() - i;
    EXPECT_EQ(trace.steps[i].level, level);
    EXPECT_STREQ(trace.steps[i].table, kLevels[level].name);
    EXPECT_EQ(trace.steps[i].address.value, kTable[level] + kIndex[level] * 8);
    EXPECT_EQ(trace.steps[i].index, kIndex[level]);
    EXPECT_EQ(trace.steps[i].entry, tables.Get(level)) << "a trace marks nothing";
  }
}

TEST(PageWalk, TraceEndsWithTheEntryThatFaulted) {
  Tables tables(4);
  tables.Set(2, 0xabc000);
  const PageWalk<FakeMemory> walk(tables.memory, tables.state);
  const Trace trace = walk.TraceOf({Address(4)}, Access::kRead);
  ASSERT_FALSE(trace.end.ok());
  EXPECT_EQ(trace.end.fault(), FaultInfo(Fault::kNotPresent, 2, kErrU));
  ASSERT_EQ(trace.count, 3u);
  EXPECT_EQ(trace.steps[2].entry, 0xabc000u);
}

}  // namespace
}  // namespace xencomm::x86_64

// Grants while everybody changes everything: what a granter takes back is its own alone from then
// on, what it never granted is nobody's, and whatever it writes in between, the books add up. Run
// under the thread sanitizer, too: a page that is used after its grant was taken back is a race.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_grants.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kRead = GNTMAP_host_map | GNTMAP_readonly;
constexpr std::uint32_t kWrite = GNTMAP_host_map;
constexpr unsigned kRounds = 3000;
constexpr unsigned kUses = 200;  // of what is granted, or a test would be of nothing
// Bytes of a page that one of the threads reads and writes.
constexpr unsigned kPart = 64;

class GrantHostileTest : public GrantsTest {
 protected:
  GrantHostileTest()
      : GrantsTest({.pool_bytes = std::uint64_t{8} << 20,
                    .pages = 32,
                    .vcpus = 4,
                    .preempt_interval = 16}) {}

  void SetUp() override {
    GrantsTest::SetUp();
    machine.has_threads = true;
  }
  void TearDown() override {
    machine.has_threads = false;
    for (Vcpu* vcpu : more_) machine.hypervisor.ReleaseVcpu(*vcpu);
    GrantsTest::TearDown();
  }

  // A vcpu more of a domain, for a thread.
  Vcpu* Another(std::uint16_t id, unsigned vcpu) {
    Vcpu* const claimed = machine.hypervisor.ClaimVcpu(id, vcpu);
    if (claimed == nullptr) {
      ADD_FAILURE() << id;
      return nullptr;
    }
    machine.hypervisor.SetRawSpace(*claimed, machine.direct);
    more_.push_back(claimed);
    return claimed;
  }
  void ReleaseMore() {
    for (Vcpu* vcpu : more_) machine.hypervisor.ReleaseVcpu(*vcpu);
    more_.clear();
  }
  template <class T>
  std::int64_t CallBy(Vcpu* vcpu, unsigned op, T& request) {
    return machine.hypervisor.Call(*vcpu,
                                   machine.Frame(__HYPERVISOR_grant_table_op, op, &request, 1));
  }
  std::int16_t MapBy(Vcpu* vcpu, gnttab_map_grant_ref& op) {
    return CallBy(vcpu, GNTTABOP_map_grant_ref, op) == 0 ? op.status : std::int16_t{-100};
  }
  std::int16_t UnmapBy(Vcpu* vcpu, const gnttab_map_grant_ref& map) {
    gnttab_unmap_grant_ref op = UnmapOp(map.handle, map.host_addr >> kPageShift);
    return CallBy(vcpu, GNTTABOP_unmap_grant_ref, op) == 0 ? op.status : std::int16_t{-100};
  }
  std::int16_t CopyBy(Vcpu* vcpu, const Side& from, const Side& to, unsigned length = kPart) {
    gnttab_copy op = CopyOp(from, to, length);
    return CallBy(vcpu, GNTTABOP_copy, op) == 0 ? op.status : std::int16_t{-100};
  }

  // As Linux does it. From when this has answered, the page is the granter's alone.
  static void TakeBack(const GrantEntry& entry, std::byte* at, std::byte* status) {
    auto* const word = reinterpret_cast<std::uint32_t*>(at);
    if (!entry.is_version_2()) {
      for (;;) {
        std::uint32_t now = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        if ((now & kInUse) == 0 &&
            __atomic_compare_exchange_n(word, &now, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
          return;
        }
        std::this_thread::yield();
      }
    }
    __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
    while ((__atomic_load_n(reinterpret_cast<std::uint16_t*>(status), __ATOMIC_SEQ_CST) & kInUse) !=
           0) {
      std::this_thread::yield();
    }
  }

  std::vector<Vcpu*> more_;
};

constexpr std::uint32_t kRefs = 2;

// Two threads map, copy from and copy to whatever is granted, and the granter writes its pages
// whenever nobody is to.
TEST_F(GrantHostileTest, WhatIsTakenBackIsTheGrantersAlone) {
  End(kMapper);
  Build(kMapper, {.vcpus = 3});
  Vcpu* const users[] = {vcpus[kMapper], Another(kMapper, 1)};
  for (const std::uint16_t granter : {kGranter, kPv}) {
    for (const std::uint32_t version : {1, 2}) {
      UseVersion(granter, version);
      std::vector<GrantEntry> all;
      std::vector<std::byte*> places, statuses, pages;
      for (std::uint32_t i = 0; i < kRefs; ++i) {
        all.push_back(EntryOf(granter, kRef + i));
        places.push_back(PlaceOf(granter, kRef + i));
        statuses.push_back(version == 1 ? nullptr
                                        : Frame(granter, XENMEM_resource_grant_table_id_status, 0) +
                                              (kRef + i) * sizeof(grant_status_t));
      }
      for (std::uint64_t page = 0; page < 4; ++page) pages.push_back(BytesOf(granter, page));
      std::atomic<bool> done = false;
      std::atomic<unsigned> used = 0;
      std::vector<std::thread> threads;
      for (unsigned id = 0; id < 2; ++id) {
        threads.emplace_back([&, id] {
          const unsigned at = id * kPart;
          for (unsigned round = 0; !done; ++round) {
            const std::uint32_t ref = kRef + round / 3 % kRefs;
            if (round % 3 == 0) {
              gnttab_map_grant_ref map =
                  MapOp(granter, ref, kWindow + id, (round & 4) != 0 ? kRead : kWrite);
              if (MapBy(users[id], map) != GNTST_okay) continue;
              ++used;
              std::byte* const page = machine.BytesOf(map.dev_bus_addr >> kPageShift);
              if (map.flags == kWrite) page[at] = std::byte{7};
              std::atomic_signal_fence(std::memory_order_seq_cst);
              EXPECT_NE(page[at + 1], std::byte{0x11});
              EXPECT_EQ(UnmapBy(users[id], map), GNTST_okay);
            } else if (round % 3 == 1) {
              used += CopyBy(users[id], Granted(granter, ref, at), Own(id), kPart) == GNTST_okay;
            } else {
              used += CopyBy(users[id], Own(id), Granted(granter, ref, at), kPart) == GNTST_okay;
            }
          }
        });
      }
      std::minstd_rand random(granter * 10 + version);
      for (unsigned round = 0; round < kRounds; ++round) {
        const unsigned which = round % kRefs;
        const std::uint64_t page = which + random() % 2 * kRefs;
        // Its own: it keeps a secret here, and clears that before it grants the page.
        std::memset(pages[page], 0x11, kPageSize);
        std::memset(pages[page], 0x22, kPageSize);
        Grant(granter, kRef + which, kMapper, page);
        if (round % 4 == 0) std::this_thread::yield();
        TakeBack(all[which], places[which], statuses[which]);
      }
      for (unsigned which = 0; which < kRefs; ++which) Grant(granter, kRef + which, kMapper, which);
      while (used < kUses) std::this_thread::yield();
      done = true;
      for (std::thread& thread : threads) thread.join();
      EXPECT_EQ(Shown(granter, kRef), 0);
      machine.ExpectBooksAddUp();
    }
  }
}

// Which pages of a granter, by what it ever says in its entries.
constexpr std::uint64_t kSecret = 0;     // never granted, to the 8th
constexpr std::uint64_t kReadable = 8;   // by entries that say read-only at all times
constexpr std::uint64_t kAnything = 16;  // in any way
constexpr std::byte kSecretByte{0x11}, kReadableByte{0x22};

// A granter that writes its entries word by word, with no regard for what that means in between.
class HostileGranter {
 public:
  HostileGranter(std::uint32_t seed, std::uint32_t version) : random_(seed), version_(version) {}

  void Scribble(std::byte* entry, bool may_write, std::uint64_t first_frame) {
    const std::uint16_t kFlags[] = {
        GTF_permit_access, GTF_permit_access,
        GTF_permit_access, GTF_permit_access | GTF_sub_page,
        GTF_transitive,    GTF_accept_transfer,
        GTF_invalid,       GTF_permit_access | GTF_reading | GTF_writing};
    const std::uint16_t kGrantees[] = {kMapper, kMapper, kMapper, kThird, kGranter, kNoDomain};
    switch (random_() % 3) {
      case 0: {
        const unsigned flags = Pick(kFlags) | (may_write && random_() % 2 == 0 ? 0u : GTF_readonly);
        Store<std::uint16_t>(entry, static_cast<std::uint16_t>(flags));
        break;
      }
      case 1:
        Store<std::uint16_t>(entry + 2, Pick(kGrantees));
        break;
      default:
        if (version_ == 1) {
          Store<std::uint32_t>(entry + 4, static_cast<std::uint32_t>(first_frame + random_() % 8));
        } else if (random_() % 2 == 0) {
          Store<std::uint64_t>(entry + 8, first_frame + random_() % 8);
        } else {
          // Where a part begins, or who is passed on; how long it is.
          Store<std::uint16_t>(entry + 4, random_() % 2 == 0 ? kThird : std::uint16_t{0});
          Store<std::uint16_t>(entry + 6, static_cast<std::uint16_t>(random_() % 8192));
        }
    }
  }

 private:
  template <class T, std::size_t kCount>
  T Pick(const T (&values)[kCount]) {
    return values[random_() % kCount];
  }
  template <class T>
  static void Store(std::byte* at, T value) {
    __atomic_store_n(reinterpret_cast<T*>(at), value, __ATOMIC_RELAXED);
  }

  std::minstd_rand random_;
  const std::uint32_t version_;
};

class HostileEntriesTest : public GrantHostileTest,
                           public testing::WithParamInterface<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Versions, HostileEntriesTest, testing::Values(1, 2));

TEST_P(HostileEntriesTest, WhatIsNeverGrantedIsNobodys) {
  End(kMapper);
  Build(kMapper, {.vcpus = 3});
  End(kGranter);
  Build(kGranter, {.vcpus = 2});
  UseVersion(kGranter, GetParam());
  UseVersion(kThird, 2);
  // What kThird grants the granter, by any number that may be taken for one of its grants.
  for (std::uint32_t ref = 0; ref < 32; ++ref) Grant(kThird, ref, kGranter, kAnything + ref % 8);
  for (std::uint64_t page = 0; page < 8; ++page) {
    std::memset(BytesOf(kGranter, kSecret + page), static_cast<int>(kSecretByte), kPageSize);
    std::memset(BytesOf(kGranter, kReadable + page), static_cast<int>(kReadableByte), kPageSize);
    std::memset(BytesOf(kThird, page), static_cast<int>(kSecretByte), kPageSize);
  }
  constexpr std::uint32_t kEntries = 4;
  std::byte* places[2 * kEntries];  // of read-only ones, and of others
  for (std::uint32_t i = 0; i < 2 * kEntries; ++i) {
    Grant(kGranter, kRef + i, kMapper, i < kEntries ? kReadable : kAnything,
          GTF_permit_access | (i < kEntries ? GTF_readonly : 0));
    places[i] = PlaceOf(kGranter, kRef + i);
  }
  std::atomic<unsigned> used = 0;
  std::atomic<bool> done = false;
  Vcpu* const users[] = {vcpus[kMapper], Another(kMapper, 1), Another(kMapper, 2)};
  Vcpu* const changer = Another(kGranter, 1);
  std::vector<std::thread> others;
  others.emplace_back([&] {
    HostileGranter granter(1, GetParam());
    while (!done) {
      for (std::uint32_t i = 0; i < 2 * kEntries; ++i) {
        granter.Scribble(places[i], i >= kEntries, i < kEntries ? kReadable : kAnything);
      }
    }
  });
  others.emplace_back([&] {
    std::minstd_rand random(3);
    while (!done) {
      // Among those of a kind: or what is never granted for writing would be.
      const std::uint32_t kind = random() % 2 * kEntries;
      gnttab_swap_grant_ref swap = {.ref_a = kRef + kind + static_cast<std::uint32_t>(random() % 4),
                                    .ref_b = kRef + kind + static_cast<std::uint32_t>(random() % 4),
                                    .status = 7};
      EXPECT_EQ(CallBy(changer, GNTTABOP_swap_grant_ref, swap), 0);
      EXPECT_TRUE(swap.status == GNTST_okay || swap.status == GNTST_eagain);
    }
  });
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < 3; ++id) {
    threads.emplace_back([&, id] {
      std::minstd_rand random(id + 10);
      const unsigned at = id * kPart;
      std::byte* const mine = machine.BytesOf(machine.hypervisor.FrameOf(kMapper, id));
      for (unsigned round = 0; round < kRounds || used < kUses; ++round) {
        const std::uint32_t ref = kRef + static_cast<std::uint32_t>(random() % (2 * kEntries));
        switch (random() % 3) {
          case 0: {
            gnttab_map_grant_ref map =
                MapOp(kGranter, ref, kWindow + id, random() % 2 == 0 ? kRead : kWrite);
            if (MapBy(users[id], map) != GNTST_okay) break;
            ++used;
            std::byte* const page = machine.BytesOf(map.dev_bus_addr >> kPageShift);
            EXPECT_NE(page[at], kSecretByte);
            if (map.flags == kWrite) {
              page[at] = std::byte{0x33};
              EXPECT_GE(ref, kRef + kEntries);
            }
            EXPECT_EQ(UnmapBy(users[id], map), GNTST_okay);
            break;
          }
          case 1:
            std::memset(mine, 0, kPart);
            if (CopyBy(users[id], Granted(kGranter, ref, at), Own(id)) != GNTST_okay) break;
            ++used;
            EXPECT_NE(mine[kPart - 1], kSecretByte);
            break;
          default:
            std::memset(mine, 0x44, kPart);
            if (CopyBy(users[id], Own(id), Granted(kGranter, ref, at)) != GNTST_okay) break;
            ++used;
            EXPECT_GE(ref, kRef + kEntries);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  for (std::thread& thread : others) thread.join();
  for (std::uint64_t page = 0; page < 8; ++page) {
    for (std::uint64_t i = 0; i < kPageSize; ++i) {
      ASSERT_EQ(BytesOf(kGranter, kSecret + page)[i], kSecretByte);
      ASSERT_EQ(BytesOf(kGranter, kReadable + page)[i], kReadableByte);
      ASSERT_EQ(BytesOf(kThird, page)[i], kSecretByte);
    }
  }
  machine.ExpectBooksAddUp();
}

// Reserved grants stay in use while the table goes from one version to the other; others keep it.
TEST_F(GrantHostileTest, TheVersionChangesUnderMappings) {
  End(kMapper);
  Build(kMapper, {.vcpus = 2});
  End(kGranter);
  Build(kGranter, {.vcpus = 2});
  constexpr std::uint32_t kReserved = 2;
  Vcpu* const users[] = {vcpus[kMapper], Another(kMapper, 1)};
  Vcpu* const changer = Another(kGranter, 1);
  Grant(kGranter, kReserved, kMapper, 7);
  std::atomic<bool> done = false;
  std::atomic<unsigned> changed = 0, refused = 0;
  std::thread change([&] {
    for (std::uint32_t version = 2; !done; version = 3 - version) {
      gnttab_set_version request = {.version = version};
      const std::int64_t answer = CallBy(changer, GNTTABOP_set_version, request);
      EXPECT_TRUE(answer == 0 || answer == -kEBUSY || answer == -kEAGAIN) << answer;
      ++(answer == 0 ? changed : refused);
    }
  });
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < 2; ++id) {
    threads.emplace_back([&, id] {
      unsigned used = 0;
      for (unsigned round = 0; round < kRounds; ++round) {
        gnttab_map_grant_ref map =
            MapOp(kGranter, kReserved, kWindow + id, round % 2 == 0 ? kRead : kWrite);
        EXPECT_EQ(MapBy(users[id], map), GNTST_okay);
        used += CopyBy(users[id], Granted(kGranter, kReserved, id * kPart), Own(id)) == GNTST_okay;
        EXPECT_EQ(UnmapBy(users[id], map), GNTST_okay);
      }
      EXPECT_EQ(used, kRounds);
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  change.join();
  EXPECT_GT(changed, 1u);
  gnttab_get_version version = {.dom = kGranter, .pad = 0, .version = 0};
  ASSERT_EQ(Op(0, GNTTABOP_get_version, &version), 0);
  versions[kGranter] = version.version;
  EXPECT_EQ(Shown(kGranter, kReserved), 0);
  EXPECT_EQ(EntryOf(kGranter, kReserved).LoadHead().flags(), GTF_permit_access);
}

// What is passed on goes through two tables, with neither locked in between.
TEST_F(GrantHostileTest, OriginsChangeWhileTheyArePassedOn) {
  End(kMapper);
  Build(kMapper, {.vcpus = 3});
  ASSERT_EQ(SetVersion(kThird, 2), 0);
  for (std::uint64_t page = 0; page < 8; ++page) {
    for (const std::uint16_t id : {kGranter, kPv}) {
      std::memset(BytesOf(id, page), page < 4 ? 0x22 : 0x11, kPageSize);
    }
  }
  Vcpu* const users[] = {vcpus[kMapper], Another(kMapper, 1), Another(kMapper, 2)};
  const GrantEntry origin = EntryOf(kGranter, kRef);
  std::byte* const at = PlaceOf(kThird, kRef);
  Grant(kGranter, kRef, kThird, 1);
  Grant(kPv, kRef, kThird, 2);
  PassOn(kThird, kRef, kMapper, kGranter, kRef);
  std::atomic<bool> done = false;
  std::atomic<unsigned> used = 0;
  std::vector<std::thread> others;
  others.emplace_back([&] {
    std::minstd_rand random(5);
    while (!done) {
      origin.Store(random() % 2 == 0 ? GTF_permit_access : GTF_invalid, kThird, random() % 4);
    }
  });
  others.emplace_back([&] {
    std::minstd_rand random(6);
    while (!done) {
      const bool pv = random() % 2 == 0;
      __atomic_store_n(reinterpret_cast<std::uint16_t*>(at + 4), pv ? kPv : kGranter,
                       __ATOMIC_RELAXED);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < 3; ++id) {
    threads.emplace_back([&, id] {
      std::byte* const mine = machine.BytesOf(machine.hypervisor.FrameOf(kMapper, id));
      for (unsigned round = 0; round < kRounds || used < kUses; ++round) {
        const Side granted = Granted(kThird, kRef, id * kPart);
        if (round % 2 == 0) {
          std::memset(mine, 0, kPart);
          if (CopyBy(users[id], granted, Own(id)) != GNTST_okay) continue;
          EXPECT_EQ(mine[5], std::byte{0x22});
        } else {
          std::memset(mine, 0x22, kPart);
          if (CopyBy(users[id], Own(id), granted) != GNTST_okay) continue;
        }
        ++used;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  for (std::thread& thread : others) thread.join();
  EXPECT_EQ(Shown(kThird, kRef), 0);
  EXPECT_EQ(Shown(kGranter, kRef), 0);
  EXPECT_EQ(Shown(kPv, kRef), 0);
  EXPECT_EQ(SetVersion(kThird, 1), 0);  // nothing is in use
}

// A granter, or who maps its pages, is destroyed at any moment.
TEST_F(GrantHostileTest, DomainsEndMeanwhile) {
  constexpr std::uint16_t kGoing = 12, kUser = 13;
  for (unsigned round = 0; round < 40; ++round) {
    Build(kGoing, {.vcpus = 1});
    Build(kUser, {.vcpus = 3});
    UseVersion(kThird, 2);
    for (std::uint32_t ref = 1; ref < 20; ++ref) Grant(kGoing, ref, kUser, ref);
    Grant(kGoing, 20, kThird, 20);
    PassOn(kThird, 20, kUser, kGoing, 20);
    Vcpu* const users[] = {vcpus[kUser], Another(kUser, 1), Another(kUser, 2)};
    std::atomic<unsigned> begun = 0;
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < 3; ++id) {
      threads.emplace_back([&, id] {
        for (std::uint32_t i = 0; i < 150; ++i) {
          const std::uint32_t ref = 1 + i % 20;
          gnttab_map_grant_ref map =
              MapOp(kGoing, ref, kWindow + id * 200 + i, i % 2 == 0 ? kRead : kWrite);
          if (MapBy(users[id], map) == GNTST_okay && i % 3 == 0) {
            // The end has taken it, or makes no calls.
            const std::int16_t status = UnmapBy(users[id], map);
            EXPECT_TRUE(status == GNTST_okay || status == GNTST_bad_handle || status == -100);
          }
          CopyBy(users[id], Granted(kGoing, ref, id * kPart), Own(id));
          CopyBy(users[id], Granted(kThird, 20, id * kPart), Own(id));
          ++begun;
        }
      });
    }
    while (begun < 3 + round * 8) std::this_thread::yield();
    const bool goes_first = round % 3 != 0, uses_to_the_end = round % 3 == 1;
    std::int64_t ends[2] = {};
    if (goes_first) ends[0] = Destroy(kGoing);
    if (!uses_to_the_end) ends[1] = Destroy(kUser);
    for (std::thread& thread : threads) thread.join();
    ReleaseMore();
    if (!goes_first) ends[0] = Destroy(kGoing);
    if (uses_to_the_end) ends[1] = Destroy(kUser);
    EXPECT_EQ(ends[0], 0);
    EXPECT_EQ(ends[1], 0);
    Release(round % 2 == 0 ? kUser : kGoing);
    Release(round % 2 == 0 ? kGoing : kUser);
    EXPECT_FALSE(Exists(kGoing)) << round;
    EXPECT_FALSE(Exists(kUser)) << round;
    EXPECT_EQ(Shown(kThird, 20), 0);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor

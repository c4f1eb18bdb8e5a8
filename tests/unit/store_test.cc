// The store behind its connections: what the programs that real xenstored answers, too, cannot ask.

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/machine/store/node.h"
#include "tests/unit/store_client.h"

namespace xencomm::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    for (const DomainId id : {7u, 8u}) {
      hypervisor.domains[id] = DomainState::kRunning;
      EXPECT_EQ(store.Introduce(id, 1, 1), 0);
      EXPECT_EQ(dom0.Ask(XS_MKDIR, HomeOf(id) + "|"), "OK|");
      EXPECT_EQ(dom0.Ask(XS_SET_PERMS, HomeOf(id) + "|n" + std::to_string(id) + "|"), "OK|");
    }
  }

  void End(DomainId id) {
    hypervisor.domains.erase(id);
    store.CheckDomains();
  }
  // The line of `quota ID` that begins so.
  int Held(DomainId id, const std::string& what) {
    const std::string answer = dom0.Ask(XS_CONTROL, "quota|" + std::to_string(id) + "|");
    const std::size_t at = answer.find("\n" + what);
    return at == std::string::npos ? -1 : std::atoi(answer.c_str() + answer.find(':', at) + 1);
  }

  FakeHypervisor hypervisor;
  Store store{hypervisor.query()};
  StoreClient dom0{store};
};

TEST(NodeTest, ChildrenKeepTheirOrder) {
  Node node;
  for (const char* name : {"b", "a", "ab", "c"}) node.AddChild(name);
  EXPECT_EQ(WithBars(node.children), "b|a|ab|c|");
  EXPECT_THAT(node.ChildNames(), ElementsAre("b", "a", "ab", "c"));
  EXPECT_TRUE(node.RemoveChild("a"));
  EXPECT_FALSE(node.RemoveChild("none"));
  EXPECT_TRUE(node.RemoveChild("c"));
  EXPECT_EQ(WithBars(node.children), "b|ab|");
}

TEST(NodeTest, WhatLiesWithin) {
  EXPECT_TRUE(IsWithin("/a", "/"));
  EXPECT_TRUE(IsWithin("/a", "/a"));
  EXPECT_TRUE(IsWithin("/a/b", "/a"));
  EXPECT_FALSE(IsWithin("/ab", "/a"));
  EXPECT_FALSE(IsWithin("/a", "/a/b"));
}

TEST(NodeTest, PermissionsAreReadAsWritten) {
  for (const char* text : {"n0", "r7", "w65535", "b2147483647", "r-1"}) {
    const std::optional<Permission> permission = ParsePermission(text);
    ASSERT_TRUE(permission.has_value()) << text;
    EXPECT_EQ(ToString(*permission), text);
  }
  for (const char* text : {"", "n", "0", "x0", "r7 ", "rr7", "n0x", "r7w"}) {
    EXPECT_FALSE(ParsePermission(text).has_value()) << text;
  }
}

TEST_F(StoreTest, APathWithoutItsZeroIsNone) {
  dom0.Ask(XS_RM, "/none|");
  for (const std::uint32_t type : {XS_READ, XS_DIRECTORY, XS_MKDIR, XS_RM, XS_GET_PERMS}) {
    EXPECT_EQ(dom0.Ask(type, ""), "!EINVAL");
    EXPECT_EQ(dom0.Ask(type, "/tool"), "!EINVAL");
    EXPECT_EQ(dom0.Ask(type, "/tool|x"), "!EINVAL");
    EXPECT_EQ(dom0.Ask(type, "/tool|x|"), "!EINVAL");
  }
}

TEST_F(StoreTest, SpecialPermissionsAreDomain0s) {
  StoreClient guest(store, 7);
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "@none|n0|"), "!EINVAL");
  EXPECT_EQ(guest.Ask(XS_SET_PERMS, "@releaseDomain|n7|"), "!EACCES");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "@introduceDomain|n0|r7|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_WATCH, "@introduceDomain|t|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  guest.Events();
  hypervisor.domains[9] = DomainState::kRunning;
  EXPECT_EQ(dom0.Ask(XS_INTRODUCE, "9|1|1|"), "OK|");
  End(9);
  EXPECT_EQ(guest.Events(), "@introduceDomain|t| ");
  // An owner may give them on.
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "@releaseDomain|n7|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_SET_PERMS, "@releaseDomain|r7|"), "OK|");
}

TEST_F(StoreTest, SpecialPermissionsEndWithTheirDomain) {
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "@releaseDomain|n7|w8|r8|"), "OK|");
  End(7);
  hypervisor.domains[7] = DomainState::kRunning;
  EXPECT_EQ(store.Introduce(7, 1, 1), 0);
  StoreClient next(store, 7);
  EXPECT_EQ(next.Ask(XS_SET_PERMS, "@releaseDomain|n7|"), "!EACCES");
  End(8);
  hypervisor.domains[8] = DomainState::kRunning;
  EXPECT_EQ(store.Introduce(8, 1, 1), 0);
  StoreClient other(store, 8);
  EXPECT_EQ(other.Ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  other.Events();
  End(7);
  EXPECT_EQ(other.Events(), "");
}

TEST_F(StoreTest, EndsDomainsThatWereNeverIntroduced) {
  hypervisor.domains[9] = DomainState::kRunning;
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/y|1"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|n9|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  dom0.Events();
  hypervisor.domains[9] = DomainState::kDying;
  store.CheckDomains();
  EXPECT_EQ(dom0.Ask(XS_READ, "/x/y|"), "1");
  End(9);
  EXPECT_EQ(dom0.Ask(XS_READ, "/x|"), "!ENOENT");
  EXPECT_EQ(dom0.Events(), "");
}

TEST_F(StoreTest, TheRootOutlivesItsOwner) {
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/|n7|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/mine|1"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/tool|n0|"), "OK|");
  End(7);
  EXPECT_EQ(dom0.Ask(XS_GET_PERMS, "/|"), "n0|");
  EXPECT_EQ(dom0.Ask(XS_READ, "/tool|"), "");
  EXPECT_EQ(dom0.Ask(XS_READ, "/mine|"), "!ENOENT");  // it inherited its owner from the root
  EXPECT_EQ(dom0.Ask(XS_READ, HomeOf(7) + "|"), "!ENOENT");
}

TEST_F(StoreTest, ATargetsRightsEndWithIt) {
  EXPECT_EQ(dom0.Ask(XS_SET_TARGET, "7|8|"), "OK|");
  StoreClient model(store, 7);
  EXPECT_EQ(model.Ask(XS_WRITE, HomeOf(8) + "/a|1"), "OK|");
  End(8);
  hypervisor.domains[8] = DomainState::kRunning;
  EXPECT_EQ(store.Introduce(8, 1, 1), 0);
  EXPECT_EQ(dom0.Ask(XS_WRITE, HomeOf(8) + "/a|1"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, HomeOf(8) + "/a|n8|"), "OK|");
  EXPECT_EQ(model.Ask(XS_READ, HomeOf(8) + "/a|"), "!EACCES");
}

TEST_F(StoreTest, AnIntroducedRingBeginsAnew) {
  StoreClient guest(store, 7);
  EXPECT_EQ(guest.Ask(XS_WATCH, HomeOf(7) + "|t|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  guest.Events();
  EXPECT_EQ(dom0.Ask(XS_WRITE, HomeOf(7) + "|1"), "OK|");
  guest.Send(Encode(XS_READ, "a|").substr(0, 9));
  EXPECT_FALSE(guest.connection.output().empty());
  EXPECT_EQ(dom0.Ask(XS_INTRODUCE, "7|2|3|"), "OK|");
  EXPECT_EQ(guest.connection.output(), "");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 1), "!ENOENT");
  EXPECT_EQ(dom0.Ask(XS_WRITE, HomeOf(7) + "|2"), "OK|");
  EXPECT_EQ(guest.Events(), "");
  EXPECT_EQ(store.domains().Find(7)->gfn, 2u);
  EXPECT_EQ(store.domains().Find(7)->port, 3u);
  EXPECT_FALSE(guest.connection.wants_to_end());
}

TEST_F(StoreTest, AnEndedDomainsConnectionEnds) {
  StoreClient guest(store, 7);
  StoreClient other(store, 8);
  EXPECT_EQ(guest.Ask(XS_WATCH, HomeOf(7) + "|t|"), "OK|");
  guest.Events();
  guest.wakes = 0;
  hypervisor.domains[7] = DomainState::kDying;
  store.CheckDomains();
  EXPECT_TRUE(guest.connection.wants_to_end());
  EXPECT_FALSE(guest.connection.wants_input());
  EXPECT_EQ(guest.wakes, 1);
  EXPECT_FALSE(other.connection.wants_to_end());
  EXPECT_EQ(guest.Ask(XS_READ, HomeOf(7) + "|"), "nothing");
  EXPECT_FALSE(store.IsIntroduced(7));
}

// As a toolstack would take back what it made. The next one may have its number.
TEST_F(StoreTest, AHomeThatWasMadeForADomainGoesWithIt) {
  for (int i = 0; i < 2; i++) {
    hypervisor.domains[9] = DomainState::kRunning;
    store.Admit(9);
    StoreClient guest(store, 9);
    EXPECT_EQ(guest.Ask(XS_WRITE, "data/x|1"), "OK|");
    End(9);
    EXPECT_EQ(dom0.Ask(XS_READ, HomeOf(9) + "|"), "!ENOENT");
  }
  // What a toolstack made, it takes back itself.
  EXPECT_EQ(dom0.Ask(XS_MKDIR, HomeOf(9) + "|"), "OK|");
  hypervisor.domains[9] = DomainState::kRunning;
  store.Admit(9);
  End(9);
  EXPECT_EQ(dom0.Ask(XS_READ, HomeOf(9) + "|"), "");
}

TEST_F(StoreTest, ShuttingDownIsToldOnceForAll) {
  EXPECT_EQ(dom0.Ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  dom0.Events();
  hypervisor.domains[7] = DomainState::kShutDown;
  hypervisor.domains[8] = DomainState::kShutDown;
  store.CheckDomains();
  EXPECT_EQ(dom0.Events(), "@releaseDomain|t| ");
  store.CheckDomains();
  EXPECT_EQ(dom0.Events(), "");
  EXPECT_EQ(dom0.Ask(XS_RESUME, "7|"), "OK|");
  store.CheckDomains();
  EXPECT_EQ(dom0.Events(), "@releaseDomain|t| ");
  EXPECT_EQ(dom0.Ask(XS_READ, HomeOf(7) + "|"), "");
}

// Each of these is given back when it ends, whichever way.
TEST_F(StoreTest, MemoryIsCountedAndGivenBack) {
  StoreClient guest(store, 7);
  const int before = Held(7, "memory");
  const int nodes = Held(7, "nodes");
  EXPECT_EQ(guest.Ask(XS_WRITE, "a|" + std::string(100, 'x')), "OK|");
  // Two records: its own with the path, and the home's, that names it.
  const int path = static_cast<int>(HomeOf(7).size() + 2);
  EXPECT_EQ(Held(7, "memory"), before + 24 + 8 + 100 + path + 2);
  EXPECT_EQ(Held(7, "nodes"), nodes + 1);
  EXPECT_EQ(guest.Ask(XS_RM, "a|"), "OK|");
  EXPECT_EQ(Held(7, "memory"), before);
  EXPECT_EQ(Held(7, "nodes"), nodes);

  EXPECT_EQ(guest.Ask(XS_WATCH, "/w|token|"), "OK|");
  EXPECT_EQ(Held(7, "memory"), before + 7);
  EXPECT_EQ(Held(7, "watches"), 1);
  EXPECT_EQ(guest.Ask(XS_UNWATCH, "/w|token|"), "OK|");
  EXPECT_EQ(Held(7, "watches"), 0);
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "a|1", 1), "OK|");
  EXPECT_GT(Held(7, "memory"), before);
  EXPECT_EQ(Held(7, "transactions"), 1);
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "F|", 1), "OK|");
  EXPECT_EQ(Held(7, "transactions"), 0);
  EXPECT_EQ(Held(7, "memory"), before);

  // What is unsent.
  guest.Send(Encode(XS_READ, "/none|"));
  EXPECT_EQ(Held(7, "memory"), before + 16 + 7);
  EXPECT_EQ(Held(7, "outstanding"), 1);
  guest.Take();
  EXPECT_EQ(Held(7, "memory"), before);
  EXPECT_EQ(Held(7, "outstanding"), 0);
}

TEST_F(StoreTest, NodesCountForTheirOwner) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/y|1"), "OK|");
  const int before = Held(7, "nodes");
  const int memory = Held(7, "memory");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|n7|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/z|1"), "OK|");  // as its parent's
  EXPECT_EQ(Held(7, "nodes"), before + 2);
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x/z|n8|", 1), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|n0|", 1), "OK|");
  EXPECT_EQ(Held(7, "nodes"), before + 2);
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_END, "T|", 1), "OK|");
  EXPECT_EQ(Held(7, "nodes"), before);
  EXPECT_EQ(Held(7, "memory"), memory);
  EXPECT_EQ(Held(8, "nodes"), 2);
}

TEST_F(StoreTest, ADomainsMemoryHasAnEnd) {
  StoreClient guest(store, 7);
  store.domains().quotas().memory = 5000;
  int count = 0;
  const std::string value(1000, 'x');
  const auto path = [](int i) { return "n" + std::to_string(i) + "|"; };
  while (guest.Ask(XS_WRITE, path(count) + value) == "OK|") ++count;
  EXPECT_EQ(count, 4);
  EXPECT_EQ(guest.Ask(XS_WRITE, path(count) + value), "!EIO");
  EXPECT_EQ(guest.Ask(XS_READ, path(count)), "!ENOENT");
  EXPECT_EQ(guest.Ask(XS_READ, "n0|"), "!ENOMEM");  // no room for the answer
  EXPECT_EQ(guest.Ask(XS_WATCH, "/w|" + std::string(1000, 't') + "|"), "!ENOMEM");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(guest.Ask(XS_GET_PERMS, "n1|", 1), "!ENOSPC");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 1), "!ENOMEM");
  EXPECT_EQ(guest.Ask(XS_WRITE, "n0|1"), "OK|");  // smaller
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "2|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "n|" + std::string(1900, 'x'), 2), "!EIO");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 2), "!ENOMEM");
}

TEST_F(StoreTest, WhatATransactionCannotWriteFailsIt) {
  StoreClient guest(store, 7);
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "a/b|" + std::string(2100, 'x'), 1), "!ENOSPC");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 1), "!ENOMEM");
  EXPECT_EQ(guest.Ask(XS_READ, "a|"), "!ENOENT");
  // The last folder has no room for the name.
  EXPECT_EQ(guest.Ask(XS_WRITE, std::string(1000, 'n') + "|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_WRITE, std::string(1000, 'm') + "|"), "OK|");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "2|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "a/b/cccccccccccccc|", 2), "OK|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "eeeeeeeeeeeeeeee/f|", 2), "!ENOSPC");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 2), "!ENOMEM");
  EXPECT_EQ(guest.Ask(XS_READ, "a|"), "!ENOENT");
}

TEST_F(StoreTest, WhatATransactionHasIsNotRefusedAtItsEnd) {
  StoreClient guest(store, 7);
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "a|value", 1), "OK|");
  store.domains().quotas().memory = 1;
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 1), "OK|");
  EXPECT_EQ(guest.Ask(XS_READ, "a|"), "value");
}

TEST_F(StoreTest, Domain0sNodesAreNotCountedAgainstATransaction) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, HomeOf(7) + "/x|1"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, HomeOf(7) + "/x|n0|w7|"), "OK|");
  store.domains().quotas().nodes = 3;
  EXPECT_GT(store.domains().Find(0)->entries, 4);
  StoreClient guest(store, 7);
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(guest.Ask(XS_RM, "x|", 1), "OK|");
  EXPECT_EQ(guest.Ask(XS_MKDIR, "y|", 1), "OK|");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 1), "OK|");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_START, "|"), "2|");
  EXPECT_EQ(guest.Ask(XS_MKDIR, "z|", 2), "OK|");
  EXPECT_EQ(guest.Ask(XS_TRANSACTION_END, "T|", 2), "!ENOSPC");
}

TEST_F(StoreTest, TransactionNumbersAreNotGivenTwice) {
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), std::to_string(i) + "|");
  }
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_END, "F|", 2), "OK|");
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), "4|");
}

// Not as xenstored has it, which domain 0's programs can fill.
TEST_F(StoreTest, AlsoDomain0sShareHasAnEnd) {
  store.domains().quotas().domain_0_transactions = 3;
  for (int i = 1; i <= 4; ++i) EXPECT_NE(dom0.Ask(XS_TRANSACTION_START, "|"), "!ENOSPC");
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), "!ENOSPC");
  StoreClient other(store);
  EXPECT_EQ(other.Ask(XS_TRANSACTION_START, "|"), "1|");

  store.domains().quotas().domain_0_watches = 1;
  EXPECT_EQ(other.Ask(XS_WATCH, "/w|1|"), "OK|");
  EXPECT_EQ(other.Ask(XS_WATCH, "/w|2|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/w|3|"), "!E2BIG");
  EXPECT_EQ(other.Ask(XS_RESET_WATCHES, "|"), "OK|");

  store.domains().quotas().domain_0_memory = 20'000;
  const std::string value(4000, 'x');
  int count = 0;
  while (dom0.Ask(XS_WRITE, "/n" + std::to_string(count) + "|" + value) == "OK|") ++count;
  EXPECT_EQ(count, 4);
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/w|" + value + "|"), "!ENOMEM");
  EXPECT_EQ(dom0.Ask(XS_READ, "/n0|", 1), "!ENOSPC");
  EXPECT_EQ(dom0.Ask(XS_RM, "/n0|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/n0|" + value), "OK|");
  // All can still be read, removed and told of.
  store.domains().quotas().domain_0_memory = 1;
  EXPECT_EQ(other.Ask(XS_WATCH, "/n1|t|"), "!ENOMEM");
  EXPECT_EQ(other.Ask(XS_READ, "/n1|"), value);
  store.domains().quotas().domain_0_memory = 40'000;
  EXPECT_EQ(other.Ask(XS_WATCH, "/n1|t|"), "OK|");
  other.Events();
  store.domains().quotas().domain_0_memory = 1;
  EXPECT_EQ(dom0.Ask(XS_RM, "/n1|"), "OK|");
  EXPECT_EQ(other.Events(), "/n1|t| ");
}

TEST_F(StoreTest, AStrangersPermissionIsNoLongerOne) {
  // Of a domain that came after it, though of that number.
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x|1"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|n0|r7|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/x|t|"), "OK|");
  StoreClient guest(store, 7);
  EXPECT_EQ(guest.Ask(XS_READ, "/x|"), "1");
  End(7);
  hypervisor.domains[7] = DomainState::kRunning;
  EXPECT_EQ(store.Introduce(7, 1, 1), 0);
  StoreClient next(store, 7);
  EXPECT_EQ(next.Ask(XS_READ, "/x|"), "!EACCES");
  // Also when the node is written anew, by whom the permission says nothing to, inside or outside.
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x|2"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_MKDIR, "/x/y|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), "1|");
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x|3", 1), "OK|");
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_END, "T|", 1), "OK|");
  EXPECT_EQ(next.Ask(XS_READ, "/x|"), "!EACCES");
  EXPECT_EQ(next.Ask(XS_READ, "/x/y|"), "!EACCES");
  EXPECT_EQ(dom0.Ask(XS_GET_PERMS, "/x|"), "n0|r7|");
  // Nor when the domain ends before what permits it is committed, which xenstored does not see.
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_START, "|"), "2|");
  EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|n0|r7|", 2), "OK|");
  End(7);
  hypervisor.domains[7] = DomainState::kRunning;
  EXPECT_EQ(store.Introduce(7, 1, 1), 0);
  EXPECT_EQ(dom0.Ask(XS_TRANSACTION_END, "T|", 2), "OK|");
  StoreClient last(store, 7);
  EXPECT_EQ(last.Ask(XS_READ, "/x|"), "!EACCES");
}

TEST_F(StoreTest, CountsBadNumbersAsQuotas) {
  EXPECT_EQ(dom0.Ask(XS_CONTROL, "quota|set|watches|-1|"), "!EINVAL");
  EXPECT_EQ(dom0.Ask(XS_CONTROL, "quota|set|watches|many|"), "!EINVAL");
  EXPECT_EQ(dom0.Ask(XS_CONTROL, "quota|set|watches|4294967296|"), "!EINVAL");
  EXPECT_EQ(dom0.Ask(XS_CONTROL, "quota-soft|set|watches|1|"), "!EINVAL");
  EXPECT_EQ(dom0.Ask(XS_CONTROL, "quota-soft|set|memory|1|"), "OK|");
  EXPECT_THAT(dom0.Ask(XS_CONTROL, "quota-soft|"), HasSubstr("memory           :        1 "));
}

TEST(StoreBootTest, BeginsAsXenstoredDoes) {
  FakeHypervisor hypervisor;
  Store store(hypervisor.query());
  StoreClient dom0(store);
  EXPECT_EQ(dom0.Ask(XS_DIRECTORY, "/|"), "tool|");
  EXPECT_EQ(dom0.Ask(XS_DIRECTORY, "/tool|"), "xenstored|");
  EXPECT_EQ(store.domains().Find(0)->entries, 3);
  store.BootDomain0();
  EXPECT_EQ(store.domains().Find(0)->entries, 15);  // as real xenstored counts them
  EXPECT_EQ(*store.domains().Find(0)->memory, 885);
}

}  // namespace
}  // namespace xencomm::machine

// A connection to the store: how bytes become requests, what waits, and what has an end.

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/machine/store/xenbus_file.h"
#include "tests/unit/store_client.h"

namespace xencomm::machine {
namespace {

using ::testing::ElementsAre;

class StoreWireTest : public testing::Test {
 protected:
  StoreWireTest() {
    hypervisor.domains[7] = DomainState::kRunning;
    EXPECT_EQ(store.Introduce(7, 1, 1), 0);
    EXPECT_EQ(dom0.Ask(XS_MKDIR, "/x|"), "OK|");
    EXPECT_EQ(dom0.Ask(XS_SET_PERMS, "/x|b7|"), "OK|");
    xenbus.Connect();
  }

  static std::vector<std::uint32_t> IdsOf(const std::vector<Answered>& messages) {
    std::vector<std::uint32_t> ids;
    for (const Answered& message : messages) ids.push_back(message.header.req_id);
    return ids;
  }

  FakeHypervisor hypervisor;
  Store store{hypervisor.query()};
  StoreClient dom0{store};
  StoreClient guest{store, 7};
  StoreConnection kernel{store, 0, [] {}};
  Xenbus xenbus{[this] { xenbus.ExchangeWith(kernel); }};
};

TEST_F(StoreWireTest, TakesBytesInAnyPieces) {
  std::string bytes;
  for (std::uint32_t id = 1; id <= 5; ++id) bytes += Encode(XS_READ, "/x|", 0, id);
  for (std::size_t size : {1u, 2u, 15u, 16u, 17u, 33u, 1000u}) {
    std::vector<std::uint32_t> ids;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      dom0.Send(std::string_view(bytes).substr(at, size));
      for (const std::uint32_t id : IdsOf(dom0.Take())) ids.push_back(id);
    }
    EXPECT_THAT(ids, ElementsAre(1, 2, 3, 4, 5)) << size;
  }
}

TEST_F(StoreWireTest, GivesBytesInAnyPieces) {
  for (std::uint32_t id = 1; id <= 5; ++id) dom0.Send(Encode(XS_READ, "/x|", 0, id));
  const std::string all(dom0.connection.output());
  std::string got;
  for (std::size_t size = 1; !dom0.connection.output().empty(); ++size) {
    const std::string piece(dom0.connection.output().substr(0, size));
    got += piece;
    dom0.connection.Sent(piece.size());
  }
  EXPECT_EQ(got, all);
  EXPECT_THAT(IdsOf(Decode(got)), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(StoreWireTest, EndsAtALengthThatCannotBe) {
  dom0.Send(Encode(XS_READ, "/x|", 0, 1));
  std::string bytes = Encode(XS_READ, std::string(XENSTORE_PAYLOAD_MAX + 1, 'a'), 0, 2);
  // What came before is answered, what comes behind is not.
  bytes = Encode(XS_READ, "/x|", 0, 3) + bytes.substr(0, sizeof(xsd_sockmsg));
  dom0.wakes = 0;
  dom0.Send(bytes);
  EXPECT_TRUE(dom0.connection.wants_to_end());
  EXPECT_FALSE(dom0.connection.wants_input());
  EXPECT_EQ(dom0.wakes, 1);
  dom0.Send(Encode(XS_READ, "/x|", 0, 4));
  EXPECT_THAT(IdsOf(Decode(dom0.connection.output())), ElementsAre(1, 3));
}

TEST_F(StoreWireTest, TakesTheLongestPayload) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, std::string(XENSTORE_PAYLOAD_MAX, 'a')), "!EINVAL");
  EXPECT_EQ(dom0.Ask(XS_READ, "/x|"), "");
}

TEST_F(StoreWireTest, AnswersInOrderWithEventsBetween) {
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/x|t|"), "OK|");
  dom0.Events();
  dom0.Send(Encode(XS_WRITE, "/x/a|1", 0, 1) + Encode(XS_READ, "/x/a|", 0, 2));
  std::vector<std::uint32_t> types;
  for (const Answered& message : dom0.Take()) types.push_back(message.header.type);
  EXPECT_THAT(types, ElementsAre(XS_WATCH_EVENT, XS_WRITE, XS_READ));
}

TEST_F(StoreWireTest, AnEventThatIsUnsentIsNotSentTwice) {
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/x|t|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WATCH, "@introduceDomain|t|"), "OK|");
  EXPECT_EQ(dom0.Ask(XS_WATCH, "@releaseDomain|t|"), "OK|");
  dom0.Events();
  StoreClient writer(store);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(writer.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(dom0.Events(), "/x/a|t| ");
  EXPECT_EQ(writer.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(writer.Ask(XS_WRITE, "/x/b|1"), "OK|");
  // Once it is partly sent still.
  dom0.connection.Sent(1);
  EXPECT_EQ(writer.Ask(XS_WRITE, "/x/a|1"), "OK|");
  const std::string rest(dom0.connection.output());
  EXPECT_EQ(rest.size(), 2 * (sizeof(xsd_sockmsg) + 7) - 1);
  dom0.connection.Sent(sizeof(xsd_sockmsg) + 7 - 1);
  EXPECT_EQ(writer.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(dom0.Events(), "/x/b|t| /x/a|t| ");
  // Special ones are each sent: each is of another domain.
  for (const DomainId id : {8u, 9u}) {
    hypervisor.domains[id] = DomainState::kRunning;
    EXPECT_EQ(writer.Ask(XS_INTRODUCE, std::to_string(id) + "|1|1|"), "OK|");
  }
  EXPECT_EQ(dom0.Events(), "@introduceDomain|t| @introduceDomain|t| ");
}

TEST_F(StoreWireTest, WakesWhenThereComesToBeOutput) {
  EXPECT_EQ(dom0.Ask(XS_WATCH, "/x|t|"), "OK|");
  dom0.Events();
  dom0.wakes = 0;
  EXPECT_EQ(guest.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(guest.Ask(XS_WRITE, "/x/b|1"), "OK|");
  EXPECT_EQ(dom0.wakes, 1);
  EXPECT_EQ(dom0.Events(), "/x/a|t| /x/b|t| ");
  EXPECT_EQ(guest.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(dom0.wakes, 2);
}

// Requests of a client that does not read wait, and are answered when it does.
TEST_F(StoreWireTest, HoldsWhoDoesNotRead) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/big|" + std::string(4000, 'x')), "OK|");
  std::string bytes;
  constexpr std::uint32_t kCount = 1000;
  for (std::uint32_t id = 1; id <= kCount; ++id) bytes += Encode(XS_READ, "/x/big|", 0, id);
  dom0.Send(bytes);
  EXPECT_FALSE(dom0.connection.wants_input());
  EXPECT_FALSE(dom0.connection.wants_to_end());
  EXPECT_LT(dom0.connection.output().size(), 80'000u);
  const std::vector<std::uint32_t> ids = IdsOf(dom0.Take());
  ASSERT_EQ(ids.size(), kCount);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_TRUE(dom0.connection.wants_input());
}

TEST_F(StoreWireTest, EndsDomain0sClientThatLeavesItsEvents) {
  StoreClient lazy(store);
  EXPECT_EQ(lazy.Ask(XS_WATCH, "/x|" + std::string(3000, 't') + "|"), "OK|");
  lazy.Events();
  int count = 0;
  while (!lazy.connection.wants_to_end() && count < 10'000) {
    dom0.Ask(XS_WRITE, "/x/" + std::to_string(count) + "|");
    ++count;
  }
  EXPECT_GT(count, 5'000);
  EXPECT_LT(count, 6'000);
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/a|1"), "OK|");
}

TEST_F(StoreWireTest, DropsEventsOfADomainWithoutMemory) {
  store.domains().quotas().memory = 2000;
  EXPECT_EQ(guest.Ask(XS_WATCH, "/x|" + std::string(500, 't') + "|"), "OK|");
  guest.Events();
  for (int i = 0; i < 10; ++i) dom0.Ask(XS_WRITE, "/x/" + std::to_string(i) + "|");
  EXPECT_FALSE(guest.connection.wants_to_end());
  EXPECT_EQ(guest.Take().size(), 2u);
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/a|1"), "OK|");
  EXPECT_EQ(guest.Take().size(), 1u);
}

// Of a domain, also those wait that cause events which others do not read.
TEST_F(StoreWireTest, HoldsADomainUntilOthersHaveReadWhatItCaused) {
  StoreClient lazy(store);
  EXPECT_EQ(lazy.Ask(XS_WATCH, "/x|t|"), "OK|");
  lazy.Events();
  std::uint32_t answered = 0;
  for (std::uint32_t id = 0; id < 100; ++id) {
    guest.Send(Encode(XS_WRITE, "/x/" + std::to_string(id) + "|1", 0, id));
    answered += static_cast<std::uint32_t>(guest.Take().size());
  }
  EXPECT_EQ(answered, 20u);
  EXPECT_FALSE(guest.connection.wants_input());
  guest.wakes = 0;
  // One more goes when one is read.
  const std::size_t first = Encode(XS_WATCH_EVENT, "/x/0|t|").size();
  lazy.connection.Sent(first - 1);
  EXPECT_EQ(guest.wakes, 0);
  lazy.connection.Sent(1);
  EXPECT_EQ(guest.wakes, 1);
  EXPECT_THAT(IdsOf(guest.Take()), ElementsAre(20));
  // A watcher that goes has read all.
  while (answered < 99) {
    lazy.Take();
    answered += static_cast<std::uint32_t>(guest.Take().size());
  }
  EXPECT_EQ(answered, 99u);
  EXPECT_TRUE(guest.connection.wants_input());
}

TEST_F(StoreWireTest, AWatcherThatGoesHoldsNobody) {
  {
    StoreClient lazy(store);
    EXPECT_EQ(lazy.Ask(XS_WATCH, "/x|t|"), "OK|");
    lazy.Events();
    std::string bytes;
    for (std::uint32_t id = 0; id < 30; ++id) {
      bytes += Encode(XS_WRITE, "/x/" + std::to_string(id) + "|1", 0, id);
    }
    guest.Send(bytes);
    EXPECT_EQ(guest.Take().size(), 20u);
  }
  EXPECT_EQ(guest.Take().size(), 10u);
}

TEST_F(StoreWireTest, UnreadAnswersOfADomainAreOutstanding) {
  std::string bytes;
  for (std::uint32_t id = 0; id < 30; ++id) bytes += Encode(XS_READ, "/x|", 0, id);
  guest.Send(bytes);
  EXPECT_EQ(Decode(guest.connection.output()).size(), 20u);
  EXPECT_EQ(guest.Take().size(), 30u);
}

// How writes are answered otherwise, tests/xen/xenbus.c says.
TEST_F(StoreWireTest, AFilesWritesWaitUntilItIsRead) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/big|" + std::string(4000, 'x')), "OK|");
  XenbusFile file(xenbus);
  const std::string request = Encode(XS_READ, "/x/big|");
  const auto write = [&] { return file.Write(std::as_bytes(std::span(request))); };
  std::size_t taken = 0;
  while (taken < 100 && write() == static_cast<std::ptrdiff_t>(request.size())) ++taken;
  EXPECT_EQ(taken, 17u);
  EXPECT_FALSE(file.wants_input());
  EXPECT_EQ(write(), -EAGAIN);
  EXPECT_EQ(Decode(file.output()).size(), taken);
  file.Sent(file.output().size());
  EXPECT_EQ(write(), static_cast<std::ptrdiff_t>(request.size()));
  EXPECT_EQ(Decode(file.output()).size(), 1u);
}

TEST_F(StoreWireTest, AFileTakesAStreamMessageByMessage) {
  std::string bytes;
  for (std::uint32_t id = 1; id <= 5; ++id) {
    bytes += Encode(id == 3 ? XS_TRANSACTION_START : XS_READ, id == 3 ? "" : "/x|", 0, id);
  }
  for (std::size_t size : {1u, 2u, 15u, 16u, 17u, 33u, 1000u}) {
    XenbusFile file(xenbus);
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      const std::string_view piece = std::string_view(bytes).substr(at, size);
      file.Receive(std::as_bytes(std::span(piece)));
    }
    EXPECT_THAT(IdsOf(Decode(file.output())), ElementsAre(1, 2, 3, 4, 5)) << size;
  }
}

TEST_F(StoreWireTest, AFilesStreamWaitsUntilItIsRead) {
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/big|" + std::string(4000, 'x')), "OK|");
  XenbusFile file(xenbus);
  std::string bytes;
  for (std::uint32_t id = 1; id <= 100; ++id) bytes += Encode(XS_READ, "/x/big|", 0, id);
  file.Receive(std::as_bytes(std::span(bytes)));
  EXPECT_FALSE(file.wants_input());
  std::size_t answered = 0;
  while (!file.output().empty()) {
    EXPECT_LT(file.output().size(), 80'000u);
    answered += Decode(file.output()).size();
    file.Sent(file.output().size());
  }
  EXPECT_EQ(answered, 100u);
}

TEST_F(StoreWireTest, AFilesStreamEndsAtWhatAWriteRefuses) {
  XenbusFile file(xenbus);
  const std::string bytes = Encode(XS_READ, "/x|", 0, 1) +
                            Encode(XS_READ, std::string(XENSTORE_PAYLOAD_MAX - 15, 'a'), 0, 2) +
                            Encode(XS_READ, "/x|", 0, 3);
  file.Receive(std::as_bytes(std::span(bytes)));
  EXPECT_TRUE(file.wants_to_end());
  EXPECT_THAT(IdsOf(Decode(file.output())), ElementsAre(1));
}

TEST_F(StoreWireTest, AFilesWatchIsOneHoweverOftenItIsAdded) {
  XenbusFile file(xenbus);
  const std::string request = Encode(XS_WATCH, "/x|t|");
  for (int i = 0; i < 2; ++i) {
    (void)file.Write(std::as_bytes(std::span(request)));
    EXPECT_EQ(Decode(file.output()).size(), 2u);
    file.Sent(file.output().size());
  }
  EXPECT_EQ(dom0.Ask(XS_WRITE, "/x/a|1"), "OK|");
  xenbus.ExchangeWith(kernel);
  EXPECT_EQ(Decode(file.output()).size(), 1u);
}

}  // namespace
}  // namespace xencomm::machine

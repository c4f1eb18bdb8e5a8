// The drop-in libxenstore.so.4 as programs use it, by the functions of xenstore.h alone.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

extern "C" {
#include <xenstore.h>
#include <xentoolcore.h>

// Of no header, but exported.
bool xs_write_all(int fd, const void* data, unsigned len);
bool xs_strings_to_perms(xs_permissions* perms, unsigned num, const char* strings);
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Free {
  void operator()(void* block) const { std::free(block); }
};
template <class T>
using Freed = std::unique_ptr<T, Free>;

class XenstoreTest : public testing::Test {
 protected:
  void TearDown() override {
    xs_rm(h, 0, "/test");
    xs_close(h);
  }

  bool Write(const char* path, const std::string& value, xs_transaction_t t = 0) {
    return xs_write(h, t, path, value.data(), static_cast<unsigned>(value.size()));
  }
  // "-" when there is none.
  std::string Read(const char* path, xs_transaction_t t = 0) {
    unsigned length = 0;
    const Freed<void> value(xs_read(h, t, path, &length));
    return value == nullptr ? "-" : std::string(static_cast<char*>(value.get()), length);
  }
  std::vector<std::string> List(const char* path) {
    unsigned count = 0;
    const Freed<char*> names(xs_directory(h, 0, path, &count));
    return {names.get(), names.get() + count};
  }
  bool HasEvent() {
    pollfd ready = {.fd = xs_fileno(h), .events = POLLIN, .revents = 0};
    return poll(&ready, 1, 0) == 1;
  }
  // All that there are, in their order.
  std::vector<std::string> Events() {
    std::vector<std::string> all;
    for (;;) {
      const Freed<char*> event(xs_check_watch(h));
      if (event == nullptr) return all;
      all.push_back(std::string(event.get()[XS_WATCH_PATH]) + " " + event.get()[XS_WATCH_TOKEN]);
    }
  }
  bool MakeDirectory(const char* path, xs_transaction_t t = 0) { return xs_mkdir(h, t, path); }
  bool Remove(const char* path, xs_transaction_t t = 0) { return xs_rm(h, t, path); }
  bool SetPermissions(const char* path, xs_transaction_t t = 0) {
    xs_permissions mine = {.id = 0, .perms = XS_PERM_READ};
    return xs_set_permissions(h, t, path, &mine, 1);
  }
  // As the protocol spells them; empty when there is no such node.
  std::vector<std::string> Permissions(const char* path) {
    unsigned count = 0;
    const Freed<xs_permissions> got(xs_get_permissions(h, 0, path, &count));
    std::vector<std::string> spelled;
    for (unsigned i = 0; got != nullptr && i < count; ++i) {
      spelled.push_back("nrwb"[got.get()[i].perms & 3] + std::to_string(got.get()[i].id));
    }
    return spelled;
  }
  // Whether `answer` is false, and errno that.
  static bool Refused(bool answer, int error) { return !answer && errno == error; }

  // The next one, which is there.
  std::string Event() { return HasEvent() ? ReadEvent() : "none"; }
  // The next one, when it comes.
  std::string ReadEvent() {
    unsigned count = 0;
    const Freed<char*> event(xs_read_watch(h, &count));
    EXPECT_EQ(count, 2u);
    return std::string(event.get()[XS_WATCH_PATH]) + " " + event.get()[XS_WATCH_TOKEN];
  }

  xs_handle* h = xs_open(0);
};

TEST_F(XenstoreTest, KnowsDomainZero) {
  EXPECT_EQ(Read("/local/domain/0/name"), "Domain-0");
  EXPECT_EQ(Read("name"), "Domain-0");  // from domain 0's home
  EXPECT_TRUE(xs_is_domain_introduced(h, 0));
  const Freed<char> home(xs_get_domain_path(h, 7));
  EXPECT_STREQ(home.get(), "/local/domain/7");
}

TEST_F(XenstoreTest, KeepsATree) {
  EXPECT_TRUE(Write("/test/a/b", "1"));
  EXPECT_TRUE(Write("/test/a", ""));
  EXPECT_TRUE(xs_mkdir(h, 0, "/test/ab"));
  EXPECT_TRUE(xs_mkdir(h, 0, "/test/a/b"));  // is there, and stays
  EXPECT_EQ(Read("/test/a/b"), "1");
  EXPECT_THAT(List("/test"), ElementsAre("a", "ab"));
  EXPECT_TRUE(xs_rm(h, 0, "/test/a"));
  EXPECT_THAT(List("/test"), ElementsAre("ab"));
  EXPECT_TRUE(xs_rm(h, 0, "/test/a"));  // what is gone may go
  EXPECT_FALSE(xs_rm(h, 0, "/test/nothing/below"));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(Read("/test/a/b"), "-");
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(XenstoreTest, HasWhatDomainZeroFindsAfterABoot) {
  const std::pair<const char*, const char*> nodes[] = {
      {"/", ""},      {"/local", ""},          {"/tool", ""},  {"/local/domain", ""},
      {"/vm", ""},    {"/local/domain/0", ""}, {"/libxl", ""}, {"/local/domain/0/name", "Domain-0"},
      {"domid", "0"},
  };
  for (const auto& [path, value] : nodes) {
    EXPECT_EQ(Read(path), value) << path;
    EXPECT_THAT(Permissions(path), ElementsAre("n0")) << path;
  }
  EXPECT_THAT(List("/"), ElementsAre("libxl", "local", "tool", "vm"));
  EXPECT_THAT(List("/local/domain"), ElementsAre("0"));
}

TEST_F(XenstoreTest, RefusesWhatIsNoPath) {
  const std::string most(3072, 'x');  // with what comes before it
  const std::string home = "/local/domain/0/";
  const struct {
    std::string path;
    bool good;
  } cases[] = {
      {"", false},
      {"//", false},
      {"//test", false},
      {"/test//a", false},
      {"/test/", false},
      {"test_relative/", false},
      {"/test/a b", false},
      {"/test/\n", false},
      {"/test/" + most.substr(6), true},
      {"/test/" + most.substr(5), false},
      {most.substr(home.size()), true},
      {most.substr(home.size() - 1), false},
  };
  for (const auto& [path, good] : cases) {
    EXPECT_EQ(Write(path.c_str(), "1"), good) << path;
    if (good) {
      EXPECT_EQ(Read((path[0] == '/' ? path : home + path).c_str()), "1") << path;
      EXPECT_TRUE(Remove(path.c_str()));
    } else {
      EXPECT_EQ(errno, EINVAL) << path;
      // Nothing else takes it for one, either.
      EXPECT_TRUE(Refused(MakeDirectory(path.c_str()), EINVAL));
      EXPECT_TRUE(Refused(Remove(path.c_str()), EINVAL));
      EXPECT_TRUE(Refused(SetPermissions(path.c_str()), EINVAL));
      EXPECT_TRUE(Refused(xs_watch(h, path.c_str(), "token"), EINVAL));
      EXPECT_EQ(Read(path.c_str()), "-");
      EXPECT_EQ(errno, EINVAL);
      EXPECT_THAT(Permissions(path.c_str()), IsEmpty());
      EXPECT_EQ(errno, EINVAL);
    }
  }
  EXPECT_TRUE(Refused(Remove("/"), EINVAL));
}

TEST_F(XenstoreTest, PathsAreMadeOfLettersDigitsAndFourOthers) {
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const std::string legal = letters + "0123456789-/_@";
  for (int c = 1; c < 256; ++c) {
    const std::string path = {'/', 't', 'e', 's', 't', '/', 'a', static_cast<char>(c), 'b'};
    EXPECT_EQ(Write(path.c_str(), ""), legal.find(static_cast<char>(c)) != legal.npos) << c;
  }
}

TEST_F(XenstoreTest, ValuesAreBytes) {
  for (const std::string& value :
       {std::string(), std::string("a\0b\0", 4), std::string(4096, '\xff')}) {
    EXPECT_TRUE(Write("/test/value", value));
    EXPECT_EQ(Read("/test/value"), value);
    // Ended by a zero that is not counted; and nobody needs to want the count.
    const Freed<void> read(xs_read(h, 0, "/test/value", nullptr));
    EXPECT_EQ(static_cast<char*>(read.get())[value.size()], '\0');
  }
  EXPECT_TRUE(Refused(Write("/test/value", std::string(4097, 'x')), E2BIG));
  EXPECT_EQ(Read("/test/value"), std::string(4096, '\xff'));
}

TEST_F(XenstoreTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(Read("/test/none"), "-");
  EXPECT_EQ(errno, ENOENT);
  unsigned count = 7;
  EXPECT_EQ(xs_directory(h, 0, "/test/none", &count), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(xs_get_permissions(h, 0, "/test/none", &count), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(count, 7u);
  EXPECT_TRUE(Refused(SetPermissions("/test/none"), ENOENT));
  EXPECT_TRUE(Refused(Remove("/test/none"), ENOENT));
  EXPECT_EQ(Read("/test"), "-");
  // Where nothing is below, that is a list, too.
  EXPECT_TRUE(MakeDirectory("/test"));
  const Freed<char*> none(xs_directory(h, 0, "/test", &count));
  EXPECT_NE(none, nullptr);
  EXPECT_EQ(count, 0u);
  EXPECT_TRUE(Remove("/test/none"));
}

TEST_F(XenstoreTest, ATransactionIsSeenWhenItEnds) {
  const xs_transaction_t t = xs_transaction_start(h);
  EXPECT_TRUE(Write("/test/t", "in", t));
  EXPECT_EQ(Read("/test/t", t), "in");
  EXPECT_EQ(Read("/test/t"), "-");
  EXPECT_TRUE(xs_transaction_end(h, t, false));
  EXPECT_EQ(Read("/test/t"), "in");
  EXPECT_FALSE(xs_transaction_end(h, t, false));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(XenstoreTest, ATransactionThatIsAbortedWasNone) {
  const xs_transaction_t t = xs_transaction_start(h);
  EXPECT_NE(t, XBT_NULL);
  EXPECT_TRUE(Write("/test/t", "in", t));
  EXPECT_TRUE(xs_transaction_end(h, t, true));
  EXPECT_EQ(Read("/test/t"), "-");
  EXPECT_TRUE(Refused(xs_transaction_end(h, t, true), ENOENT));
}

// What one transaction did, or somebody without one, makes another fail that has changed something;
// what changed nothing is in nobody's way.
TEST_F(XenstoreTest, ATransactionThatOthersCrossedIsTriedAgain) {
  const struct {
    const char* what;
    std::function<bool(xs_transaction_t)> act;
    bool answer;
    bool changes;
  } cases[] = {
      {"write", [&](auto t) { return Write("/test/other", "1", t); }, true, true},
      {"mkdir", [&](auto t) { return MakeDirectory("/test/d", t); }, true, true},
      {"permissions", [&](auto t) { return SetPermissions("/test/d", t); }, true, true},
      {"rm", [&](auto t) { return Remove("/test/d", t); }, true, true},
      {"mkdir of what is there", [&](auto t) { return MakeDirectory("/test", t); }, true, false},
      {"rm of what is not", [&](auto t) { return Remove("/test/d", t); }, true, false},
      {"rm that fails", [&](auto t) { return Remove("/test/d/e", t); }, false, false},
      {"permissions of none", [&](auto t) { return SetPermissions("/test/d", t); }, false, false},
      {"read", [&](auto t) { return Read("/test/other", t) == "1"; }, true, false},
  };
  EXPECT_TRUE(MakeDirectory("/test"));
  for (const auto& each : cases) {
    for (const bool inside : {false, true}) {
      const xs_transaction_t t = xs_transaction_start(h);
      const xs_transaction_t reading = xs_transaction_start(h);
      EXPECT_TRUE(Write("/test/t", each.what, t));
      EXPECT_NE(Read("/test", reading), "-");
      const xs_transaction_t other = inside ? xs_transaction_start(h) : XBT_NULL;
      if (inside) {
        EXPECT_NE(other, t);
      }
      EXPECT_EQ(each.act(other), each.answer) << each.what;
      if (inside) {
        EXPECT_EQ(xs_transaction_end(h, other, each.changes), true);
      }
      const bool crossed = each.changes && !inside;
      EXPECT_EQ(xs_transaction_end(h, t, false), !crossed) << each.what;
      if (crossed) {
        EXPECT_EQ(errno, EAGAIN);
      }
      EXPECT_EQ(Read("/test/t") == each.what, !crossed);
      EXPECT_TRUE(xs_transaction_end(h, reading, false)) << "has changed nothing";
      EXPECT_TRUE(Remove("/test/t"));
    }
  }
  // The second of two.
  const xs_transaction_t first = xs_transaction_start(h);
  const xs_transaction_t second = xs_transaction_start(h);
  EXPECT_TRUE(Write("/test/t", "first", first));
  EXPECT_TRUE(Write("/test/t", "second", second));
  EXPECT_TRUE(xs_transaction_end(h, first, false));
  EXPECT_TRUE(Refused(xs_transaction_end(h, second, false), EAGAIN));
  EXPECT_EQ(Read("/test/t"), "first");
}

TEST_F(XenstoreTest, NothingIsDoneInATransactionThatIsNone) {
  const xs_transaction_t t = xs_transaction_start(h);
  EXPECT_TRUE(xs_transaction_end(h, t, false));
  EXPECT_TRUE(Refused(Write("/test", "", t), ENOENT));
  EXPECT_TRUE(Refused(MakeDirectory("/test", t), ENOENT));
  EXPECT_TRUE(Refused(Remove("/tool", t), ENOENT));
  EXPECT_TRUE(Refused(SetPermissions("/tool", t), ENOENT));
  EXPECT_EQ(Read("/tool", t), "-");
  EXPECT_EQ(Read("/test"), "-");
}

TEST_F(XenstoreTest, WatchesAreToldOfWhatHappensThereAndBelow) {
  const struct {
    const char* what;
    std::function<bool()> act;
    std::vector<std::string> told;
  } cases[] = {
      {"above", [&] { return Write("/test", ""); }, {}},
      {"there", [&] { return Write("/test/w", ""); }, {"/test/w t"}},
      {"below", [&] { return Write("/test/w/x/y", ""); }, {"/test/w/x/y t"}},
      {"beside", [&] { return Write("/test/wide", ""); }, {}},
      {"is there", [&] { return MakeDirectory("/test/w"); }, {}},
      {"all that are made",
       [&] { return MakeDirectory("/test/w/d/e"); },
       {"/test/w/d t", "/test/w/d/e t"}},
      {"permissions", [&] { return SetPermissions("/test/w"); }, {"/test/w t"}},
      {"permissions above", [&] { return SetPermissions("/test"); }, {}},
      {"removed below", [&] { return Remove("/test/w/x"); }, {"/test/w/x t"}},
      {"is not there", [&] { return Remove("/test/w/x"); }, {}},
      {"removed above", [&] { return Remove("/test"); }, {"/test/w t"}},
      {"made above", [&] { return MakeDirectory("/test/v"); }, {}},
      {"made with what is below",
       [&] { return MakeDirectory("/test/w/a"); },
       {"/test/w t", "/test/w/a t"}},
      {"refused", [&] { return !Write("/test/w/", ""); }, {}},
      {"by others",
       [] {
         xs_handle* const other = xs_open(0);
         const bool written = xs_write(other, 0, "/test/w", "", 0);
         xs_close(other);
         return written;
       },
       {"/test/w t"}},
      {"when a transaction ends",
       [&] {
         const xs_transaction_t t = xs_transaction_start(h);
         const bool done = MakeDirectory("/test/w/t/u", t) && Write("/test/w/t", "", t) &&
                           SetPermissions("/test/w", t) && Remove("/test/w/a", t);
         EXPECT_THAT(Events(), IsEmpty());
         return done && xs_transaction_end(h, t, false);
       },
       {"/test/w/t t", "/test/w/t/u t", "/test/w/t t", "/test/w t", "/test/w/a t"}},
      {"when it is aborted",
       [&] {
         const xs_transaction_t t = xs_transaction_start(h);
         return Write("/test/w", "", t) && xs_transaction_end(h, t, true);
       },
       {}},
  };
  ASSERT_TRUE(xs_watch(h, "/test/w", "t"));
  EXPECT_THAT(Events(), ElementsAre("/test/w t"));
  for (const auto& [what, act, told] : cases) {
    EXPECT_TRUE(act()) << what;
    EXPECT_EQ(Events(), told) << what;
  }
}

// Events name what changed as the watch named it.
TEST_F(XenstoreTest, WatchesNamePathsAsTheyWereGiven) {
  const struct {
    const char* watched;
    const char* written;
    const char* told;
  } cases[] = {{"/", "/test/r", "/test/r t"},
               {"test_w", "test_w", "test_w t"},
               {"test_w", "/local/domain/0/test_w/x", "test_w/x t"},
               {"/local/domain/0/test_w", "test_w/x", "/local/domain/0/test_w/x t"}};
  for (const auto& [watched, written, told] : cases) {
    ASSERT_TRUE(xs_watch(h, watched, "t"));
    EXPECT_THAT(Events(), ElementsAre(std::string(watched) + " t"));
    EXPECT_TRUE(Write(written, ""));
    EXPECT_THAT(Events(), ElementsAre(told));
    EXPECT_TRUE(xs_unwatch(h, watched, "t"));
    Remove("test_w");
  }
}

TEST_F(XenstoreTest, AWatchIsItsPathAndItsToken) {
  ASSERT_TRUE(xs_watch(h, "/test/a", "1"));
  ASSERT_TRUE(xs_watch(h, "/test/a", "2"));
  ASSERT_TRUE(xs_watch(h, "/test/b", "1"));
  EXPECT_TRUE(Refused(xs_watch(h, "/test/a", "2"), EEXIST));
  EXPECT_THAT(Events(), ElementsAre("/test/a 1", "/test/a 2", "/test/b 1"));
  EXPECT_TRUE(Refused(xs_unwatch(h, "/test/b", "2"), ENOENT));
  EXPECT_TRUE(xs_unwatch(h, "/test/a", "1"));
  EXPECT_TRUE(MakeDirectory("/test/a") && MakeDirectory("/test/b"));
  EXPECT_THAT(Events(), ElementsAre("/test/a 2", "/test/b 1"));

  // A request has 4096 bytes, with a zero behind each of the two.
  EXPECT_TRUE(xs_watch(h, "/test/a", std::string(4096 - 2 - 7, 't').c_str()));
  EXPECT_TRUE(Refused(xs_watch(h, "/test/a", std::string(4096 - 1 - 7, 't').c_str()), E2BIG));
}

// A pipe tells of events. One that it has no room for is lost, and those before it are not.
TEST_F(XenstoreTest, EventsThatNobodyTakesAreLostInTheEnd) {
  ASSERT_TRUE(xs_watch(h, "/test/w", "t"));
  const int room = fcntl(xs_fileno(h), F_SETPIPE_SZ, 4096);
  ASSERT_EQ(room, 4096);
  for (int i = 1; i < room + 10; ++i) EXPECT_TRUE(Write("/test/w", ""));
  EXPECT_EQ(Events().size(), static_cast<std::size_t>(room));
  EXPECT_FALSE(HasEvent());
  EXPECT_TRUE(Write("/test/w/x", ""));
  EXPECT_THAT(Events(), ElementsAre("/test/w/x t"));
}

TEST_F(XenstoreTest, WhoReadsAWatchWaitsForIt) {
  ASSERT_TRUE(xs_watch(h, "/test/w", "t"));
  EXPECT_EQ(Event(), "/test/w t");
  std::thread other([] {
    xs_handle* const own = xs_open(0);
    EXPECT_TRUE(xs_write(own, 0, "/test/w/x", "", 0));
    xs_close(own);
  });
  EXPECT_EQ(ReadEvent(), "/test/w/x t");
  other.join();

  // Until a signal comes.
  struct sigaction before = {};
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, &before);
  const itimerval often = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  unsigned count = 7;
  EXPECT_EQ(xs_read_watch(h, &count), nullptr);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(count, 7u);
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
}

TEST_F(XenstoreTest, WithoutADescriptorThereIsNothingToWatchBy) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none = {0, limit.rlim_max};
  xs_handle* const own = h;  // meanwhile a sanitizer cannot look whether this test is one
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(xs_fileno(own), -1);
  EXPECT_EQ(errno, EMFILE);
  EXPECT_TRUE(Refused(xs_watch(own, "/test", "token"), EMFILE));
  EXPECT_EQ(xs_check_watch(own), nullptr);
  EXPECT_EQ(errno, EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const int fd = xs_fileno(h);
  EXPECT_GE(fd, 0);
  EXPECT_EQ(xs_fileno(h), fd);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

// Programs have threads, with a handle each or with one for all.
TEST_F(XenstoreTest, IsOneForManyThreads) {
  constexpr unsigned kThreads = 4, kRounds = 4000;
  std::latch all_there(kThreads);
  ASSERT_TRUE(xs_watch(h, "/test/done", "end"));
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      all_there.arrive_and_wait();
      xs_handle* const own = xs_open(0);
      const std::string name = std::to_string(number);
      const std::string mine = "/test/" + name;
      for (unsigned round = 0; round < kRounds; ++round) {
        EXPECT_TRUE(xs_watch(own, mine.c_str(), "own"));
        EXPECT_TRUE(xs_write(own, 0, (mine + "/a").c_str(), name.data(), 1));
        unsigned length = 0;
        const Freed<void> value(xs_read(h, 0, (mine + "/a").c_str(), &length));
        ASSERT_NE(value, nullptr);
        EXPECT_EQ(*static_cast<char*>(value.get()), name[0]);
        EXPECT_TRUE(xs_rm(own, 0, mine.c_str()));
        // Of its coming, of the node, of its end: none else but its own thread tells it anything.
        for (unsigned events = 0; events < 3; ++events) {
          const Freed<char*> event(xs_check_watch(own));
          ASSERT_NE(event, nullptr) << events;
        }
        EXPECT_EQ(Freed<char*>(xs_check_watch(own)), nullptr);
        EXPECT_TRUE(xs_unwatch(own, mine.c_str(), "own"));

        xs_handle* const other = xs_open(0);
        EXPECT_TRUE(xs_watch(other, "@releaseDomain", "end"));
        EXPECT_TRUE(xs_introduce_domain(other, 20 + number, 0x1000, 1));
        EXPECT_TRUE(xs_is_domain_introduced(other, 20 + number));
        EXPECT_TRUE(xs_release_domain(other, 20 + number));
        EXPECT_FALSE(xs_is_domain_introduced(other, 20 + number));
        xs_close(other);

        for (;;) {  // until no other thread's is in between
          const xs_transaction_t t = xs_transaction_start(own);
          unsigned bytes = 0;
          const Freed<void> counted(xs_read(own, t, "/test/count", &bytes));
          const int count =
              counted == nullptr ? 0 : std::atoi(static_cast<const char*>(counted.get()));
          const std::string more = std::to_string(count + 1);
          EXPECT_TRUE(
              xs_write(own, t, "/test/count", more.data(), static_cast<unsigned>(more.size())));
          if (xs_transaction_end(own, t, false)) break;
          ASSERT_EQ(errno, EAGAIN);
        }
      }
      EXPECT_TRUE(xs_write(own, 0, ("/test/done/" + name).c_str(), "", 0));
      xs_close(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Read("/test/count"), std::to_string(kThreads * kRounds));
  EXPECT_EQ(List("/test/done").size(), kThreads);
  EXPECT_EQ(Events().size(), 1 + kThreads);
}

TEST(XenstoreHandleTest, ClosesItsDescriptors) {
  for (auto* const close : {xs_close, xs_daemon_close, xs_daemon_destroy_postfork}) {
    xs_handle* const handle = xs_open(0);
    const int fd = xs_fileno(handle);
    close(handle);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
    EXPECT_EQ(fcntl(fd + 1, F_GETFD), -1);
    // One that never watched has none to close.
    close(xs_open(0));
  }
}

TEST_F(XenstoreTest, WatchesFireAtOnceAndForWhatIsBelow) {
  ASSERT_TRUE(xs_watch(h, "/test/w", "token"));
  EXPECT_FALSE(xs_watch(h, "/test/w", "token"));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_TRUE(HasEvent());
  EXPECT_EQ(Event(), "/test/w token");
  EXPECT_FALSE(HasEvent());
  EXPECT_EQ(xs_check_watch(h), nullptr);
  EXPECT_EQ(errno, EAGAIN);

  EXPECT_TRUE(Write("/test/w/x", "1"));
  EXPECT_EQ(Event(), "/test/w/x token");
  EXPECT_TRUE(Write("/test/wide", "1"));
  EXPECT_FALSE(HasEvent());
  EXPECT_TRUE(xs_rm(h, 0, "/test"));
  EXPECT_EQ(Event(), "/test/w token");
  EXPECT_TRUE(xs_unwatch(h, "/test/w", "token"));
  EXPECT_FALSE(xs_unwatch(h, "/test/w", "token"));
  EXPECT_TRUE(Write("/test/w", "2"));
  EXPECT_FALSE(HasEvent());
}

TEST_F(XenstoreTest, DomainsComeAndGo) {
  ASSERT_TRUE(xs_watch(h, "@introduceDomain", "came"));
  ASSERT_TRUE(xs_watch(h, "@releaseDomain", "went"));
  // These are no nodes: nothing lies below them, or above.
  for (const char* const below : {"@introduceDomain/x", "@releaseDomain/x", "/"}) {
    ASSERT_TRUE(xs_watch(h, below, "t"));
  }
  EXPECT_EQ(Events().size(), 5u);
  EXPECT_TRUE(Refused(xs_resume_domain(h, 5), ENOENT));
  EXPECT_TRUE(Refused(xs_set_target(h, 5, 0), ENOENT));
  EXPECT_TRUE(xs_introduce_domain(h, 5, 0x1000, 1));
  EXPECT_THAT(Events(), ElementsAre("@introduceDomain came"));
  EXPECT_TRUE(xs_is_domain_introduced(h, 5));
  EXPECT_TRUE(xs_resume_domain(h, 5));
  EXPECT_TRUE(xs_set_target(h, 5, 0));
  EXPECT_TRUE(Refused(xs_set_target(h, 5, 6), ENOENT));
  EXPECT_TRUE(Refused(xs_set_target(h, 6, 5), ENOENT));
  EXPECT_TRUE(xs_release_domain(h, 5));
  EXPECT_THAT(Events(), ElementsAre("@releaseDomain went"));
  EXPECT_FALSE(xs_is_domain_introduced(h, 5));
  EXPECT_TRUE(Refused(xs_release_domain(h, 5), ENOENT));
  EXPECT_TRUE(Refused(xs_release_domain(h, 0), EINVAL));
  EXPECT_TRUE(xs_is_domain_introduced(h, 0));
  EXPECT_THAT(Events(), IsEmpty());
}

TEST_F(XenstoreTest, PermissionsAreInheritedAndSet) {
  EXPECT_TRUE(MakeDirectory("/test/a"));
  EXPECT_THAT(Permissions("/test/a"), ElementsAre("n0"));
  xs_permissions wanted[2] = {{.id = 5, .perms = XS_PERM_NONE}, {.id = 6, .perms = XS_PERM_READ}};
  EXPECT_TRUE(xs_set_permissions(h, 0, "/test", wanted, 2));
  // By all that are made from now on, and no other.
  EXPECT_TRUE(Write("/test/b/c", ""));
  EXPECT_TRUE(MakeDirectory("/test/d/e"));
  for (const char* const path : {"/test", "/test/b", "/test/b/c", "/test/d", "/test/d/e"}) {
    EXPECT_THAT(Permissions(path), ElementsAre("n5", "r6")) << path;
  }
  EXPECT_THAT(Permissions("/test/a"), ElementsAre("n0"));
  EXPECT_TRUE(Write("/test/a", "kept"));
  EXPECT_THAT(Permissions("/test/a"), ElementsAre("n0"));

  EXPECT_TRUE(Refused(xs_set_permissions(h, 0, "/test", wanted, 0), EINVAL));
  // As many as a request spells: by three bytes each.
  std::vector<xs_permissions> many(4096 / 3 + 1, wanted[0]);
  EXPECT_TRUE(Refused(xs_set_permissions(h, 0, "/test", many.data(), 1366), E2BIG));
  EXPECT_THAT(Permissions("/test"), ElementsAre("n5", "r6"));
  EXPECT_TRUE(xs_set_permissions(h, 0, "/test", many.data(), 1365));
  EXPECT_EQ(Permissions("/test").size(), 1365u);
}

TEST_F(XenstoreTest, ARestrictedHandleReachesNothing) {
  const pid_t child = fork();
  if (child == 0) {
    xs_watch(h, "/test", "token");
    std::free(xs_check_watch(h));
    EXPECT_EQ(xentoolcore_restrict_all(5), 0);
    EXPECT_EQ(Read("name"), "-");
    EXPECT_EQ(errno, EBADF);
    EXPECT_FALSE(Write("/test/restricted", ""));
    EXPECT_EQ(errno, EBADF);
    EXPECT_EQ(xs_transaction_start(h), XBT_NULL);
    EXPECT_EQ(errno, EBADF);
    xs_handle* const later = xs_open(0);
    EXPECT_TRUE(xs_write(later, 0, "/test/later", "", 0));
    EXPECT_EQ(xs_check_watch(h), nullptr);  // nor is it told of anything
    xs_close(later);
    xs_close(h);
    _exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(XenstorePathTest, TellsWhatLiesBelow) {
  const struct {
    const char* parent;
    const char* child;
    bool below;
  } cases[] = {{"/a", "/a", true},    {"/a", "/a/b", true}, {"/", "/", true},
               {"/", "/a", true},     {"/", "a", false},    {"/a", "/ab", false},
               {"/a/b", "/a", false}, {"/ab", "/a", false}, {"/a", "/b/a", false}};
  for (const auto& [parent, child, below] : cases) {
    EXPECT_EQ(xs_path_is_subpath(parent, child), below) << parent << " " << child;
  }
}

TEST(XenstorePermissionsTest, AreSpelledByALetterAndADomain) {
  const struct {
    const char* spelled;
    bool good;
    unsigned id;
    unsigned perms;
  } cases[] = {
      {"n0", true, 0, XS_PERM_NONE},  {"r5", true, 5, XS_PERM_READ},
      {"w6", true, 6, XS_PERM_WRITE}, {"b32751", true, 32751, XS_PERM_READ | XS_PERM_WRITE},
      {"x5", false, 0, XS_PERM_NONE}, {"", false, 0, XS_PERM_NONE},
      {"r", false, 0, XS_PERM_NONE},  {"r5x", false, 0, XS_PERM_NONE},
      {"5", false, 0, XS_PERM_NONE},
  };
  for (const auto& [spelled, good, id, perms] : cases) {
    xs_permissions got = {.id = 77, .perms = XS_PERM_ENOENT_OK};
    EXPECT_EQ(xs_strings_to_perms(&got, 1, spelled), good) << spelled;
    if (good) {
      EXPECT_EQ(got.id, id);
      EXPECT_EQ(got.perms, perms);
    } else {
      EXPECT_EQ(errno, EINVAL);
    }
  }
  xs_permissions three[3] = {};
  EXPECT_TRUE(xs_strings_to_perms(three, 3, "n1\0r22\0w3"));
  EXPECT_EQ(three[1].id, 22u);
  EXPECT_EQ(three[2].perms, XS_PERM_WRITE);
}

TEST_F(XenstoreTest, WhatThereIsNoDaemonForIsRefused) {
  EXPECT_EQ(xs_control_command(h, "check", nullptr, 0), nullptr);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(xs_debug_command(h, "check", nullptr, 0), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_FALSE(xs_restrict(h, 5));
  EXPECT_STREQ(xs_daemon_rundir(), "/run/xenstored");
  setenv("XENSTORED_RUNDIR", "/elsewhere", 1);
  EXPECT_STREQ(xs_daemon_rundir(), "/elsewhere");
  EXPECT_STREQ(xs_daemon_socket(), "/elsewhere/socket");
  EXPECT_STREQ(xs_daemon_socket_ro(), "/elsewhere/socket");
  unsetenv("XENSTORED_RUNDIR");
}

TEST_F(XenstoreTest, ADomainSaysWhereItListensForTheWishToSuspendIt) {
  EXPECT_EQ(xs_suspend_evtchn_port(5), -1);
  EXPECT_TRUE(Write("/local/domain/5/device/suspend/event-channel", "17"));
  EXPECT_EQ(xs_suspend_evtchn_port(5), 17);
  EXPECT_TRUE(Remove("/local/domain/5"));
}

}  // namespace

namespace {

// How many bytes one write takes of what it is given, while that is not 0; every second one is
// stopped by a signal.
std::size_t most_written = 0;
unsigned writes = 0;

}  // namespace

extern "C" ssize_t write(int fd, const void* data, std::size_t bytes) {
  if (most_written != 0) {
    if (++writes % 2 == 0) {
      errno = EINTR;
      return -1;
    }
    bytes = std::min(bytes, most_written);
  }
  return syscall(SYS_write, fd, data, bytes);
}

namespace {

TEST(XenstoreWriteAllTest, WritesAllAlsoInPieces) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const std::string text = "as much as there is";
  for (const std::size_t most : {0, 1, 7, 19}) {
    most_written = most;
    EXPECT_TRUE(xs_write_all(ends[1], text.data(), static_cast<unsigned>(text.size())));
    most_written = 0;
    char got[64] = {};
    EXPECT_EQ(read(ends[0], got, sizeof(got)), 19);
    EXPECT_EQ(got, text);
  }
  EXPECT_TRUE(xs_write_all(-1, nullptr, 0)) << "of no bytes";
  const std::vector<char> more(static_cast<std::size_t>(fcntl(ends[1], F_GETPIPE_SZ)) + 1);
  EXPECT_FALSE(xs_write_all(ends[1], more.data(), static_cast<unsigned>(more.size())));
  EXPECT_EQ(errno, EAGAIN);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace

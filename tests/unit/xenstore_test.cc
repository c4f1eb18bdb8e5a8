// The drop-in libxenstore.so.4 as programs use it, by the functions of xenstore.h alone.

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

extern "C" {
#include <xenstore.h>
#include <xentoolcore.h>
}

namespace {

using ::testing::ElementsAre;

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
  std::string Event() {
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

TEST_F(XenstoreTest, RefusesWhatIsNoPath) {
  for (const char* path : {"", "/test//a", "/test/", "/test/a b", "/test/\n"}) {
    EXPECT_FALSE(Write(path, "1")) << path;
    EXPECT_EQ(errno, EINVAL) << path;
  }
  EXPECT_FALSE(Write("/test/long", std::string(4097, 'x')));
  EXPECT_EQ(errno, E2BIG);
  EXPECT_FALSE(xs_rm(h, 0, "/"));
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

TEST_F(XenstoreTest, ATransactionThatOthersCrossedIsTriedAgain) {
  xs_transaction_t t = xs_transaction_start(h);
  EXPECT_TRUE(Write("/test/t", "in", t));
  EXPECT_TRUE(Write("/test/other", "1"));
  EXPECT_FALSE(xs_transaction_end(h, t, false));
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(Read("/test/t"), "-");
  t = xs_transaction_start(h);
  EXPECT_TRUE(Write("/test/t", "in", t));
  EXPECT_TRUE(xs_transaction_end(h, t, true));
  EXPECT_EQ(Read("/test/t"), "-");
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
  EXPECT_EQ(Event(), "@introduceDomain came");
  EXPECT_EQ(Event(), "@releaseDomain went");
  EXPECT_TRUE(xs_introduce_domain(h, 5, 0x1000, 1));
  EXPECT_EQ(Event(), "@introduceDomain came");
  EXPECT_TRUE(xs_is_domain_introduced(h, 5));
  EXPECT_TRUE(xs_release_domain(h, 5));
  EXPECT_EQ(Event(), "@releaseDomain went");
  EXPECT_FALSE(xs_release_domain(h, 5));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(XenstoreTest, PermissionsAreInheritedAndSet) {
  EXPECT_TRUE(xs_mkdir(h, 0, "/test"));
  xs_permissions wanted[2] = {{.id = 5, .perms = XS_PERM_NONE}, {.id = 6, .perms = XS_PERM_READ}};
  EXPECT_TRUE(xs_set_permissions(h, 0, "/test", wanted, 2));
  EXPECT_TRUE(Write("/test/child", ""));
  unsigned count = 0;
  const Freed<xs_permissions> got(xs_get_permissions(h, 0, "/test/child", &count));
  ASSERT_EQ(count, 2u);
  EXPECT_EQ(got.get()[0].id, 5u);
  EXPECT_EQ(got.get()[1].perms, XS_PERM_READ);
  EXPECT_FALSE(xs_set_permissions(h, 0, "/test", wanted, 0));
  EXPECT_EQ(errno, EINVAL);
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
  EXPECT_TRUE(xs_path_is_subpath("/a", "/a"));
  EXPECT_TRUE(xs_path_is_subpath("/a", "/a/b"));
  EXPECT_TRUE(xs_path_is_subpath("/", "/a"));
  EXPECT_FALSE(xs_path_is_subpath("/a", "/ab"));
  EXPECT_FALSE(xs_path_is_subpath("/a/b", "/a"));
}

}  // namespace

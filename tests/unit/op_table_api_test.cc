// The op table as programs use it: xencomm/op_table.h.
#include "xencomm/op_table.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::uint64_t Address(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

// A list of domains, in memory of the test's own.
class OpTableApi : public ::testing::Test {
 protected:
  OpTableApi() {
    sysctl_.cmd = XEN_SYSCTL_getdomaininfolist;
    sysctl_.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    sysctl_.u.getdomaininfolist.max_domains = 3;
    set_xen_guest_handle(sysctl_.u.getdomaininfolist.buffer, infos_);
  }

  xen_sysctl sysctl_ = {};
  xen_domctl_getdomaininfo infos_[3] = {};
  const xencomm_hypercall call_ = {__HYPERVISOR_sysctl, {Address(&sysctl_)}};
};

TEST_F(OpTableApi, VisitsWhatACallPointsAt) {
  std::vector<std::string> fields;
  xencomm_buffer last = {};
  const auto note = [&](const xencomm_buffer& buffer) {
    fields.push_back(std::string(buffer.hypercall) + "." + buffer.op + ": " + buffer.field);
    last = buffer;
    return true;
  };
  ASSERT_EQ(ForEachBuffer(call_, note), 0) << xencomm_error();
  EXPECT_THAT(fields, ElementsAre("sysctl.getdomaininfolist: u_sysctl",
                                  "sysctl.getdomaininfolist: buffer"));
  EXPECT_STREQ(last.type, "xen_domctl_getdomaininfo");
  EXPECT_EQ(last.address, infos_);
  EXPECT_EQ(last.count, 3u);
  EXPECT_EQ(last.bytes, sizeof(infos_));
  EXPECT_FALSE(last.reads);
  EXPECT_TRUE(last.writes);
  EXPECT_FALSE(last.is_kept);
  EXPECT_EQ(last.entry, XENCOMM_NONE);
  EXPECT_EQ(last.index, XENCOMM_NONE);
}

TEST_F(OpTableApi, StopsWhenTheVisitorSaysSo) {
  unsigned visits = 0;
  const auto stop = [&](const xencomm_buffer&) { return ++visits == 0; };
  EXPECT_EQ(ForEachBuffer(call_, stop), 1);
  EXPECT_EQ(visits, 1u);
}

TEST_F(OpTableApi, DescribesACall) {
  EXPECT_THAT(Describe(call_),
              AllOf(HasSubstr("sysctl.getdomaininfolist: "), HasSubstr("    max_domains = 3\n"),
                    HasSubstr("  buffer -> xen_domctl_getdomaininfo[3] at 0x"),
                    HasSubstr(", 336 bytes, out\n")));
}

TEST_F(OpTableApi, ReadsACallAsTheReleaseHasIt) {
  xen_domctl domctl = {};
  domctl.cmd = XEN_DOMCTL_createdomain;
  for (const auto& [release, version, knows] : {std::tuple("4.17", 0x15u, true),
                                                {"4.20", 0x17u, true},
                                                {"4.17", 0x17u, false},
                                                {"4.22", 0x18u, true},
                                                {"4.20", 0x15u, false}}) {
    domctl.interface_version = version;
    const xencomm_hypercall call = {__HYPERVISOR_domctl, {Address(&domctl)}};
    EXPECT_EQ(!Describe(call, release).empty(), knows) << release << ", " << version;
    if (!knows) {
      EXPECT_THAT(xencomm_error(), HasSubstr("unknown interface version"));
    }
  }
  EXPECT_EQ(Describe(call_, "4.16"), "");
  EXPECT_EQ(errno, EINVAL);
  EXPECT_STREQ(xencomm_error(),
               "'4.16' is no release of Xen that the op table knows: expected one "
               "of 4.17 to 4.22");
}

TEST_F(OpTableApi, SaysWhatIsWrongWithACall) {
  sysctl_.u.getdomaininfolist.buffer.p = nullptr;
  const auto go_on = [](const xencomm_buffer&) { return true; };
  errno = 0;
  EXPECT_EQ(ForEachBuffer(call_, go_on), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_STREQ(xencomm_error(), "sysctl.getdomaininfolist: buffer: null where a pointer is needed");
}

TEST_F(OpTableApi, AuditsAgainstRangesAndOps) {
  const xencomm_range both[] = {{&sysctl_, sizeof(sysctl_)}, {infos_, sizeof(infos_)}};
  const xencomm_allowed_op ops[] = {{__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist},
                                    {__HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo}};
  EXPECT_EQ(xencomm_audit(&call_, nullptr, both, 2, nullptr, 0), 0) << xencomm_error();
  EXPECT_EQ(xencomm_audit(&call_, nullptr, both, 2, ops, 2), 0) << xencomm_error();

  const xencomm_range shorter[] = {both[0], {infos_, sizeof(infos_) - 1}};
  EXPECT_EQ(xencomm_audit(&call_, nullptr, shorter, 2, ops, 2), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_THAT(xencomm_error(), HasSubstr("sysctl.getdomaininfolist: buffer at 0x"));
  EXPECT_EQ(xencomm_audit(&call_, nullptr, both, 1, ops, 2), -1);
  EXPECT_EQ(xencomm_audit(&call_, nullptr, both, 2, ops + 1, 1), -1);
  EXPECT_THAT(xencomm_error(), HasSubstr("an op that is not let through"));
  EXPECT_EQ(xencomm_audit(&call_, nullptr, both, 2, ops, 0), -1);  // none is
}

TEST_F(OpTableApi, MakesACallFromAnywhere) {
  xencomm_context* const x = xencomm_open("embedded");
  ASSERT_NE(x, nullptr) << xencomm_error();
  EXPECT_EQ(xencomm_call_anywhere(x, &call_, nullptr), 0) << xencomm_error();
  EXPECT_EQ(sysctl_.u.getdomaininfolist.num_domains, 1u);
  EXPECT_EQ(sysctl_.u.getdomaininfolist.buffer.p, infos_);
  EXPECT_NE(infos_[0].tot_pages, 0u);
  EXPECT_EQ(infos_[1].tot_pages, 0u);

  sysctl_.interface_version = 0x16;  // of another release than the machine's
  EXPECT_EQ(xencomm_call_anywhere(x, &call_, nullptr), -1);
  EXPECT_EQ(errno, EACCES);
  sysctl_.cmd = 999;
  EXPECT_EQ(xencomm_call_anywhere(x, &call_, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_THAT(xencomm_error(), HasSubstr("unknown op: 999"));
  EXPECT_EQ(xencomm_close(x), 0);
}

}  // namespace
}  // namespace xencomm

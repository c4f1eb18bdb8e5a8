// Several releases in one table: which form of an op a call has, by the interface version that it
// states and by the releases that the hypervisor may be.
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/schema/walk.h"
#include "hcall/schema/words.h"
#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

using ::testing::Not;

constexpr std::uint32_t kDomctl417 = 0x15, kDomctl418 = 0x16, kDomctl419To421 = 0x17;
constexpr std::uint32_t kSysctl417To420 = 0x15, kSysctlSince421 = 0x16;

Releases Only(std::string_view name) { return ParseRelease(name).value(); }
Releases Known() { return static_cast<Releases>((1u << ReleaseNumbers().size()) - 1); }
// A release and all after it; all before it.
Releases Since(std::string_view name) {
  return static_cast<Releases>(Known() & ~(Only(name) - 1u));
}
Releases Before(std::string_view name) { return static_cast<Releases>(Only(name) - 1u); }

std::uint16_t Number(std::string_view hypercall, std::string_view op) {
  return Find(hypercall, op, kAllReleases)->number;
}

std::vector<std::string> Paths(const Op& op) {
  std::vector<std::string> paths;
  for (const Part& part : op.argument().parts()) paths.emplace_back(WordsOf(part).path);
  return paths;
}

TEST(Releases, HaveNames) {
  EXPECT_EQ(ReleasesText(kBaseRelease), "4.17");
  EXPECT_EQ(ReleasesText(Known()), "4.17 to 4.22");
  EXPECT_EQ(ReleasesText(0b000011), "4.17 to 4.18");
  EXPECT_EQ(ReleasesText(0b001001), "4.17 and 4.20");
  EXPECT_EQ(ReleasesText(0b011101), "4.17 and 4.19 to 4.21");
  EXPECT_EQ(ReleasesText(0), "");
}

TEST(Releases, AreFoundByTheirNames) {
  for (std::size_t i = 0; i < ReleaseNumbers().size(); ++i) {
    EXPECT_EQ(ParseRelease("4." + std::to_string(17 + i)), 1 << i);
  }
  for (const char* const unknown :
       {"4.16", "4.23", "4.2", "4.17.0", "4.17 to 4.18", "", "newest"}) {
    EXPECT_EQ(ParseRelease(unknown), std::nullopt) << unknown;
  }
}

TEST(Releases, HaveANewest) {
  EXPECT_EQ(NewestOf(kBaseRelease), kBaseRelease);
  EXPECT_EQ(NewestOf(Before("4.20")), Only("4.19"));
  EXPECT_EQ(NewestOf(Known()), Only("4.22"));
}

TEST(InterfaceVersions, AreThoseOfTheHeaders) {
  using Pairs = std::vector<std::pair<std::uint64_t, std::string>>;
  auto versions = [](std::uint64_t hypercall) {
    Pairs pairs;
    for (const Version& each : Find(hypercall)->versions()) {
      pairs.emplace_back(each.number, ReleasesText(each.releases));
    }
    return pairs;
  };
  EXPECT_EQ(versions(__HYPERVISOR_domctl), (Pairs{{kDomctl417, "4.17"},
                                                  {kDomctl418, "4.18"},
                                                  {kDomctl419To421, "4.19 to 4.21"},
                                                  {0x18, "4.22"}}));
  EXPECT_EQ(versions(__HYPERVISOR_sysctl),
            (Pairs{{kSysctl417To420, "4.17 to 4.20"}, {kSysctlSince421, "4.21 to 4.22"}}));
  EXPECT_EQ(versions(__HYPERVISOR_platform_op), (Pairs{{XENPF_INTERFACE_VERSION, "4.17 to 4.22"}}));
  EXPECT_EQ(versions(__HYPERVISOR_memory_op), Pairs());
}

// Of each op and release there is at most one form, and `Find` answers it.
TEST(Find, AnswersTheFormOfARelease) {
  unsigned forms = 0;
  for (const Hypercall& hypercall : Hypercalls()) {
    std::map<std::uint16_t, Releases> seen;
    for (const Op& op : hypercall.ops()) {
      EXPECT_EQ(seen[op.number] & op.releases, 0) << WordsOf(op).name;
      EXPECT_EQ(op.releases & ~Known(), 0) << WordsOf(op).name;
      seen[op.number] |= op.releases;
      for (Releases left = op.releases; left != 0; left &= left - 1) {
        const Releases release = static_cast<Releases>(left & -left);
        EXPECT_EQ(Find(hypercall, op.number, release), &op) << WordsOf(op).name;
        ++forms;
      }
    }
    for (const auto& [number, releases] : seen) {
      const Op* const newest = Find(hypercall, number, kAllReleases);
      EXPECT_EQ(newest, Find(hypercall, number, NewestOf(releases)));
      if (releases != Known()) {
        EXPECT_EQ(Find(hypercall, number, static_cast<Releases>(~releases)), nullptr);
      }
    }
  }
  EXPECT_GT(forms, 1000u);
}

TEST(Find, KnowsFormsOfAnOpThatChanged) {
  auto createdomain = [](Releases releases) {
    return Find(__HYPERVISOR_domctl, XEN_DOMCTL_createdomain, releases);
  };
  EXPECT_EQ(createdomain(Only("4.17")), createdomain(Only("4.18")));
  EXPECT_NE(createdomain(Only("4.18")), createdomain(Only("4.19")));
  EXPECT_NE(createdomain(Only("4.20")), createdomain(Only("4.21")));
  EXPECT_EQ(Find(__HYPERVISOR_domctl, XEN_DOMCTL_createdomain), createdomain(kBaseRelease));
  EXPECT_EQ(createdomain(Before("4.21")), createdomain(Only("4.20")));
  EXPECT_EQ(createdomain(0), nullptr);
}

TEST(Find, KnowsWhenAnOpCameAndWent) {
  struct Case {
    const char* hypercall;
    const char* op;
    Releases releases;
  };
  for (const auto& [hypercall, name, releases] : {
           Case{"sysctl", "dt_overlay", Since("4.18")},
           Case{"sysctl", "get_cpu_levelling_caps", Before("4.22")},
           Case{"domctl", "gsi_permission", Since("4.20")},
           Case{"domctl", "get_domain_state", Since("4.21")},
           Case{"physdev_op", "pci_device_reset", Since("4.20")},
           Case{"xen_version", "capabilities2", Since("4.20")},
           Case{"domctl", "pausedomain", Known()},
       }) {
    const Hypercall& of = *Find(hypercall);
    const std::uint16_t number = Number(hypercall, name);
    for (Releases left = Known(); left != 0; left &= left - 1) {
      const Releases release = static_cast<Releases>(left & -left);
      EXPECT_EQ(Find(of, number, release) != nullptr, (releases & release) != 0)
          << name << " in " << ReleasesText(release);
    }
  }
}

TEST(ReleasesThatTake, AreThoseWithTheVersionAmongThoseThatMayBe) {
  const Hypercall& domctl = *Find(__HYPERVISOR_domctl);
  constexpr std::uint64_t kOp = XEN_DOMCTL_pausedomain;
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, kOp), kDomctl417, kAllReleases), Only("4.17"));
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, kOp), kDomctl419To421, kAllReleases),
            Only("4.19") | Only("4.20") | Only("4.21"));
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, kOp), kDomctl419To421, Since("4.21")),
            Only("4.21"));
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, kOp), kDomctl417, Only("4.20")), 0);
  for (const std::uint64_t unknown : {0ull, 0x14ull, 0x19ull, 0x1'0000'0015ull, ~0ull}) {
    EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, kOp), unknown, kAllReleases), 0) << unknown;
  }
}

TEST(ReleasesThatTake, AStableOpStateNoVersion) {
  const Hypercall& domctl = *Find(__HYPERVISOR_domctl);
  const std::uint16_t op = Number("domctl", "get_domain_state");
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, op), 0, Since("4.21")), Since("4.21"));
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, op), 0, Only("4.22")), Only("4.22"));
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, op), 0, Only("4.20")), 0);
  for (const std::uint32_t version : {kDomctl417, kDomctl419To421, 0x18u}) {
    EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, op), version, Since("4.21")), 0);
  }
  EXPECT_EQ(ReleasesThatTake(domctl, FormsOf(domctl, op), kDomctl419To421, kAllReleases),
            Only("4.19") | Only("4.20"));
}

class Versions : public ::testing::Test {
 protected:
  Finding Domctl(std::uint32_t version, std::uint32_t cmd, Releases releases = kAllReleases) {
    xen_domctl domctl = {};
    domctl.cmd = cmd;
    domctl.interface_version = version;
    return Walk(__HYPERVISOR_domctl, domctl, releases);
  }
  template <class Argument>
  Finding Walk(std::uint64_t hypercall, const Argument& argument, Releases releases) {
    buffers_.clear();
    op_ = nullptr;
    auto note = [&](const Buffer& buffer) {
      buffers_.push_back(buffer);
      return true;
    };
    auto enter = [&](const Op& op) {
      op_ = &op;
      return true;
    };
    const Call call = {.hypercall = hypercall,
                       .registers = {reinterpret_cast<std::uint64_t>(&argument)}};
    return ForEachBuffer(call, {.space = space_, .releases = releases}, note, enter);
  }
  std::string Form() const { return op_ != nullptr ? ReleasesText(op_->releases) : "none"; }

  OwnSpace space_;
  const Op* op_ = nullptr;
  std::vector<Buffer> buffers_;
};

TEST_F(Versions, AreWalkedInTheirOwnForm) {
  ASSERT_TRUE(Domctl(kDomctl417, XEN_DOMCTL_createdomain).ok());
  EXPECT_EQ(Form(), "4.17 to 4.18");
  EXPECT_THAT(Paths(*op_), Not(::testing::Contains("altp2m_opts")));
  ASSERT_TRUE(Domctl(kDomctl418, XEN_DOMCTL_createdomain).ok());
  EXPECT_EQ(Form(), "4.17 to 4.18");
  ASSERT_TRUE(Domctl(0x18, XEN_DOMCTL_createdomain).ok());
  EXPECT_EQ(Form(), "4.21 to 4.22");
  EXPECT_THAT(Paths(*op_), ::testing::Contains("altp2m.nr"));
}

TEST_F(Versions, OfSeveralReleasesAreWalkedAsTheNewestThatMayBe) {
  ASSERT_TRUE(Domctl(kDomctl419To421, XEN_DOMCTL_createdomain).ok());
  EXPECT_EQ(Form(), "4.21 to 4.22");
  ASSERT_TRUE(Domctl(kDomctl419To421, XEN_DOMCTL_createdomain, Before("4.21")).ok());
  EXPECT_EQ(Form(), "4.19 to 4.20");
  EXPECT_THAT(Paths(*op_), ::testing::Contains("altp2m_opts"));
}

TEST_F(Versions, RefuseAnUnknownOneWithItsNumber) {
  for (const std::uint32_t version : {kDomctl417 - 1, 0x19u, 0u, ~0u}) {
    const Finding finding = Domctl(version, XEN_DOMCTL_pausedomain);
    EXPECT_EQ(finding.problem, Problem::kUnknownVersion);
    EXPECT_EQ(finding.number, version);
  }
  EXPECT_EQ(PrintFinding(Domctl(0x19, XEN_DOMCTL_pausedomain)),
            "domctl: interface_version: unknown interface version: 0x19, known are 0x15, 0x16, "
            "0x17, 0x18");
}

TEST_F(Versions, RefuseOneOfAReleaseThatTheHypervisorIsNot) {
  EXPECT_TRUE(Domctl(kDomctl417, XEN_DOMCTL_pausedomain, kBaseRelease).ok());
  for (const std::uint32_t version : {kDomctl418, kDomctl419To421, 0x18u}) {
    EXPECT_EQ(Domctl(version, XEN_DOMCTL_pausedomain, kBaseRelease).problem,
              Problem::kUnknownVersion);
  }
}

TEST_F(Versions, HaveTheirOwnOps) {
  const std::uint16_t gsi_permission = Number("domctl", "gsi_permission");  // since 4.20
  EXPECT_EQ(Domctl(kDomctl417, gsi_permission).problem, Problem::kUnknownOp);
  EXPECT_TRUE(Domctl(kDomctl419To421, gsi_permission).ok());
  EXPECT_EQ(Domctl(kDomctl419To421, gsi_permission, Only("4.19")).problem, Problem::kUnknownOp);

  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_get_cpu_levelling_caps;  // before 4.22
  sysctl.interface_version = kSysctlSince421;
  EXPECT_TRUE(Walk(__HYPERVISOR_sysctl, sysctl, Before("4.22")).ok());
  EXPECT_EQ(Walk(__HYPERVISOR_sysctl, sysctl, Only("4.22")).problem, Problem::kUnknownOp);
}

TEST_F(Versions, AreNotStatedOfAStableOp) {
  const std::uint16_t op = Number("domctl", "get_domain_state");
  ASSERT_TRUE(Domctl(0, op).ok());
  EXPECT_STREQ(WordsOf(*op_).name, "get_domain_state");
  EXPECT_EQ(Domctl(kDomctl419To421, op, Since("4.21")).problem, Problem::kUnknownVersion);
  EXPECT_EQ(Domctl(kDomctl419To421, op).problem, Problem::kUnknownOp);  // by 4.19 and 4.20
  EXPECT_EQ(Domctl(0, op, Before("4.21")).problem, Problem::kUnknownVersion);
}

// Fields of one name, of the op's own part or of what is around it, and of one size in both forms.
std::vector<std::pair<const Part*, const Part*>> Common(const Op& op, const Op& base) {
  std::vector<std::pair<const Part*, const Part*>> pairs;
  for (const Part& here : op.argument().parts()) {
    for (const Part& there : base.argument().parts()) {
      if (std::string_view(WordsOf(here).path) == WordsOf(there).path &&
          here.size() == there.size() &&
          (here.offset < op.own_offset) == (there.offset < base.own_offset)) {
        pairs.emplace_back(&here, &there);
        break;
      }
    }
  }
  return pairs;
}

// Where a byte of a form is in the base release's; without moves, where it is.
int BaseOf(const Op& op, unsigned byte) {
  if (op.moves().empty()) return static_cast<int>(byte);
  for (const Move& move : op.moves()) {
    if (byte >= move.here && byte < move.here + move.size) {
      return static_cast<int>(move.base + (byte - move.here));
    }
  }
  return -1;
}

TEST(Moves, OfCreatedomainSkipWhatTheBaseReleaseHasNot) {
  const Op& op = *Find(__HYPERVISOR_domctl, XEN_DOMCTL_createdomain, Only("4.19"));
  using Runs = std::vector<std::array<unsigned, 3>>;
  Runs runs;
  for (const Move& move : op.moves()) runs.push_back({move.here, move.base, move.size});
  constexpr unsigned kOwn = offsetof(xen_domctl, u);
  constexpr unsigned kVmtrace = kOwn + offsetof(xen_domctl_createdomain, vmtrace_size);
  // Before it comes altp2m_opts, of four bytes.
  EXPECT_EQ(runs,
            (Runs{{0, 0, kVmtrace},
                  {kVmtrace + 4, kVmtrace, kOwn + sizeof(xen_domctl_createdomain) - kVmtrace}}));
  EXPECT_TRUE(Find(__HYPERVISOR_domctl, XEN_DOMCTL_createdomain)->moves().empty());
}

TEST(Moves, LeadEachFieldToWhereTheBaseReleaseHasIt) {
  unsigned forms = 0, moved = 0;
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      const Op* const base = Find(hypercall, op.number, kBaseRelease);
      if (base == nullptr || base == &op) {
        EXPECT_TRUE(op.moves().empty()) << WordsOf(op).name;
        continue;
      }
      ++forms;
      for (const auto& [here, there] : Common(op, *base)) {
        moved += here->offset != there->offset;
        for (unsigned i = 0; i < here->size(); ++i) {
          EXPECT_EQ(BaseOf(op, here->offset + i), static_cast<int>(there->offset + i))
              << WordsOf(op).name << "." << WordsOf(*here).path << " byte " << i;
        }
      }
    }
  }
  EXPECT_GE(forms, 6u);
  EXPECT_GE(moved, 6u);
}

}  // namespace
}  // namespace xencomm::schema

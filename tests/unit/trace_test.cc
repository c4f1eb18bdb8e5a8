// Captured calls as lines, chosen, counted, kept in a file and read again.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/trace/call_text.h"
#include "hcall/trace/captured_call.h"
#include "hcall/trace/described_call.h"
#include "hcall/trace/device_requests.h"
#include "hcall/trace/filter.h"
#include "hcall/trace/memory_image.h"
#include "hcall/trace/recording.h"
#include "hcall/trace/summary.h"
#include "hcall/transport/grant_calls.h"
#include "hcall/transport/privcmd_calls.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/random_call.h"

namespace xencomm::trace {
namespace {

using fuzz::Random;

// A program's memory: one stretch of it, in which a test puts things one behind the other.
class Program final : public ProgramMemory {
 public:
  static constexpr std::uint64_t kBase = 0x5000'0000;

  std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) override {
    if (address < kBase || address >= kBase + bytes_.size()) return 0;
    const std::uint64_t rest = kBase + bytes_.size() - address;
    const std::uint64_t read = std::min<std::uint64_t>(to.size(), rest);
    std::memcpy(to.data(), &bytes_[address - kBase], read);
    return read;
  }

  template <class T>
  std::uint64_t New(const T* values, std::size_t count) {
    const std::uint64_t address = kBase + next_;
    std::memcpy(&bytes_[next_], values, count * sizeof(T));
    next_ = (next_ + count * sizeof(T) + 15) / 16 * 16;
    return address;
  }
  template <class T>
  std::uint64_t New(const T& value) {
    return New(&value, 1);
  }
  template <class T>
  T& At(std::uint64_t address) {
    return *reinterpret_cast<T*>(&bytes_[address - kBase]);
  }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64 << 10);
  std::size_t next_ = 64;
};

template <class Handle>
void Set(Handle& handle, std::uint64_t address) {
  std::memcpy(&handle, &address, sizeof(address));
}

class Trace : public ::testing::Test {
 protected:
  // A call as it is shown; `answer` changes the program's memory as the hypervisor would.
  template <class Answer>
  std::vector<std::string> LinesOf(std::uint64_t request, std::uint64_t argument,
                                   std::int64_t result, Answer answer) {
    call_ = {};
    call_.request = request;
    call_.argument = argument;
    CaptureBefore(call_, program_, reading_, most_);
    answer();
    call_.result = result;
    CaptureAfter(call_, program_, reading_, most_);
    std::vector<std::string> lines;
    described_ = Describe(call_, reading_, amounts_);
    for (const DescribedCall& each : described_) {
      lines.push_back(CallText(each, names_, false));
      json_ = nlohmann::json::parse(CallJson(call_, each, names_));
    }
    return lines;
  }
  std::string LineOf(std::uint64_t hypercall, std::vector<std::uint64_t> arguments,
                     std::int64_t result = 0) {
    return LineOf(hypercall, arguments, result, [] {});
  }
  template <class Answer>
  std::string LineOf(std::uint64_t hypercall, std::vector<std::uint64_t> arguments,
                     std::int64_t result, Answer answer) {
    PrivcmdHypercall frame = {.op = hypercall, .arg = {}};
    std::copy(arguments.begin(), arguments.end(), frame.arg);
    const auto lines = LinesOf(kPrivcmdHypercall, program_.New(frame), result, answer);
    EXPECT_EQ(lines.size(), 1u);
    return lines.empty() ? "" : lines[0];
  }
  template <class Fill>
  std::uint64_t Domctl(std::uint32_t cmd, std::uint16_t domain, Fill fill) {
    xen_domctl domctl = {};
    domctl.cmd = cmd;
    domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    domctl.domain = domain;
    fill(domctl.u);
    return program_.New(domctl);
  }

  Program program_;
  Reading reading_;
  std::uint64_t most_ = 1 << 20;
  Amounts amounts_ = {8, 32};
  DomainNames names_;
  CapturedCall call_;
  std::vector<DescribedCall> described_;
  nlohmann::json json_;
};

TEST_F(Trace, ShowsFieldsByNameAndNumbersByTheirConstants) {
  const std::uint64_t op = Domctl(XEN_DOMCTL_createdomain, 0xffff, [](auto& u) {
    u.createdomain.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
    u.createdomain.max_vcpus = 4;
    u.createdomain.max_grant_frames = -1;
    u.createdomain.handle[0] = 0xab;
  });
  EXPECT_EQ(LineOf(__HYPERVISOR_domctl, {op}, 0, [&] { program_.At<xen_domctl>(op).domain = 3; }),
            "domctl.createdomain({domain=65535 => 3, ssidref=0, "
            "handle=\"ab000000-0000-0000-0000-000000000000\", "
            "flags=XEN_DOMCTL_CDF_hvm|XEN_DOMCTL_CDF_hap, iommu_opts=0, max_vcpus=4, "
            "max_evtchn_port=0, max_grant_frames=-1, max_maptrack_frames=0, grant_opts=0, "
            "vmtrace_size=0, cpupool_id=0, arch={emulation_flags=0x0, misc_flags=0x0}}) = 0");
  EXPECT_EQ(json_["call"], "domctl.createdomain");
  EXPECT_EQ(json_["arguments"]["domain"]["after"], 3);
  EXPECT_EQ(json_["arguments"]["max_grant_frames"], -1);
  EXPECT_EQ(json_["arguments"]["flags"]["value"], XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
}

TEST_F(Trace, ShowsAMulticallsCallsAsThemselves) {
  std::vector<xen_pfn_t> frames(20);
  for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = 0x1000 + i;
  xen_memory_reservation memory = {};
  memory.nr_extents = 20;
  memory.domid = DOMID_SELF;
  const std::uint64_t list_of_frames = program_.New(frames.data(), frames.size());
  Set(memory.extent_start, list_of_frames);
  multicall_entry entries[2] = {};
  entries[0].op = __HYPERVISOR_memory_op;
  entries[0].args[0] = XENMEM_populate_physmap | 2 << 6;
  entries[0].args[1] = program_.New(memory);
  entries[1].op = __HYPERVISOR_xen_version;
  const std::uint64_t list = program_.New(entries, 2);
  const PrivcmdHypercall frame = {.op = __HYPERVISOR_multicall, .arg = {list, 2}};
  const auto lines = LinesOf(kPrivcmdHypercall, program_.New(frame), 0, [&] {
    program_.At<multicall_entry>(list).result = 20;
    program_.At<xen_pfn_t>(list_of_frames) = 0x77;
    (&program_.At<multicall_entry>(list))[1].result = static_cast<std::uint64_t>(-ENOSYS);
  });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0],
            "memory_op.populate_physmap(start_extent=2, {extent_start=[0x1000, 0x1001, 0x1002, "
            "0x1003, 0x1004, 0x1005, 0x1006, 0x1007, ...] => [0x77, 0x1001, 0x1002, 0x1003, "
            "0x1004, 0x1005, 0x1006, 0x1007, ...], nr_extents=20, extent_order=0, mem_flags=0x0, "
            "domid=DOMID_SELF}) = 20 (call 1 of 2 in a list)");
  EXPECT_EQ(lines[1],
            "xen_version.version() = -1 ENOSYS (Function not implemented) (call 2 of 2 in a list)");
  // A list that fails as such is each call's failure.
  const auto failed = LinesOf(kPrivcmdHypercall, program_.New(frame), -EFAULT, [] {});
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_TRUE(failed[0].ends_with("= -1 EFAULT (Bad address) (call 1 of 2 in a list)"));
  // And one that leads nowhere is shown as what it is.
  const PrivcmdHypercall nowhere = {.op = __HYPERVISOR_multicall, .arg = {0x10, 2}};
  EXPECT_EQ(LinesOf(kPrivcmdHypercall, program_.New(nowhere), -EFAULT, [] {}),
            std::vector<std::string>{"multicall(call_list=0x10, nr_calls=2) = -1 EFAULT (Bad "
                                     "address) /* multicall.multicall: call_list of element 0 at "
                                     "0x10, 64 bytes: a structure that cannot be read: page not "
                                     "present */"});
}

TEST_F(Trace, ShowsThatThereIsMoreThanWasKept) {
  most_ = 24;
  amounts_ = {};
  std::vector<xen_pfn_t> frames(20, 0x5);
  xen_memory_reservation memory = {};
  memory.nr_extents = 20;
  Set(memory.extent_start, program_.New(frames.data(), frames.size()));
  EXPECT_EQ(LineOf(__HYPERVISOR_memory_op, {XENMEM_decrease_reservation, program_.New(memory)}, 20),
            "memory_op.decrease_reservation({extent_start=[0x5, 0x5, 0x5, ...], nr_extents=20, "
            "extent_order=0, mem_flags=0x0, domid=0}) = 20");
  const std::string text(40, 'x');
  EXPECT_EQ(LineOf(__HYPERVISOR_console_io, {CONSOLEIO_write, 40, program_.New(text.data(), 40)}),
            "console_io.write(buffer=\"" + std::string(24, 'x') + "\"..., count=40) = 0");
}

// Memory everywhere: a list of calls, each with a page of its own.
class Endless final : public ProgramMemory {
 public:
  static constexpr std::uint64_t kFrame = 0x1000, kList = 0x10'0000, kTexts = 0x1000'0000;
  static constexpr std::uint64_t kCalls = 64 * 80, kPages = 1 + 80 + kCalls;

  std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) override {
    std::ranges::fill(to, std::byte{'x'});
    pages += to.size() / 4096;
    const PrivcmdHypercall frame = {.op = __HYPERVISOR_multicall, .arg = {kList, kCalls}};
    if (address == kFrame) std::memcpy(to.data(), &frame, sizeof(frame));
    for (std::size_t at = 0; address >= kList && address < kTexts && at < to.size();
         at += sizeof(multicall_entry)) {
      multicall_entry entry = {};
      entry.op = __HYPERVISOR_console_io;
      entry.args[1] = 4;
      entry.args[2] = kTexts + (address + at - kList) / sizeof(entry) * 4096;
      std::memcpy(&to[at], &entry, sizeof(entry));
    }
    return to.size();
  }

  std::uint64_t pages = 0;
};

TEST_F(Trace, LooksAtNoMoreOfACallThanCanBeShown) {
  Endless all, some;
  call_.request = kPrivcmdHypercall;
  call_.argument = Endless::kFrame;
  CaptureBefore(call_, all, reading_, 64 << 20);
  EXPECT_EQ(all.pages, Endless::kPages);
  EXPECT_EQ(call_.unread, "");
  call_.before = {};
  CaptureBefore(call_, some, reading_, 64 << 10);
  EXPECT_EQ(some.pages, 1024u);
  EXPECT_EQ(call_.unread, "it leads to more than 1024 pages: not all were read");
  const auto calls = Describe(call_, reading_, amounts_);
  ASSERT_GE(calls.size(), (64 << 10) / sizeof(multicall_entry));
  EXPECT_EQ(CallText(calls[7], names_, false),
            "console_io.write(buffer=\"xxxx\", count=4) = ? (call 8 of 5120 in a list) "
            "/* it leads to more than 1024 pages: not all were read */");
}

TEST_F(Trace, ShowsBitmapsAsRangesAndTextQuoted) {
  const std::uint8_t bits[2] = {0x0f, 0x81};
  const std::uint64_t op = Domctl(XEN_DOMCTL_setvcpuaffinity, 1, [&](auto& u) {
    u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    Set(u.vcpuaffinity.cpumap_hard.bitmap, program_.New(bits, 2));
    u.vcpuaffinity.cpumap_hard.nr_bits = 12;
  });
  EXPECT_EQ(LineOf(__HYPERVISOR_domctl, {op}),
            "domctl.setvcpuaffinity({domain=1, vcpu=0, flags=XEN_VCPUAFFINITY_HARD, "
            "cpumap_hard={bitmap={0-3,8}, nr_bits=12}}) = 0");
  const char text[] = "say \"a\"\n\x1b[31m\xe4z";
  EXPECT_EQ(LineOf(__HYPERVISOR_console_io, {CONSOLEIO_write, 16, program_.New(text, 16)}),
            "console_io.write(buffer=\"say \\\"a\\\"\\n\\x1b[31m\\xe4z\", count=16) = 0");
  const std::string longer(40, 'x');
  EXPECT_EQ(LineOf(__HYPERVISOR_console_io,
                   {CONSOLEIO_write, 40, program_.New(longer.data(), longer.size())}),
            "console_io.write(buffer=\"" + std::string(32, 'x') + "\"..., count=40) = 0");
}

TEST_F(Trace, CutsBitmapsAndSaysSoInJsonToo) {
  const std::vector<std::uint8_t> every_other(16, 0x55);
  const std::uint64_t op = Domctl(XEN_DOMCTL_setvcpuaffinity, 1, [&](auto& u) {
    u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    Set(u.vcpuaffinity.cpumap_hard.bitmap, program_.New(every_other.data(), every_other.size()));
    u.vcpuaffinity.cpumap_hard.nr_bits = 128;
  });
  EXPECT_EQ(LineOf(__HYPERVISOR_domctl, {op}),
            "domctl.setvcpuaffinity({domain=1, vcpu=0, flags=XEN_VCPUAFFINITY_HARD, "
            "cpumap_hard={bitmap={0,2,4,6,8,10,12,14,...}, nr_bits=128}}) = 0");
  const nlohmann::json& bitmap = json_["arguments"]["cpumap_hard"]["bitmap"];
  EXPECT_EQ(bitmap["bits"].size(), 8u);
  EXPECT_EQ(bitmap["more"], 112);
  const std::string longer(40, 'x');
  (void)LineOf(__HYPERVISOR_console_io,
               {CONSOLEIO_write, 40, program_.New(longer.data(), longer.size())});
  const nlohmann::json& text = json_["arguments"]["buffer"];
  EXPECT_EQ(text["text"], std::string(32, 'x'));
  EXPECT_EQ(text["more"], 8);
}

TEST_F(Trace, ShowsOnlyAnswersThatTheCallGave) {
  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_getdomaininfolist;
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  sysctl.u.getdomaininfolist.max_domains = 4;
  const xen_domctl_getdomaininfo room[4] = {};
  const std::uint64_t list = program_.New(room, 4);
  Set(sysctl.u.getdomaininfolist.buffer, list);
  const std::uint64_t op = program_.New(sysctl);
  const std::string line = LineOf(__HYPERVISOR_sysctl, {op}, 0, [&] {
    program_.At<xen_sysctl>(op).u.getdomaininfolist.num_domains = 1;
    program_.At<xen_domctl_getdomaininfo>(list).domain = 5;
    program_.At<xen_domctl_getdomaininfo>(list).flags = XEN_DOMINF_running;
  });
  EXPECT_TRUE(
      line.starts_with("sysctl.getdomaininfolist({first_domain=0, max_domains=4, "
                       "buffer=[{domain=5, flags=XEN_DOMINF_running, "))
      << line;
  EXPECT_TRUE(line.ends_with("}], num_domains=1}) = 0")) << line;
  EXPECT_EQ(json_["arguments"]["buffer"].size(), 1u);
  // Of a call that fails, what it would have answered is not shown.
  const std::string failed = LineOf(__HYPERVISOR_sysctl, {program_.New(sysctl)}, -EPERM);
  EXPECT_EQ(failed, "sysctl.getdomaininfolist({first_domain=0, max_domains=4, buffer=0x" +
                        absl::StrFormat("%x", list) + "}) = -1 EPERM (Operation not permitted)");
}

TEST_F(Trace, ShowsAsManyAnswersAsTheResultSays) {
  const std::uint64_t frames[3] = {0x10, 0x20, 0x30};
  const std::uint64_t list = program_.New(frames, 3);
  xen_memory_reservation memory = {};
  Set(memory.extent_start, list);
  memory.nr_extents = 3;
  memory.domid = 4;
  EXPECT_EQ(LineOf(__HYPERVISOR_memory_op, {XENMEM_increase_reservation, program_.New(memory)}, 2,
                   [&] { program_.At<std::uint64_t>(list) = 0x77; }),
            "memory_op.increase_reservation({extent_start=[0x77, 0x20], nr_extents=3, "
            "extent_order=0, mem_flags=0x0, domid=4}) = 2");
}

TEST_F(Trace, ShowsWhatItDoesNotKnowAsItIs) {
  EXPECT_EQ(LineOf(77, {1, 2, 3, 4, 0x50}, -ENOSYS),
            "hypercall_77(0x1, 0x2, 0x3, 0x4, 0x50) = -1 ENOSYS (Function not implemented) "
            "/* unknown hypercall: 77 */");
  const std::uint64_t op = Domctl(XEN_DOMCTL_max_mem, 1, [](auto&) {});
  program_.At<xen_domctl>(op).interface_version = 0x99;
  const std::string line = LineOf(__HYPERVISOR_domctl, {op}, -EACCES);
  EXPECT_TRUE(line.starts_with("domctl(u_domctl=0x50000")) << line;
  EXPECT_NE(line.find("unknown interface version: 0x99"), line.npos) << line;
  const std::string wild = LineOf(__HYPERVISOR_domctl, {0x1234}, -EFAULT);
  EXPECT_NE(wild.find("cannot be read"), wild.npos) << wild;
  EXPECT_EQ(LinesOf(kPrivcmdHypercall, 0x10, -EFAULT, [] {}),
            std::vector<std::string>{"privcmd.hypercall(0x10) = -1 EFAULT (Bad address) "
                                     "/* its argument cannot be read */"});
  call_ = {};
}

TEST_F(Trace, ShowsTheDevicesOtherRequests) {
  const std::uint64_t frames[2] = {0x10, 0x11};
  const int errors[2] = {};
  PrivcmdMapBatch batch = {.num = 2, .dom = 1, .addr = 0x7000, .arr = nullptr, .err = nullptr};
  const std::uint64_t frames_at = program_.New(frames, 2), errors_at = program_.New(errors, 2);
  std::memcpy(&batch.arr, &frames_at, 8);
  std::memcpy(&batch.err, &errors_at, 8);
  EXPECT_EQ(LinesOf(kPrivcmdMapBatch, program_.New(batch), 0,
                    [&] { (&program_.At<int>(errors_at))[1] = -EINVAL; }),
            std::vector<std::string>{"privcmd.mmapbatch_v2({num=2, dom=1, addr=0x7000, "
                                     "arr=[0x10, 0x11], err=[0, -EINVAL]}) = 0"});
  EXPECT_EQ(json_["arguments"]["err"][1]["value"], -EINVAL);
  const struct {
    GrantMap map;
    GrantRef refs[2];
  } map = {{2, 0, 0}, {{1, 8}, {1, 9}}};
  const std::uint64_t map_at = program_.New(map);
  EXPECT_EQ(LinesOf(kGrantMap, map_at, 0, [&] { program_.At<GrantMap>(map_at).index = 0x3000; }),
            std::vector<std::string>{"gntdev.map_grant_ref({count=2, index=0x3000, "
                                     "refs=[{domid=1, ref=8}, {domid=1, ref=9}]}) = 0"});
  call_ = {};
  EXPECT_EQ(LinesOf(kPrivcmdDmOp, program_.New(PrivcmdDmOp{7, 0, nullptr}), 0, [] {}),
            std::vector<std::string>{"dm_op(domid=0x7, nr_bufs=0x0, bufs=0x0) = 0 /* dm_op: bufs: "
                                     "fewer or shorter buffers than the op needs */"});
}

TEST_F(Trace, ShowsEachSideOfAGrantCopyAsWhatItIs) {
  GrantCopySegment segment = {};
  segment.source.foreign = {.ref = 8, .offset = 16, .domid = 3};
  segment.dest.address = 0x7000;
  segment.length = 100;
  segment.flags = kCopyFromGrant;
  GrantCopy copy = {};
  copy.count = 1;
  const std::uint64_t place = program_.New(segment);
  std::memcpy(reinterpret_cast<std::byte*>(&copy) + offsetof(GrantCopy, segments), &place,
              sizeof(place));
  const auto lines = LinesOf(kGrantCopy, program_.New(copy), 0, [] {});
  EXPECT_EQ(lines, std::vector<std::string>{
                       "gntdev.grant_copy({count=1, segments=[{source={ref=8, offset=16, domid=3}, "
                       "dest={virt=0x7000}, length=100, flags=1, status=0}]}) = 0"});
  EXPECT_EQ(described_[0].domains, std::vector<std::uint16_t>{3});
}

TEST_F(Trace, ShowsHowLargeAResourceIs) {
  PrivcmdMapResource resource = {};
  resource.dom = 3;
  const std::uint64_t place = program_.New(resource);
  const auto lines = LinesOf(kPrivcmdMapResource, place, 0,
                             [&] { program_.At<PrivcmdMapResource>(place).num = 5; });
  EXPECT_EQ(lines, std::vector<std::string>{"privcmd.mmap_resource({dom=3, type=0, id=0, idx=0, "
                                            "num=0 => 5, addr=0x0}) = 0"});
}

TEST_F(Trace, NamesDomains) {
  names_ = [](std::uint16_t domain) { return domain == 1 ? "guest\n" : ""; };
  const std::uint64_t op = Domctl(XEN_DOMCTL_pausedomain, 1, [](auto&) {});
  EXPECT_EQ(LineOf(__HYPERVISOR_domctl, {op}), "domctl.pausedomain({domain=1<guest\\n>}) = 0");
  EXPECT_EQ(json_["domains"]["1"], "guest\n");
  EXPECT_EQ(described_[0].domains, std::vector<std::uint16_t>{1});
}

TEST_F(Trace, HasColoursWhereTheyAreAskedFor) {
  const std::uint64_t op = Domctl(XEN_DOMCTL_pausedomain, 1, [](auto&) {});
  EXPECT_EQ(LineOf(__HYPERVISOR_domctl, {op}).find('\033'), std::string::npos);
  EXPECT_NE(CallText(described_[0], {}, true).find('\033'), std::string::npos);
}

// --- Filters -------------------------------------------------------------------------------------

class Filters : public ::testing::Test {
 protected:
  static DescribedCall Call(const std::string& group, const std::string& op,
                            std::int64_t result = 0, std::vector<std::uint16_t> domains = {}) {
    DescribedCall call;
    call.group = group;
    call.op = op;
    call.is_hypercall = group != "privcmd";
    call.result = result;
    call.domains = std::move(domains);
    return call;
  }
  static bool Shows(const std::vector<std::string>& expressions, const DescribedCall& call) {
    Filter filter;
    for (const std::string& each : expressions) EXPECT_TRUE(filter.Add(each).ok()) << each;
    return filter.Shows(call);
  }
};

TEST_F(Filters, ChooseByNameDomainAndFailure) {
  const DescribedCall create = Call("domctl", "createdomain", 0, {3});
  const DescribedCall populate = Call("memory_op", "populate_physmap", -ENOMEM, {4});
  const DescribedCall batch = Call("privcmd", "mmapbatch_v2", 0, {3});
  EXPECT_TRUE(Shows({}, create));
  for (const char* each : {"domctl", "domctl.createdomain", "hypercall", "dom=3",
                           "memory_op,domctl", "!memory_op", "!failed", "!dom=4"}) {
    EXPECT_TRUE(Shows({each}, create)) << each;
  }
  for (const char* each :
       {"memory_op", "domctl.pausedomain", "failed", "dom=4", "!domctl", "!dom=3", "!hypercall"}) {
    EXPECT_FALSE(Shows({each}, create)) << each;
  }
  EXPECT_TRUE(Shows({"failed"}, populate));
  EXPECT_FALSE(Shows({"hypercall"}, batch));
  EXPECT_TRUE(Shows({"privcmd.mmapbatch_v2"}, batch));
  // Names add to one another; all else holds besides.
  EXPECT_TRUE(Shows({"domctl", "memory_op", "failed"}, populate));
  EXPECT_FALSE(Shows({"domctl", "memory_op", "failed"}, create));
  EXPECT_FALSE(Shows({"domctl", "dom=4"}, create));
  EXPECT_TRUE(Shows({"domctl,dom=3"}, create));
}

TEST_F(Filters, ThatNameNothingAreRefusedWithTheNearestName) {
  for (const auto& [wrong, nearest] : std::map<std::string, std::string>{
           {"domctll", "domctl"},
           {"memory_op.populate_physmp", "memory_op.populate_physmap"},
           {"populate_physmp", "memory_op.populate_physmap"},
           {"privcmd.mmapbatch2", "privcmd.mmapbatch"},
           {"fail", "failed"}}) {
    Filter filter;
    const absl::Status refused = filter.Add("sysctl," + wrong);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(std::string(refused.message()).ends_with("the nearest name is " + nearest))
        << refused;
  }
  Filter filter;
  EXPECT_FALSE(filter.Add("dom=").ok());
  EXPECT_FALSE(filter.Add("dom=65536").ok());
  EXPECT_FALSE(filter.Add("").ok());
}

// --- Counting ------------------------------------------------------------------------------------

TEST(SummaryTable, HasWhatTookLongestFirst) {
  Summary summary;
  DescribedCall call;
  call.group = "domctl";
  call.op = "pausedomain";
  call.result = 0;
  summary.Add(call, 1'000'000);
  call.result = -EPERM;
  summary.Add(call, 2'000'000);
  call.op = "createdomain";
  call.entries = 2;  // its share of a list's time
  summary.Add(call, 2'000'000);
  EXPECT_EQ(summary.Table(),
            "% time     seconds  usecs/call     calls    errors hypercall\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            " 75.00    0.003000        1500         2         1 domctl.pausedomain\n"
            " 25.00    0.001000        1000         1         1 domctl.createdomain\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            "100.00    0.004000        1333         3         2 total\n");
  EXPECT_EQ(summary.Json(),
            "{\"call\":\"domctl.pausedomain\",\"calls\":2,\"errors\":1,\"duration\":3000000}\n"
            "{\"call\":\"domctl.createdomain\",\"calls\":1,\"errors\":1,\"duration\":1000000}\n");
}

// --- Memory and files ----------------------------------------------------------------------------

// Pieces in any order, overlapping or not, against an array of bytes.
TEST(Image, IsAsAnArrayWithGaps) {
  constexpr std::size_t kBytes = 256;
  Random random(1);
  for (unsigned round = 0; round < 500; ++round) {
    MemoryImage image;
    std::vector<int> known(kBytes, -1);
    for (unsigned i = 0; i < 12; ++i) {
      const std::size_t at = random.Below(kBytes), size = random.Below(kBytes - at + 1);
      std::vector<std::byte> bytes(size);
      random.Fill(bytes.data(), size);
      image.Add(1000 + at, bytes);
      for (std::size_t j = 0; j < size; ++j) {
        if (known[at + j] < 0) known[at + j] = std::to_integer<int>(bytes[j]);
      }
    }
    std::size_t pieces = 0;
    for (std::size_t at = 0; at < kBytes; ++at) {
      pieces += known[at] >= 0 && (at == 0 || known[at - 1] < 0) ? 1 : 0;
      std::size_t run = 0;
      while (at + run < kBytes && known[at + run] >= 0) ++run;
      const auto found = image.At(1000 + at, kBytes);
      ASSERT_EQ(found.size(), run);
      ASSERT_TRUE(run == 0 || std::to_integer<int>(found[0]) == known[at]);
      ASSERT_EQ(image.At(1000 + at, 3).size(), std::min<std::size_t>(run, 3));
    }
    ASSERT_EQ(image.pieces().size(), pieces);
    ASSERT_TRUE(image.At(999, 1).empty());
  }
  MemoryImage last;
  last.Add(~std::uint64_t{0} - 3, std::vector<std::byte>(10));
  EXPECT_EQ(last.At(~std::uint64_t{0} - 3, 10).size(), 3u);
}

// A megabyte by pieces of 16 bytes, from either end and from both: each byte is moved a few times.
TEST(Image, GrowsAtEitherEndWithoutMovingAll) {
  constexpr std::uint64_t kCount = 1 << 16, kBytes = 16, kBase = 0x1000'0000;
  for (const int way : {0, 1, 2}) {
    MemoryImage image;
    const std::uint64_t begun = static_cast<std::uint64_t>(std::clock());
    for (std::uint64_t i = 0; i < kCount; ++i) {
      const std::uint64_t both = kCount / 2 + (i % 2 == 0 ? i / 2 : ~(i / 2));
      const std::uint64_t at = way == 0 ? i : way == 1 ? kCount - 1 - i : both;
      const std::vector<std::byte> bytes(kBytes, static_cast<std::byte>(at));
      image.Add(kBase + at * kBytes, bytes);
    }
    const std::uint64_t ticks = static_cast<std::uint64_t>(std::clock()) - begun;
    EXPECT_LT(ticks, std::uint64_t{CLOCKS_PER_SEC});
    const auto all = image.At(kBase, ~std::uint64_t{0});
    ASSERT_EQ(all.size(), kCount * kBytes);
    for (std::uint64_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(all[i], static_cast<std::byte>(i / kBytes));
    }
    EXPECT_EQ(image.pieces().size(), 1u);
    MemoryImage same;
    same.Add(kBase, all);
    EXPECT_EQ(image, same);
  }
}

class Recording : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "recording-" + std::to_string(getpid());
    Random random(7);
    for (unsigned i = 0; i < 5; ++i) {
      CapturedCall call;
      call.time = random.Next();
      call.duration = random.Next();
      call.process = static_cast<std::int32_t>(random.Below(1 << 30));
      call.thread = call.process + 1;
      call.program = std::string(i, 'p');
      call.file = "/dev/xen/privcmd";
      call.request = random.Next();
      call.argument = random.Next();
      call.continuations = random.Next();
      if (i != 3) call.result = static_cast<std::int64_t>(random.Next());
      for (unsigned j = 0; j < i; ++j) {
        std::vector<std::byte> bytes(random.Below(100));
        random.Fill(bytes.data(), bytes.size());
        call.before.Add(random.Next(), bytes);
        call.after.Add(random.Next(), bytes);
      }
      calls_.push_back(call);
    }
    std::FILE* const file = std::fopen(path_.c_str(), "w");
    RecordingWriter writer(file, {.releases = 8, .vcpus = 3});
    for (const CapturedCall& call : calls_) EXPECT_TRUE(writer.Write(call).ok());
    std::fclose(file);
    std::FILE* const written = std::fopen(path_.c_str(), "r");
    char bytes[1 << 16];
    bytes_.assign(bytes, std::fread(bytes, 1, sizeof(bytes), written));
    std::fclose(written);
  }
  void TearDown() override { unlink(path_.c_str()); }

  void Rewrite(const std::string& bytes) {
    std::FILE* const file = std::fopen(path_.c_str(), "w");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
  }
  // The calls up to the end, or up to what is wrong.
  absl::Status Read(std::vector<CapturedCall>* calls) {
    auto reader = RecordingReader::Open(path_);
    if (!reader.ok()) return reader.status();
    for (;;) {
      auto next = reader->Next();
      if (!next.ok()) return next.status();
      if (!next->has_value()) return absl::OkStatus();
      calls->push_back(**std::move(next));
    }
  }

  std::string path_, bytes_;
  std::vector<CapturedCall> calls_;
};

TEST_F(Recording, IsReadAsItWasWritten) {
  std::vector<CapturedCall> read;
  EXPECT_TRUE(Read(&read).ok());
  EXPECT_EQ(read, calls_);
  const auto reader = RecordingReader::Open(path_);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->reading(), (Reading{.releases = 8, .vcpus = 3}));
}

TEST_F(Recording, ThatEndsAnywhereIsReadUpToThere) {
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    Rewrite(bytes_.substr(0, size));
    std::vector<CapturedCall> read;
    const absl::Status status = Read(&read);
    ASSERT_LT(read.size(), calls_.size());
    ASSERT_TRUE(std::equal(read.begin(), read.end(), calls_.begin())) << size;
    std::FILE* const file = std::fopen(path_.c_str(), "r");
    std::fclose(file);
    if (status.ok()) continue;  // between two calls
    ASSERT_NE(std::string(status.message()).find(size < 24 ? "--binary" : "ends within"),
              std::string::npos)
        << status;
  }
}

TEST_F(Recording, ThatIsDamagedIsReadOrRefused) {
  Random random(3);
  for (unsigned i = 0; i < 3000; ++i) {
    std::string damaged = bytes_;
    damaged[random.Below(damaged.size())] = static_cast<char>(random.Next());
    Rewrite(damaged);
    std::vector<CapturedCall> read;
    (void)Read(&read);
    ASSERT_LE(read.size(), calls_.size() + 1);
  }
}

TEST_F(Recording, WhoseCallIsLongerThanItsPartsIsRefused) {
  std::string longer = bytes_ + 'x';
  // The first call, made one byte longer at the cost of the second.
  ++longer[24];
  Rewrite(longer);
  std::vector<CapturedCall> read;
  EXPECT_NE(std::string(Read(&read).message()).find("is not as long as said"), std::string::npos);
  EXPECT_TRUE(read.empty());
}

TEST_F(Recording, OfAnotherVersionOrNoneIsRefused) {
  std::string other = bytes_;
  other[8] = 2;
  Rewrite(other);
  EXPECT_NE(std::string(RecordingReader::Open(path_).status().message()).find("version 2"),
            std::string::npos);
  EXPECT_EQ(RecordingReader::Open("/nowhere").status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(RecordingReader::Open("/").status().message()).find("regular file"),
            std::string::npos);
}

}  // namespace
}  // namespace xencomm::trace

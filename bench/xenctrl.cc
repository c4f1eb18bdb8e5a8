// xenctrl_bench null|xen [--instructions]
//
// Calls of libxenctrl, which is Debian's, over the libxencall that the loader finds. By default
// prints a line for each row: its name, then nanoseconds and, by the time stamp counter, ticks of a
// call; ticks of the library's own part in it; and page faults. With --instructions, under
// callgrind, there is a dump for each row, of the library's own part in kTurns calls.
//
// `null`: there is no Xen, and every hypercall is answered at once. `xen`: on the Xen that is found,
// which must be one that may be spoiled: a real one, or this project's.
#include <sys/resource.h>
#include <time.h>
#include <valgrind/callgrind.h>
#include <x86intrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench/xencall_border.h"

extern "C" {
#include <xencall.h>
#include <xenctrl.h>

// Exported by libxenctrl, in no installed header.
int xc_get_pfn_type_batch(xc_interface* xch, std::uint32_t domain, unsigned count,
                          xen_pfn_t* types);
}

namespace xencomm::bench {
namespace {

constexpr unsigned kTurns = 96;  // as the others' (bench/rows.h)
constexpr unsigned kPages = 1024;
constexpr unsigned kConsoleBytes = 64 << 10;

void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "bench: %s\n", what);
  std::exit(1);
}

struct Row {
  std::string name;
  std::function<bool()> call;  // whether it worked
};

// A domain that never runs, with pages and one vcpu.
class Domain {
 public:
  explicit Domain(xc_interface* xch) : xch_(xch), pages_(kPages) {
    xen_domctl_createdomain config = {};
    config.max_vcpus = 1;
    config.max_evtchn_port = 1023;
    config.max_grant_frames = 32;
    config.max_maptrack_frames = 1024;
    config.grant_opts = XEN_DOMCTL_GRANT_version(1);
    Check(xc_domain_create(xch, &id_, &config) == 0 && xc_domain_max_vcpus(xch, id_, 1) == 0 &&
              xc_domain_setmaxmem(xch, id_, (kPages + 1) * 4) == 0,
          "a domain cannot be created");
    for (unsigned i = 0; i < kPages; ++i) pages_[i] = i;
    Check(xc_domain_populate_physmap(xch, id_, kPages, 0, 0, pages_.data()) >= 0,
          "the domain gets no memory");
    vcpu_guest_context_any_t context = {};
    context.x64.ctrlreg[3] = pages_[0] << 12;
    context.x64.flags = VGCF_in_kernel | VGCF_online;
    Check(xc_vcpu_setcontext(xch, id_, 0, &context) == 0, "the domain's vcpu is not set");
  }
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;
  ~Domain() { xc_domain_destroy(xch_, id_); }

  std::uint32_t id() const { return id_; }
  const std::vector<xen_pfn_t>& pages() const { return pages_; }

 private:
  xc_interface* const xch_;
  std::uint32_t id_ = 0;
  std::vector<xen_pfn_t> pages_;
};

std::vector<Row> MakeRows(xencall_handle* xcall, xc_interface* xch, const Domain& domain) {
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, std::function<bool()> call) {
    rows.push_back({"xenctrl/" + name, std::move(call)});
  };
  add("xencall, no pointer",
      [=] { return xencall2(xcall, __HYPERVISOR_xen_version, XENVER_version, 0) >= 0; });
  add("version", [=] {
    xen_extraversion_t text;
    return xc_version(xch, XENVER_extraversion, &text) == 0;
  });
  add("physinfo", [=] {
    xc_physinfo_t info = {};
    return xc_physinfo(xch, &info) == 0;
  });
  for (const unsigned count : {1u, 1024u}) {
    add("getinfolist of " + std::to_string(count),
        [=, list = std::vector<xc_domaininfo_t>(count)]() mutable {
          // A null hypercall leaves how many there are as it was: any number.
          return xc_domain_getinfolist(xch, 0, count, list.data()) != -1;
        });
  }
  // What the one gives, the other takes.
  add("populate+decrease of 1", [=, id = domain.id()] {
    xen_pfn_t frame = kPages;
    return xc_domain_populate_physmap(xch, id, 1, 0, 0, &frame) >= 0 &&
           xc_domain_decrease_reservation(xch, id, 1, 0, &frame) >= 0;
  });
  add("vcpu_getcontext", [=, id = domain.id()] {
    vcpu_guest_context_any_t context;
    return xc_vcpu_getcontext(xch, id, 0, &context) == 0;
  });
  add("get_pfn_type_batch of 1024",
      [=, id = domain.id(), pages = domain.pages(), types = domain.pages()]() mutable {
        std::memcpy(types.data(), pages.data(), kPages * sizeof(xen_pfn_t));
        return xc_get_pfn_type_batch(xch, id, kPages, types.data()) == 0;
      });
  add("readconsolering of 64 KiB", [=, text = std::vector<char>(kConsoleBytes)]() mutable {
    unsigned length = kConsoleBytes;
    return xc_readconsolering(xch, text.data(), &length, 0, 0, nullptr) == 0;
  });
  return rows;
}

void Repeat(const Row& row) {
  bool worked = true;
  for (unsigned i = 0; i < kTurns; ++i) worked = row.call() && worked;
  Check(worked, (row.name + " is refused").c_str());
}

void CountInstructions(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    row.call();  // what happens once is not a turn's
    row.call();
    CALLGRIND_ZERO_STATS;
    Repeat(row);
    CALLGRIND_DUMP_STATS_AT(row.name.c_str());
  }
}

long PageFaults() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void Time(const std::vector<Row>& rows) {
  const double ticks_per_nanosecond = TicksPerNanosecond();
  for (const Row& row : rows) {
    row.call();
    row.call();
    TakeTicksInLibrary();
    const long faults = PageFaults();
    const std::uint64_t begin = __rdtsc();
    Repeat(row);
    const auto all = static_cast<double>(__rdtsc() - begin) / kTurns;
    const auto own = static_cast<double>(TakeTicksInLibrary()) / kTurns;
    std::printf("%s: %.1f ns, %.1f ticks, %.1f ticks own, %.2f faults\n", row.name.c_str(),
                all / ticks_per_nanosecond, all, own,
                static_cast<double>(PageFaults() - faults) / kTurns);
  }
}

}  // namespace
}  // namespace xencomm::bench

int main(int argc, char** argv) {
  using namespace xencomm::bench;
  const std::string xen = argc > 1 ? argv[1] : "";
  const bool instructions = argc == 3 && std::strcmp(argv[2], "--instructions") == 0;
  if ((xen != "null" && xen != "xen") || (argc != 2 && !instructions)) {
    std::fprintf(stderr, "usage: xenctrl_bench null|xen [--instructions]\n");
    return 2;
  }
  if (xen == "null") MakeDevicesNull();
  xencall_handle* const xcall = xencall_open(nullptr, 0);
  xc_interface* const xch = xc_interface_open(nullptr, nullptr, 0);
  Check(xcall != nullptr && xch != nullptr, "libxencall and libxenctrl cannot be opened");
  {
    const Domain domain(xch);
    const std::vector<Row> rows = MakeRows(xcall, xch, domain);
    if (instructions) {
      CollectForCallgrind();
      CountInstructions(rows);
    } else {
      Time(rows);
    }
  }
  xc_interface_close(xch);
  xencall_close(xcall);
  return 0;
}

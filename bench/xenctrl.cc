// xenctrl_bench null|xen [--instructions]
//
// Calls of libxenctrl, which is Debian's, over the libxencall that the loader finds. By default
// prints a line for each row: its name, then nanoseconds and, by the time stamp counter, ticks of a
// call; ticks of the library's own part in it; and page faults. With --instructions, under
// callgrind, there is a dump for each row, of the library's own part in kTurns calls.
//
// `null`: there is no Xen, and every hypercall is answered at once. `xen`: on the Xen that is
// found, which must be one that may be spoiled: a real one, or this project's.
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

#include "bench/domain.h"
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

struct Row {
  std::string name;
  std::function<bool()> call;  // whether it worked
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
      [=, id = domain.id(), pages = domain.frames(), types = domain.frames()]() mutable {
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
    const Domain domain(xch, Domain::Kind::kPv, kPages);
    vcpu_guest_context_any_t context = {};
    context.x64.ctrlreg[3] = domain.frames()[0] << 12;
    context.x64.flags = VGCF_in_kernel | VGCF_online;
    Check(xc_vcpu_setcontext(xch, domain.id(), 0, &context) == 0, "the domain's vcpu is not set");
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

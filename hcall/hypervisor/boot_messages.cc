#include "hcall/hypervisor/boot_messages.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace xencomm::hypervisor {
namespace {

// One line, put together without a C library.
class Line {
 public:
  // Of a literal, whose length is part of its type: there is no strlen to ask.
  template <std::size_t size>
  Line& operator<<(const char (&literal)[size]) {
    return *this << std::string_view(literal, size - 1);
  }
  Line& operator<<(std::string_view text) {
    const std::size_t length = text.size() < kMost - used_ ? text.size() : kMost - used_;
    std::memcpy(text_ + used_, text.data(), length);
    used_ += length;
    return *this;
  }
  Line& operator<<(std::uint64_t number) {
    char digits[20];  // of 2^64
    std::size_t first = sizeof(digits);
    do {
      digits[--first] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return *this << std::string_view(digits + first, sizeof(digits) - first);
  }
  std::string_view text() const { return {text_, used_}; }

 private:
  static constexpr std::size_t kMost = 128;
  char text_[kMost];
  std::size_t used_ = 0;
};

template <class... Parts>
void Print(Core& core, const Parts&... parts) {
  Line line;
  line << "(XEN) ";
  (line << ... << parts);
  line << "\n";
  core.console.Print(core.machine, line.text());
}

}  // namespace

void PrintBootMessages(Core& core) {
  const MachineConfig& config = core.config;
  const std::uint64_t bytes = config.pool_end - config.pool_begin;
  const schema::ReleaseNumber release =
      schema::ReleaseNumbers()[static_cast<std::size_t>(std::countr_zero(config.release))];
  const unsigned major = release.major;
  const unsigned minor = release.minor;
  Print(core, "Xen version ", major, ".", minor, ".7 (xencomm@embedded) (", __VERSION__, ")");
  Print(core, "Embedded hypervisor of xencomm, answering as Xen ", major, ".", minor);
  Print(core, "Command line: ");
  Print(core, "System RAM: ", bytes >> 20, "MB (", bytes >> 10, "kB)");
  Print(core, "Domain heap initialised");
  Print(core, "Using scheduler: SMP Credit Scheduler rev2 (credit2)");
  Print(core, "Detected ", std::uint64_t{kCpuKilohertz / 1000}, ".000 MHz processor.");
  Print(core, "Allocated console ring of ", std::uint64_t{Console::kRingSize >> 10}, " KiB.");
  Print(core, "HVM: Hardware Assisted Paging (HAP) detected");
  Print(core, "Brought up ", std::uint64_t{config.cpus}, " CPUs");
  Print(core, "Scheduling granularity: cpu, 1 CPU per sched-resource");
}

}  // namespace xencomm::hypervisor

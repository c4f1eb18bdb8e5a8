// sharing_bench [grants|frames=COUNT:RUN|disk|vchan]...
//
// Other domains' memory, on whatever the devices in /dev/xen are of: a machine's, or real Xen's. It
// must be one that may be spoiled. bench/sharing.h says what is measured.
#include "bench/sharing.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "xencomm/mapper.h"

extern "C" {
#include <xenforeignmemory.h>
#include <xengnttab.h>
}

namespace xencomm::bench {
namespace {

constexpr unsigned kTurns = 96;  // as the others' (bench/rows.h)
constexpr std::uint32_t kSelf = 0;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

void WriteEach(void* start, std::size_t pages) {
  auto* const bytes = static_cast<volatile char*>(start);
  for (std::size_t i = 0; i < pages; ++i) bytes[i * kPageBytes] = 1;
}
void ReadEach(const void* start, std::size_t pages) {
  const auto* const bytes = static_cast<const volatile char*>(start);
  for (std::size_t i = 0; i < pages; ++i) (void)bytes[i * kPageBytes];
}

// Memory that is there, to be mapped as what is shared is.
class PlainFile {
 public:
  explicit PlainFile(std::size_t pages)
      : fd_(memfd_create("plain", MFD_CLOEXEC)), bytes_(pages * kPageBytes) {
    Check(fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(bytes_)) == 0, "there is no plain memory");
    void* const all = Map();
    Check(all != MAP_FAILED, "plain memory cannot be mapped");
    std::memset(all, 1, bytes_);
    munmap(all, bytes_);
  }
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;
  ~PlainFile() { close(fd_); }

  void* Map() const { return mmap(nullptr, bytes_, kReadWrite, MAP_SHARED, fd_, 0); }
  template <class Touch>
  bool MapAndUnmap(const Touch& touch) const {
    void* const start = Map();
    if (start == MAP_FAILED) return false;
    touch(start, bytes_ / kPageBytes);
    return munmap(start, bytes_) == 0;
  }

 private:
  const int fd_;
  const std::size_t bytes_;
};

// The devices of both ways, opened.
struct Devices {
  xengntshr_handle* share = xengntshr_open(nullptr, 0);
  xengnttab_handle* stock = xengnttab_open(nullptr, 0);
  std::shared_ptr<Mapper> ours = Mapper::Open().value_or(nullptr);
};

// Pages that this domain grants itself, full of ones.
class Lent {
 public:
  Lent(xengntshr_handle* share, std::size_t pages)
      : refs(pages),
        start(static_cast<std::byte*>(xengntshr_share_pages(share, kSelf, static_cast<int>(pages),
                                                            refs.data(), /*writable=*/1))),
        share_(share) {
    Check(start != nullptr, "no pages can be granted");
    std::memset(start, 1, pages * kPageBytes);
    for (const std::uint32_t ref : refs) grants.push_back({kSelf, ref});
  }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  ~Lent() { xengntshr_unshare(share_, start, static_cast<std::uint32_t>(refs.size())); }

  std::vector<std::uint32_t> refs;
  std::vector<Grant> grants;
  std::byte* const start;

 private:
  xengntshr_handle* const share_;
};

std::string GrantsOf(std::size_t pages) {
  return std::to_string(pages) + (pages == 1 ? " grant" : " grants");
}

void MeasureMappings(const Devices& devices, std::size_t pages) {
  Lent lent(devices.share, pages);
  const std::string name = "map " + GrantsOf(pages);
  const PlainFile plain(pages);
  Measure(name + "/plain", kTurns, [&] { return plain.MapAndUnmap(WriteEach); });
  Measure(name + "/stock", kTurns, [&] {
    void* const start = xengnttab_map_domain_grant_refs(
        devices.stock, static_cast<std::uint32_t>(pages), kSelf, lent.refs.data(), kReadWrite);
    if (start == nullptr) return false;
    WriteEach(start, pages);
    return xengnttab_unmap(devices.stock, start, static_cast<std::uint32_t>(pages)) == 0;
  });
  Measure(name + "/ours", kTurns, [&] {
    const auto mapped = devices.ours->MapGrants(lent.grants, Access::kWrite);
    if (!mapped.ok()) return false;
    WriteEach(mapped->data(), pages);
    return true;
  });
}

void MeasureCopies(const Devices& devices, std::uint16_t bytes, std::size_t pages) {
  const Lent lent(devices.share, pages);
  const std::string name = "copy " + std::to_string(bytes) + " bytes of " + GrantsOf(pages);
  std::vector<std::byte> own(pages * kPageBytes);
  Measure(name + "/plain", kTurns, [&] {
    for (std::size_t i = 0; i < pages; ++i) {
      std::memcpy(own.data() + i * kPageBytes, lent.start + i * kPageBytes, bytes);
    }
    asm volatile("" : : "g"(own.data()) : "memory");
    return true;
  });
  std::vector<xengnttab_grant_copy_segment_t> segments(pages);
  std::vector<CopySegment> our_segments(pages);
  for (std::size_t i = 0; i < pages; ++i) {
    segments[i].source.foreign = {.ref = lent.refs[i], .offset = 0, .domid = kSelf};
    segments[i].dest.virt = own.data() + i * kPageBytes;
    segments[i].len = bytes;
    segments[i].flags = GNTCOPY_source_gref;
    our_segments[i] = {.from = CopySide::Of(lent.grants[i], 0),
                       .to = CopySide::Of(own.data() + i * kPageBytes),
                       .length = bytes};
  }
  const auto worked = [&](auto& list) {
    return std::ranges::all_of(list, [](const auto& one) { return one.status == GNTST_okay; });
  };
  Measure(name + "/stock", kTurns, [&] {
    return xengnttab_grant_copy(devices.stock, static_cast<std::uint32_t>(pages),
                                segments.data()) == 0 &&
           worked(segments);
  });
  Measure(name + "/ours", kTurns,
          [&] { return devices.ours->Copy(our_segments).ok() && worked(our_segments); });
}

}  // namespace

void Measure(const std::string& name, unsigned turns, const std::function<bool()>& what) {
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  };
  bool worked = what();  // what happens once is not a turn's
  const double start = now();
  const std::uint64_t ticks = __rdtsc();
  for (unsigned i = 0; i < turns; ++i) worked = what() && worked;
  const auto spent = static_cast<double>(__rdtsc() - ticks);
  const double nanoseconds = now() - start;
  Check(worked, ("sharing/" + name + " is refused").c_str());
  std::printf("sharing/%s: %.1f ns, %.1f ticks\n", name.c_str(), nanoseconds / turns,
              spent / turns);
}

void MeasureGrants() {
  const Devices devices;
  Check(devices.share != nullptr && devices.stock != nullptr && devices.ours != nullptr,
        "the grant devices cannot be opened");
  for (const std::size_t pages : {1, 32, 512}) MeasureMappings(devices, pages);
  MeasureCopies(devices, 16, 1);
  MeasureCopies(devices, kPageBytes, 1);
  MeasureCopies(devices, kPageBytes, 32);
  xengnttab_close(devices.stock);
  xengntshr_close(devices.share);
}

void MeasureFrames(xc_interface* xch, unsigned count, unsigned run) {
  const Domain domain(xch, Domain::Kind::kPvh, count);
  std::vector<xen_pfn_t> firsts(count / run), frames;
  for (unsigned i = 0; i < count / run; ++i) firsts[i] = domain.frames()[i * run];
  std::shuffle(firsts.begin(), firsts.end(), std::mt19937_64(count));
  for (const xen_pfn_t first : firsts) {
    for (unsigned i = 0; i < run; ++i) frames.push_back(first + i);
  }
  const unsigned turns = std::max(2u, kTurns * 32 / count);
  const std::string name = "map " + std::to_string(count) + " frames, " +
                           (run == 1 ? "scattered" : "runs of " + std::to_string(run));

  const PlainFile plain(count);
  Measure(name + "/plain", turns, [&] { return plain.MapAndUnmap(ReadEach); });
  xenforeignmemory_handle* const stock = xenforeignmemory_open(nullptr, 0);
  const auto ours = Mapper::Open();
  Check(stock != nullptr && ours.ok(), "foreign memory cannot be opened");
  std::vector<int> errors(count);
  Measure(name + "/stock", turns, [&] {
    void* const start =
        xenforeignmemory_map(stock, domain.id(), kReadWrite, count, frames.data(), errors.data());
    if (start == nullptr || std::ranges::any_of(errors, [](int each) { return each != 0; })) {
      return false;
    }
    ReadEach(start, count);
    return xenforeignmemory_unmap(stock, start, count) == 0;
  });
  Measure(name + "/ours", turns, [&] {
    const auto mapped =
        (*ours)->MapFrames(static_cast<std::uint16_t>(domain.id()), frames, Access::kWrite);
    if (mapped.ok()) ReadEach(mapped->data(), count);
    return mapped.ok();
  });
  xenforeignmemory_close(stock);
}

}  // namespace xencomm::bench

int main(int argc, char** argv) {
  using namespace xencomm::bench;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  constexpr const char* kUsage = "usage: sharing_bench [grants|frames=COUNT:RUN|disk|vchan]...";
  const std::string frames = "frames=";
  const std::span words(argv + 1, static_cast<std::size_t>(std::max(argc - 1, 0)));
  // They fork, before anything else has been opened.
  for (const char* word : words) {
    if (word == std::string("vchan")) MeasureVchan();
  }
  xc_interface* const xch = xc_interface_open(nullptr, nullptr, 0);
  Check(xch != nullptr, "libxenctrl cannot be opened");
  for (const std::string word : words) {
    if (word == "grants") {
      MeasureGrants();
    } else if (word.starts_with(frames)) {
      unsigned count = 0, run = 0;
      Check(std::sscanf(word.c_str() + frames.size(), "%u:%u", &count, &run) == 2 && run != 0 &&
                count % run == 0,
            kUsage);
      MeasureFrames(xch, count, run);
    } else if (word == "disk") {
      MeasureDisk(xch);
    } else {
      Check(word == "vchan", kUsage);
    }
  }
  xc_interface_close(xch);
  return 0;
}

// The op table against Xen's own libxenctrl: an independent reading of every pointer that it
// passes.
//
// libxenctrl copies what a call points at into hypercall buffers and back: of each pointer it knows
// how many bytes it leads to, and which way they go. Here it runs over a libxencall that looks: the
// table's walk of a call must come to all of each hypercall buffer, and to nothing else; what was
// in a buffer before the call, and where its bytes came to after it, must be what the row says.
// What differs is listed in kJudged, each with the reason why the table is right.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hcall/schema/walk.h"
#include "hcall/schema/words.h"
#include "tests/unit/libxenctrl_calls.h"
#include "xencomm/space.h"

extern "C" {
#include <xencall.h>
#include <xenforeignmemory.h>
}

namespace xencomm::libxenctrl {
namespace {

using schema::Buffer;
using schema::Finding;
using schema::Op;

// The one that libxenctrl is of.
const schema::Releases kRelease = schema::ParseRelease(XEN_RELEASE).value();

// Where, and what. The reason is that of the whole group.
using Differences = std::set<std::pair<std::string, std::string>>;

const Differences kJudged = {
    // Copied in for nothing: Xen only writes these.
    {"dm_op.track_dirty_vram: dirty_bitmap", "table out, libxenctrl in/out"},
    {"memory_op.increase_reservation: extent_start", "table out, libxenctrl in/out"},
    {"sysctl.get_pmstat: u.getpx.pt", "table out, libxenctrl in/out"},
    {"sysctl.get_pmstat: u.getpx.trans_pt", "table out, libxenctrl in/out"},
    {"sysctl.page_offline_op: status", "table out, libxenctrl in/out"},
    {"sysctl.pcitopoinfo: nodes", "table out, libxenctrl in/out"},
    {"sysctl.pm_op: u.get_para.affected_cpus", "table out, libxenctrl in/out"},
    {"sysctl.pm_op: u.get_para.scaling_available_frequencies", "table out, libxenctrl in/out"},
    {"sysctl.pm_op: u.get_para.scaling_available_governors", "table out, libxenctrl in/out"},
    // Copied back for nothing: Xen only reads these.
    {"dm_op.modified_memory: extents", "table in, libxenctrl in/out"},
    {"domctl.setvnumainfo: vcpu_to_vnode", "table in, libxenctrl in/out"},
    {"domctl.setvnumainfo: vdistance", "table in, libxenctrl in/out"},
    {"domctl.setvnumainfo: vmemrange", "table in, libxenctrl in/out"},
    {"domctl.setvnumainfo: vnode_to_pnode", "table in, libxenctrl in/out"},
    {"memory_op.decrease_reservation: extent_start", "table in, libxenctrl in/out"},
    // libxenctrl gives Xen zeroes where it reads the frames to populate.
    {"memory_op.exchange: out.extent_start", "table in/out, libxenctrl out"},
    // libxenhypfs passes less than it has.
    {"hypfs_op.read: arg3", "table 12, libxenctrl 4096 bytes"},
    {"hypfs_op.write_contents: arg3", "table 6, libxenctrl 4096 bytes"},
    // Xen writes as much as it told when it was asked before, whatever the caller says: libxenctrl
    // says nothing, and the row wants the room said.
    {"sysctl.livepatch_op", "50 bytes are not reached"},  // metadata
    {"sysctl.livepatch_op", "60 bytes are not reached"},  // name
};

// A hypercall buffer.
struct Allocation {
  Allocation(std::size_t size, bool is_of_pages) : bytes(size), in_pages(is_of_pages) {}

  std::uint64_t start() const { return reinterpret_cast<std::uint64_t>(bytes.data()); }

  std::vector<std::byte> bytes;
  bool in_pages;
  bool is_reached = false;
};

// All hypercall buffers; everything else faults.
class HypercallBuffers final : public Space {
 public:
  Allocation* Find(std::uint64_t address, std::uint64_t length) {
    const auto next = live_.upper_bound(address);
    if (next == live_.begin()) return nullptr;
    Allocation* const found = std::prev(next)->second.get();
    const std::uint64_t offset = address - found->start();
    const std::uint64_t size = found->bytes.size();
    return offset <= size && length <= size - offset ? found : nullptr;
  }
  void* Allocate(std::size_t size, bool in_pages) {
    auto allocation = std::make_unique<Allocation>(size, in_pages);
    void* const start = allocation->bytes.data();
    live_[allocation->start()] = std::move(allocation);
    return start;
  }
  std::unique_ptr<Allocation> Free(const void* start) {
    auto node = live_.extract(reinterpret_cast<std::uint64_t>(start));
    return node.empty() ? nullptr : std::move(node.mapped());
  }
  bool is_empty() const { return live_.empty(); }

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    const std::uint64_t address = pointer.value + offset;
    const Allocation* const found = Find(address, 1);
    if (found == nullptr) return Fault::kNotPresent;
    const std::uint64_t rest = found->start() + found->bytes.size() - address;
    return Mapping(reinterpret_cast<std::byte*>(address), std::min(length, rest));
  }

 private:
  std::map<std::uint64_t, std::unique_ptr<Allocation>> live_;
};

std::string Ways(bool in, bool out) { return in ? (out ? "in/out" : "in") : "out"; }

std::string Sizes(std::uint64_t table, std::uint64_t libxenctrl) {
  return "table " + std::to_string(table) + ", libxenctrl " + std::to_string(libxenctrl) + " bytes";
}

// What functions called next find on the stack.
[[gnu::noinline]] void FillStack(int byte) {
  std::byte below[16384];
  std::memset(below, byte, sizeof(below));
  asm volatile("" : : "r"(below) : "memory");
}

// Stands in for the hypervisor, and compares.
class Observer {
 public:
  HypercallBuffers buffers;

  Differences differences;
  // How much was compared.
  std::set<std::string> ops;
  std::set<std::string> pointers;  // of which the length was
  std::set<std::string> directed;  // of which the direction was, too

  // With `leftover` in the bytes of the stack that libxenctrl does not write itself.
  void Make(const Use& use, xc_interface* x, int leftover) {
    use_ = &use;
    const auto user = std::make_unique<User>();
    FillStack(leftover);
    use.make(x, *user);
    EXPECT_FALSE(op_.empty()) << use.words << " makes no call";
    EXPECT_TRUE(buffers.is_empty()) << use.words << " leaves buffers";
    CompareDirections(*user);
    seen_.clear();
    op_.clear();
  }

  long Call(std::uint64_t hypercall, const schema::Registers& registers) {
    const schema::Call call = {.hypercall = hypercall, .registers = registers};
    op_ = std::to_string(hypercall);
    auto enter = [&](const Op& op) {
      op_ = std::string(schema::WordsOf(op.hypercall()).name) + "." + schema::WordsOf(op).name;
      ops.insert(op_);
      return true;
    };
    std::map<Allocation*, Touched> reached;
    auto visit = [&](const Buffer& buffer) {
      Visit(buffer, reached);
      return true;
    };
    const Finding finding =
        ForEachBuffer(call, {.space = buffers, .releases = kRelease}, visit, enter);
    if (!finding.ok()) {
      Differ(op_ + ": " + (finding.part == nullptr ? "" : schema::WordsOf(*finding.part).path),
             Describe(finding.problem));
    }
    for (const auto& [allocation, touched] : reached) {
      const std::size_t size = allocation->bytes.size();
      if (!allocation->in_pages && touched.end != size)
        Differ(touched.where, Sizes(touched.end, size));
    }
    Fill(reached);
    const long answer = use_->answer(call);
    if (answer >= 0) return answer;
    errno = static_cast<int>(-answer);
    return -1;
  }

  void Free(const void* start) {
    if (start == nullptr) return;
    const std::unique_ptr<Allocation> freed = buffers.Free(start);
    ASSERT_NE(freed, nullptr) << use_->words;
    if (!freed->is_reached)
      Differ(op_, std::to_string(freed->bytes.size()) + " bytes are not reached");
  }

 private:
  // How far the walk of a call comes in a buffer, and of what it is.
  struct Touched {
    std::string where;
    std::uint64_t end = 0;
    bool reads = false;
    bool writes = false;
    bool is_structure = false;
  };
  // A buffer in a call: what it held before, and what it was filled with for an answer.
  struct Seen {
    Touched touched;
    std::vector<std::byte> held;
    std::byte answer;
  };

  void Visit(const Buffer& buffer, std::map<Allocation*, Touched>& reached) {
    const std::string where = op_ + ": " + schema::WordsOf(*buffer.part).path;
    pointers.insert(where);
    const std::uint64_t start = buffer.address.value;
    Allocation* const allocation = buffers.Find(start, buffer.bytes);
    if (allocation == nullptr) {
      const Allocation* const begun = buffers.Find(start, 0);
      Differ(where,
             begun == nullptr ? "no hypercall buffer" : Sizes(buffer.bytes, begun->bytes.size()));
      return;
    }
    allocation->is_reached = true;
    Touched& touched = reached[allocation];
    touched.where = where;
    touched.end = std::max(touched.end, start + buffer.bytes - allocation->start());
    touched.reads |= buffer.reads();
    touched.writes |= buffer.writes();
    const schema::Record* const record = buffer.element_record;
    touched.is_structure |=
        record != nullptr && (record == &buffer.op->argument() || record->has_pointers);
  }

  // What libxenctrl itself looks into is left as it is.
  void Fill(const std::map<Allocation*, Touched>& reached) {
    for (const auto& [allocation, touched] : reached) {
      if (touched.is_structure) continue;
      const auto answer = std::byte(0x80 + seen_.size());
      seen_.push_back({touched, allocation->bytes, answer});
      std::fill(allocation->bytes.begin(), allocation->bytes.end(), answer);
    }
  }

  void CompareDirections(const User& user) {
    for (const Seen& seen : seen_) {
      for (const User::Memory& memory : user.memory()) {
        const auto length =
            static_cast<std::ptrdiff_t>(std::min(seen.held.size(), memory.original.size()));
        const bool in =
            std::equal(seen.held.begin(), seen.held.begin() + length, memory.original.begin());
        const bool out = memory.bytes.front() == seen.answer;
        if (!in && !out) continue;
        directed.insert(seen.touched.where);
        if (in != seen.touched.reads || out != seen.touched.writes) {
          Differ(seen.touched.where, "table " + Ways(seen.touched.reads, seen.touched.writes) +
                                         ", libxenctrl " + Ways(in, out));
        }
      }
    }
  }

  void Differ(const std::string& where, const std::string& what) {
    differences.emplace(where, what);
  }

  const Use* use_ = nullptr;
  std::string op_;  // of the last call
  std::vector<Seen> seen_;
};

Observer* observer = nullptr;

TEST(Libxenctrl, PassesWhatTheRowsSay) {
  Observer own;
  observer = &own;
  xc_interface* const x = xc_interface_open(nullptr, nullptr, 0);
  ASSERT_NE(x, nullptr);
  for (const int leftover : {0x00, 0x5a, 0xff}) {
    for (const Use& use : kUses) own.Make(use, x, leftover);
  }
  EXPECT_EQ(xc_interface_close(x), 0);

  EXPECT_THAT(own.differences, ::testing::ContainerEq(kJudged));
  // Less means that libxenctrl's calls, or their pointers, are no longer found.
  EXPECT_GE(own.ops.size(), 175u);
  EXPECT_GE(own.pointers.size(), 286u);
  EXPECT_GE(own.directed.size(), 88u);
}

}  // namespace
}  // namespace xencomm::libxenctrl

// What libxenctrl finds in place of libxencall and libxenforeignmemory.
extern "C" {

using xencomm::libxenctrl::observer;

xencall_handle* xencall_open(xentoollog_logger*, unsigned) {
  return reinterpret_cast<xencall_handle*>(observer);
}
int xencall_close(xencall_handle*) { return 0; }
int xencall_fd(xencall_handle*) { return -1; }
int xencall1(xencall_handle*, unsigned op, uint64_t a) {
  return static_cast<int>(observer->Call(op, {a}));
}
int xencall2(xencall_handle*, unsigned op, uint64_t a, uint64_t b) {
  return static_cast<int>(observer->Call(op, {a, b}));
}
long xencall2L(xencall_handle*, unsigned op, uint64_t a, uint64_t b) {
  return observer->Call(op, {a, b});
}
int xencall3(xencall_handle*, unsigned op, uint64_t a, uint64_t b, uint64_t c) {
  return static_cast<int>(observer->Call(op, {a, b, c}));
}
int xencall4(xencall_handle*, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return static_cast<int>(observer->Call(op, {a, b, c, d}));
}
int xencall5(xencall_handle*, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
             uint64_t e) {
  return static_cast<int>(observer->Call(op, {a, b, c, d, e}));
}
void* xencall_alloc_buffer_pages(xencall_handle*, size_t pages) {
  return observer->buffers.Allocate(pages * 4096, true);
}
void xencall_free_buffer_pages(xencall_handle*, void* start, size_t) { observer->Free(start); }
void* xencall_alloc_buffer(xencall_handle*, size_t size) {
  return observer->buffers.Allocate(size, false);
}
void xencall_free_buffer(xencall_handle*, void* start) { observer->Free(start); }

xenforeignmemory_handle* xenforeignmemory_open(xentoollog_logger*, unsigned) {
  return reinterpret_cast<xenforeignmemory_handle*>(observer);
}
int xenforeignmemory_close(xenforeignmemory_handle*) { return 0; }
}

#include "hcall/transport/machine/machine_transport.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <vector>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/transport/region_range.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

using hypervisor::kPageShift;

class MachineBacking final : public Backing {
 public:
  explicit MachineBacking(Connection& connection) : connection_(connection) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override {
    absl::StatusOr<RegionRange> range = RegionRange::Reserve(payload_size);
    if (!range.ok()) return range.status();
    range_ = *std::move(range);
    const RegionLayout& layout = range_->layout();
    const absl::Status made = connection_.Reserve(layout.virtual_base().value, layout.length());
    if (!made.ok()) {
      Release();
      return made;
    }
    return range_->reservation();
  }

  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override {
    // What an earlier try was given before it failed is here still.
    while (state_.ok() && populated_ < offset + length) {
      const std::uint64_t piece = std::min(kMostPopulated, offset + length - populated_);
      const absl::StatusOr<std::vector<PageRun>> runs = connection_.Populate(populated_, piece);
      if (!runs.ok()) return runs.status();
      state_ = MapRuns(*runs, piece);
      if (!state_.ok()) range_->Empty(populated_, piece);
      if (state_.ok()) populated_ += piece;
    }
    return state_;
  }

  // The region itself ends with the connection.
  void Release() override { range_->Release(); }

 private:
  absl::Status MapRuns(std::span<const PageRun> runs, std::uint64_t length) {
    const absl::StatusOr<embedded::RamFile*> memory = connection_.Memory();
    if (!memory.ok()) return memory.status();
    std::uint64_t done = 0;
    for (const PageRun run : runs) {
      if (run.count > (length - done) >> kPageShift) break;
      const std::uint64_t bytes = run.count << kPageShift;
      const absl::Status mapped =
          (*memory)->MapAt(range_->payload() + populated_ + done,
                           MachineAddress{run.mfn << kPageShift}, bytes, PROT_READ | PROT_WRITE);
      if (!mapped.ok()) return mapped;
      done += bytes;
    }
    if (done != length)
      return absl::InternalError("the machine gave less memory than was asked for");
    range_->Keep(populated_, length);
    return absl::OkStatus();
  }

  Connection& connection_;
  std::optional<RegionRange> range_;
  std::uint64_t populated_ = 0;  // bytes of the payload
  absl::Status state_;           // why there is no more
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backing>> MachineTransport::MakeBacking() {
  return std::make_unique<MachineBacking>(*connection_);
}

int MachineTransport::Restrict() {
  // In a forked child it is the parent's, and of no use here.
  const bool restricted = !connection_->in_same_process() || connection_->Restrict().ok();
  const int gone = fd_.BecomeNull();
  return restricted ? gone : -EIO;
}

}  // namespace xencomm::machine

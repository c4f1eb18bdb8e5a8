#include "tests/unit/hypervisor_image.h"

#include <algorithm>
#include <cstring>
#include <sstream>

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/hypervisor.h"

namespace xencomm::hypervisor {
namespace {

// Bytes of the pool, by their offset.
struct Range {
  std::size_t begin;
  std::size_t end;
};

}  // namespace

std::byte* Books::Image::Pool() const {
  const Core& core = *hypervisor_.core_;
  return core.frames.Bytes(core.frames.MfnOf(0));
}

void Books::Image::Take() {
  free_ = FreeFrames(hypervisor_);
  bytes_.resize(free_.size() << kPageShift);
  CopyUsed(Pool(), bytes_.data());
}

void Books::Image::CopyUsed(const std::byte* from, std::byte* to) const {
  for (std::size_t i = 0; i < free_.size(); ++i) {
    if (!free_[i]) std::memcpy(to + (i << kPageShift), from + (i << kPageShift), kPageSize);
  }
}

void Books::Image::Restore() const {
  CopyUsed(bytes_.data(), Pool());
  // What is free may have been written to meanwhile.
  const FrameTable& frames = hypervisor_.core_->frames;
  FrameHeap& heap = hypervisor_.core_->heap;
  for (std::uint32_t i = 0; i < frames.count(); ++i) {
    if (free_[i]) frames.At(i).dirty = true;
  }
  for (FrameHeap::OpenBlock& block : heap.open_) block.dirty = true;
  for (unsigned page = 0; page < FrameHeap::kRunPages; ++page) {
    if ((heap.run_free_ >> page & 1) != 0) heap.Clear(heap.run_ + page, 0);
  }
}

std::vector<std::string> Books::Image::Compare(std::size_t most) const {
  const Core& core = *hypervisor_.core_;
  const FrameTable& frames = core.frames;
  const std::byte* const pool = Pool();
  std::vector<std::string> changes;

  // What moves although nothing happens, and what says something only while a call is under way.
  std::vector<Range> moving;
  const auto leave_out = [&](const auto& object) {
    const auto begin = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&object) - pool);
    moving.push_back({begin, begin + sizeof(object)});
  };
  leave_out(core.heap);          // which frames are free is compared, not in which order they are
  leave_out(core.quiescence);    // counts what was given up
  leave_out(core.tokens);        // counts what was continued
  leave_out(core.longest_leg);   // statistics
  leave_out(core.last_domain);   // where the search for a free id begins
  leave_out(core.missing_ops_);  // what was said
  leave_out(core.region_generation);  // counts what was begun
  leave_out(core.schedule);           // time passes, and is sampled by whoever asks
  for (unsigned i = 0; i < core.quiescence.count_; ++i) {
    leave_out(core.quiescence.slots_[i].writes);  // of the last call
  }

  for (const Domain* domain = core.domains.FindFrom(0); domain != nullptr;
       domain = core.domains.FindFrom(domain->id + 1u)) {
    for (unsigned i = 0; i < domain->max_vcpus; ++i) {
      if (const Vcpu* vcpu = domain->vcpu(i)) leave_out(vcpu->times);
    }
    const DirtyLog::Top* log = domain->dirty_log.top_.load();
    if (log == nullptr) continue;
    for (const auto& place : log->blocks) {
      // Means something while a CLEAN is under way.
      if (const auto* block = DirtyLog::AsBlock(place.load())) leave_out(block->delivered);
    }
  }
  std::ranges::sort(moving, {}, &Range::begin);

  const auto compare = [&](std::size_t begin, std::size_t end, const auto& what) {
    while (begin < end && changes.size() < most) {
      const auto next = std::find_if(moving.begin(), moving.end(),
                                     [&](const Range& range) { return range.end > begin; });
      const std::size_t until = next == moving.end() ? end : std::min(end, next->begin);
      if (begin < until && std::memcmp(pool + begin, &bytes_[begin], until - begin) != 0) {
        const std::byte* const at = std::mismatch(pool + begin, pool + until, &bytes_[begin]).first;
        std::ostringstream sentence;
        sentence << what() << ", offset " << std::hex << at - (pool + begin) << ": "
                 << std::to_integer<unsigned>(bytes_[static_cast<std::size_t>(at - pool)])
                 << " became " << std::to_integer<unsigned>(*at);
        changes.push_back(sentence.str());
      }
      begin = next == moving.end() ? end : next->end;
    }
  };

  const std::vector<bool> is_free = FreeFrames(hypervisor_);
  const std::size_t table = reinterpret_cast<const std::byte*>(&frames.At(0)) - pool;
  const std::size_t table_end = table + frames.count() * sizeof(Frame);
  for (std::uint32_t i = 0; i < frames.count(); ++i) {
    if (free_[i] && is_free[i]) continue;
    const auto name = [&](const char* what) {
      std::ostringstream words;
      const auto* row = reinterpret_cast<const Frame*>(&bytes_[table + i * sizeof(Frame)]);
      words << what << "frame " << std::hex << frames.MfnOf(i) << std::dec << ", "
            << UserOf(hypervisor_, i);
      const FrameOwner owner = row->owner.load();
      if (owner.use != FrameUse::kNone) words << ", of domain " << owner.domain;
      return words.str();
    };
    if (free_[i] != is_free[i]) {
      if (changes.size() < most) changes.push_back(name(free_[i] ? "taken: " : "free: "));
      continue;
    }
    const std::size_t row = table + i * sizeof(Frame);
    compare(row, row + sizeof(Frame), [&] { return name("the row of "); });
    const std::size_t begin = std::size_t{i} << kPageShift;
    if (begin >= table && begin < table_end) continue;
    compare(begin, begin + kPageSize, [&] { return name(""); });
  }
  return changes;
}

}  // namespace xencomm::hypervisor

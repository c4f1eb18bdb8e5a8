#include "hcall/tools/region_cells.h"

#include <algorithm>
#include <set>
#include <utility>

namespace xencomm::tools {
namespace {

using Kind = GranuleRun::Kind;

constexpr std::size_t kRunsOfStructure = 5;  // granule runs of one structure

class Maker {
 public:
  Maker(const RegionMap& map, std::span<const std::size_t> shown)
      : map_(map), shown_(shown), shift_(map.layout.granule_shift()) {}

  // The run of each granule that something lies in, cut at what is of interest; between them, all
  // that is alike.
  std::vector<Cell> Make() {
    for (const GranuleRun& run : map_.runs) {
      std::uint64_t at = run.first;
      while (at < run.end()) {
        const std::uint64_t end = EndOfLikes(at, run);
        AddCell(at, end - at, run);
        at = end;
      }
    }
    SumUp();
    return std::move(cells_);
  }

 private:
  bool Holds(std::uint64_t granule) const {
    return std::any_of(shown_.begin(), shown_.end(), [&](std::size_t each) {
      const ByteSpan span = SpanOf(map_, each);
      return span.begin >> shift_ <= granule && granule <= (span.end - 1) >> shift_;
    });
  }

  // Granules from `at` on that are as empty, or as full, as it is.
  std::uint64_t EndOfLikes(std::uint64_t at, const GranuleRun& run) const {
    if (run.kind != Kind::kPayload) return run.end();
    const bool holds = Holds(at);
    std::set<std::uint64_t> edges = {run.end()};
    for (const std::size_t each : shown_) {
      const ByteSpan span = SpanOf(map_, each);
      for (const std::uint64_t edge : {span.begin >> shift_, ((span.end - 1) >> shift_) + 1}) {
        if (edge > at && edge < run.end() && Holds(edge) != holds) edges.insert(edge);
      }
    }
    return *edges.begin();
  }

  void AddCell(std::uint64_t first, std::uint64_t count, const GranuleRun& run) {
    Cell cell = {.first = first, .count = count, .kind = run.kind};
    cell.physical = run.physical.value + ((first - run.first) << shift_);
    cell.holds = run.kind == Kind::kTable || (run.kind == Kind::kPayload && Holds(first));
    // Empty ones have nothing to tell one by one.
    if (!cells_.empty() && !cell.holds && !cells_.back().holds && cells_.back().kind == cell.kind) {
      cells_.back().count += count;
      ++cells_.back().places;
      return;
    }
    cells_.push_back(cell);
  }

  // Of many cells in a row of one kind, inside one structure or the table, the first, the last and
  // one for all between.
  void SumUp() {
    std::vector<Cell> kept;
    for (std::size_t i = 0; i < cells_.size();) {
      std::size_t end = i + 1;
      while (end < cells_.size() && SameHolder(cells_[i], cells_[end])) ++end;
      if (end - i <= kRunsOfStructure) {
        kept.insert(kept.end(), cells_.begin() + static_cast<std::ptrdiff_t>(i),
                    cells_.begin() + static_cast<std::ptrdiff_t>(end));
      } else {
        kept.push_back(cells_[i]);
        kept.push_back(cells_[i + 1]);
        Cell between = cells_[i + 2];
        for (std::size_t j = i + 3; j + 1 < end; ++j) {
          between.count += cells_[j].count;
          ++between.places;
        }
        kept.push_back(between);
        kept.push_back(cells_[end - 1]);
      }
      i = end;
    }
    cells_ = std::move(kept);
  }

  // Whether both are of the table, or of the same structures.
  bool SameHolder(const Cell& a, const Cell& b) const {
    if (a.kind != b.kind || a.holds != b.holds) return false;
    return a.kind == Kind::kTable || HoldersOf(a) == HoldersOf(b);
  }
  std::set<std::size_t> HoldersOf(const Cell& cell) const {
    std::set<std::size_t> holders;
    for (const std::size_t each : shown_) {
      const ByteSpan span = SpanOf(map_, each);
      if (span.begin >> shift_ < cell.end() && (span.end - 1) >> shift_ >= cell.first) {
        holders.insert(each);
      }
    }
    return holders;
  }

  const RegionMap& map_;
  const std::span<const std::size_t> shown_;
  const unsigned shift_;
  std::vector<Cell> cells_;
};

}  // namespace

ByteSpan SpanOf(const RegionMap& map, std::size_t structure) {
  const Structure& each = map.structures[structure];
  const std::uint64_t begin = map.OffsetOf(each);
  return {begin, begin + std::max<std::uint64_t>(each.bytes, 1)};
}

std::vector<Cell> MakeCells(const RegionMap& map, std::span<const std::size_t> shown) {
  return Maker(map, shown).Make();
}

}  // namespace xencomm::tools

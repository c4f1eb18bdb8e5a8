// What a picture of a region draws as one box: granules that are alike.
#ifndef HCALL_TOOLS_REGION_CELLS_H_
#define HCALL_TOOLS_REGION_CELLS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hcall/tools/region_map.h"

namespace xencomm::tools {

// Granules that are drawn as one box, in the strip and among the frames.
struct Cell {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  GranuleRun::Kind kind = GranuleRun::Kind::kPayload;
  std::uint64_t physical = 0;
  std::uint64_t places = 1;  // more than one: frames that do not follow each other
  bool holds = false;        // a structure or the table
  double top = 0;
  double height = 0;
  double frame_top = 0;

  std::uint64_t end() const { return first + count; }
  bool backed() const {
    return kind == GranuleRun::Kind::kTable || kind == GranuleRun::Kind::kPayload;
  }
};

// The bytes of a structure, from the region's start.
struct ByteSpan {
  std::uint64_t begin;
  std::uint64_t end;
};
ByteSpan SpanOf(const RegionMap& map, std::size_t structure);

// All of the region, in order. What holds one of the structures `shown` is apart from what does
// not; of many runs of one structure there are the first, the last, and one cell for all between.
std::vector<Cell> MakeCells(const RegionMap& map, std::span<const std::size_t> shown);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_REGION_CELLS_H_

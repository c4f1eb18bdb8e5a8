// A region as a picture: SVG.
//
//   the op's structure      the region, in virtual order           guest-physical memory
//   +-------------+         +-------------------+ +--+
//   | cmd         |         | table             | | 0|~~~~~~~\    +----+
//   | count       |    .--->| buffer[600]       | | 2|~~~\    \~~~|    | 0x1f3000
//   | buffer    o-|---'     |                   | | 3|~~\ \~~~    +----+
//   +-------------+         +-------------------+ +--+
//
// Virtual addresses are not to scale: what lies between two places where something begins or ends
// gets the height that its label needs, and runs of granules that are alike are drawn as one.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/tools/region_cells.h"
#include "hcall/tools/region_map.h"
#include "hcall/tools/svg.h"

namespace xencomm::tools {
namespace {

using Kind = GranuleRun::Kind;

// Columns and rows, in the picture's units.
constexpr double kMargin = 32;
constexpr double kTop = 124;
constexpr double kOpX = kMargin;
constexpr double kOpWidth = 348;
constexpr double kGutter = 104;  // for the arrows
constexpr double kRegionX = kOpX + kOpWidth + kGutter;
constexpr double kRegionWidth = 292;
constexpr double kStripX = kRegionX + kRegionWidth + 8;
constexpr double kStripWidth = 58;
constexpr double kFramesX = kStripX + kStripWidth + 176;
constexpr double kFramesWidth = 132;
constexpr double kWidth = kFramesX + kFramesWidth + kMargin;
constexpr double kRow = 22;

// What is drawn one by one: more is summed up.
constexpr std::size_t kMaxRows = 14;
constexpr std::size_t kMaxShown = 26;  // structures

constexpr Colour kTableColour = {"#fde7c0", "#d08a17"};
constexpr Colour kPayloadColour = {"#cfe8dc", "#2f8f6b"};
constexpr Colour kStructureColour = {"#e3ecfa", "#3f6fb5"};
constexpr Colour kEmptyColour = {"#f0f1f3", "#b9bfc7"};

Colour ColourOf(Kind kind) {
  return kind == Kind::kTable     ? kTableColour
         : kind == Kind::kPayload ? kPayloadColour
                                  : kEmptyColour;
}

// At most `most` characters, the end kept: of a path that is what tells.
std::string KeepEnd(const std::string& text, std::size_t most) {
  return text.size() <= most ? text : absl::StrCat("…", text.substr(text.size() - most + 1));
}
std::string KeepStart(const std::string& text, std::size_t most) {
  return text.size() <= most ? text : absl::StrCat(text.substr(0, most - 1), "…");
}

class Picture {
 public:
  explicit Picture(const RegionMap& map) : map_(map), shift_(map.layout.granule_shift()) {
    for (std::size_t i = 0; i < map.structures.size() && i < kMaxShown; ++i) shown_.push_back(i);
    std::sort(shown_.begin(), shown_.end(), [&](std::size_t a, std::size_t b) {
      return map.OffsetOf(map.structures[a]) < map.OffsetOf(map.structures[b]);
    });
    cells_ = MakeCells(map, shown_);
    PlaceRegion();
    PlaceFrames();
  }

  std::string Draw() {
    DrawFrames();
    DrawRegion();
    DrawOp();
    DrawNestedPointers();
    return Head() + canvas_.text() + "</svg>\n";
  }

 private:
  // --- Where it is drawn ---

  // Every place where something begins or ends, with its height in the picture.
  void PlaceRegion() {
    std::set<std::uint64_t> edges;
    for (const Cell& cell : cells_) {
      edges.insert(cell.first << shift_);
      edges.insert(cell.end() << shift_);
    }
    for (const std::size_t each : shown_) {
      edges.insert(SpanOf(map_, each).begin);
      edges.insert(SpanOf(map_, each).end);
    }
    double y = kTop;
    for (auto edge = edges.begin(); edge != edges.end(); ++edge) {
      y_[*edge] = y;
      const auto next = std::next(edge);
      if (next != edges.end()) y += HeightOf(*edge, *next);
    }
    bottom_ = y;
    for (Cell& cell : cells_) {
      cell.top = y_[cell.first << shift_];
      cell.height = y_[cell.end() << shift_] - cell.top;
    }
  }

  double HeightOf(std::uint64_t begin, std::uint64_t end) const {
    for (const std::size_t each : shown_) {
      const ByteSpan span = SpanOf(map_, each);
      if (span.begin <= begin && end <= span.end) {
        // Two lines for the first part, one for each that follows.
        return begin == span.begin ? 40 : 24;
      }
    }
    const Cell& cell = CellOf(begin >> shift_);
    if (cell.holds && cell.kind == Kind::kPayload) return 12;  // what a structure leaves of it
    return cell.kind == Kind::kTable ? 28 : 32;
  }

  const Cell& CellOf(std::uint64_t granule) const {
    const auto after = std::upper_bound(
        cells_.begin(), cells_.end(), granule,
        [](std::uint64_t wanted, const Cell& cell) { return wanted < cell.first; });
    return *std::prev(after);
  }

  // By guest-physical address; what is summed up comes last, since it is everywhere.
  void PlaceFrames() {
    for (Cell& cell : cells_) {
      if (cell.backed()) frames_.push_back(&cell);
    }
    std::sort(frames_.begin(), frames_.end(), [](const Cell* a, const Cell* b) {
      return std::pair(a->places > 1, a->physical) < std::pair(b->places > 1, b->physical);
    });
    double y = kTop;
    const Cell* before = nullptr;
    for (Cell* cell : frames_) {
      if (before != nullptr) y += Adjoins(*before, *cell) ? 0 : 9;
      cell->frame_top = y;
      y += kRow;
      before = cell;
    }
    // In the middle of what they are opposite to.
    const double room = bottom_ - y;
    if (room > 0) {
      for (Cell* cell : frames_) cell->frame_top += room / 2;
    }
    bottom_ = std::max(bottom_, y);
  }

  bool Adjoins(const Cell& a, const Cell& b) const {
    return a.places == 1 && b.places == 1 && a.physical + (a.count << shift_) == b.physical;
  }

  // --- Drawing ---

  void DrawFrames() {
    for (const Cell& cell : cells_) {
      if (!cell.backed()) continue;
      canvas_.Ribbon(kStripX + kStripWidth, cell.top + 1, cell.top + cell.height - 1, kFramesX,
                     cell.frame_top + 1, cell.frame_top + kRow - 1, ColourOf(Shade(cell)).line);
    }
    for (const Cell* cell : frames_) {
      canvas_.Box(kFramesX, cell->frame_top, kFramesWidth, kRow, ColourOf(Shade(*cell)));
      const std::string where =
          cell->places > 1
              ? absl::StrFormat("%u places", cell->places)
              : absl::StrCat(Hex(cell->physical),
                             cell->count > 1 ? absl::StrFormat(" ×%u", cell->count) : "");
      canvas_.Text(kFramesX + 10, cell->frame_top + 15, "mono", where);
    }
  }

  // An empty payload granule is drawn as empty.
  static Kind Shade(const Cell& cell) { return cell.holds ? cell.kind : Kind::kNotBacked; }

  void DrawRegion() {
    const double end = y_.rbegin()->second;
    for (const Cell& cell : cells_) {
      const Colour colour = ColourOf(Shade(cell));
      const char* const more = cell.backed() ? "" : "stroke-dasharray=\"4 3\" ";
      canvas_.Box(kStripX, cell.top, kStripWidth, cell.height, colour, 0, more);
      const std::string numbers = cell.count == 1
                                      ? absl::StrFormat("%u", cell.first)
                                      : absl::StrFormat("%u–%u", cell.first, cell.end() - 1);
      canvas_.Text(kStripX + kStripWidth / 2, cell.top + cell.height / 2 + 4,
                   numbers.size() > 8 ? "tiny middle" : "small middle", numbers);
      // Behind the structures.
      canvas_.Box(kRegionX, cell.top, kRegionWidth, cell.height, {colour.fill, "none"}, 0,
                  "fill-opacity=\"0.55\" ");
      if (!cell.holds || cell.kind == Kind::kTable) DrawLabel(cell);
    }
    for (const std::size_t each : shown_) DrawStructure(each);
    canvas_.Box(kRegionX, kTop, kRegionWidth, end - kTop, {"none", "#5b6470"}, 0);
  }

  void DrawLabel(const Cell& cell) {
    std::string text = "table";
    if (cell.kind == Kind::kPayload) text = "backed, nothing in it";
    if (!cell.backed()) text = Word(cell.kind);
    if (cell.kind == Kind::kTable && cell.first == 0) text = "table: header and bases";
    canvas_.Text(kRegionX + 12, cell.top + cell.height / 2 + 4, "small", text);
    canvas_.Text(kRegionX + kRegionWidth - 10, cell.top + cell.height / 2 + 4, "mono grey end",
                 absl::StrCat("+", Hex(cell.first << shift_)));
  }

  void DrawStructure(std::size_t index) {
    const Structure& each = map_.structures[index];
    const ByteSpan span = SpanOf(map_, index);
    const double top = y_[span.begin];
    canvas_.Box(kRegionX + 6, top + 1.5, kRegionWidth - 12, y_[span.end] - top - 3,
                kStructureColour);
    const std::string count = each.count == 1 ? "" : absl::StrFormat("[%u]", each.count);
    canvas_.Text(kRegionX + 16, top + 17, "bold",
                 absl::StrCat(KeepEnd(LastPart(each.name), 20), count));
    canvas_.Text(kRegionX + kRegionWidth - 16, top + 17, "mono grey end",
                 absl::StrCat("+", Hex(span.begin)));
    canvas_.Text(kRegionX + 16, top + 32, "small grey",
                 absl::StrCat(KeepStart(each.type, 32), ", ", Bytes(each.bytes)));
  }

  static std::string LastPart(const std::string& path) {
    const std::size_t dot = path.rfind('.');
    return dot == std::string::npos ? path : path.substr(dot + 1);
  }

  // The first structure's fields, each pointer with its arrow.
  void DrawOp() {
    if (map_.structures.empty()) return;
    const Structure& op = map_.structures.front();
    std::vector<const ShownField*> rows;
    std::size_t pointers = 0;
    for (const ShownField& field : op.fields) pointers += field.target ? 1 : 0;
    std::size_t others = pointers < kMaxRows ? kMaxRows - pointers : 0;
    for (const ShownField& field : op.fields) {
      if (rows.size() == 2 * kMaxRows || (!field.target && others == 0)) continue;
      if (!field.target) --others;
      rows.push_back(&field);
    }
    const std::size_t left_out = op.fields.size() - rows.size();
    const double height = 40 + kRow * static_cast<double>(rows.size() + (left_out != 0 ? 1 : 0));
    const double top = kTop;
    bottom_ = std::max(bottom_, top + height + 8);

    // It is its own block in the region, enlarged.
    const ByteSpan span = SpanOf(map_, 0);
    const double block_top = y_[span.begin] + 2;
    const double block_bottom = y_[span.end] - 2;
    canvas_.Add(
        absl::StrFormat("<path d=\"M%.1f %.1f L%.1f %.1f L%.1f %.1f L%.1f %.1f Z\" fill=\"%s\" "
                        "fill-opacity=\"0.45\"/>",
                        kOpX + kOpWidth, top, kRegionX + 6, block_top, kRegionX + 6, block_bottom,
                        kOpX + kOpWidth, top + height, kStructureColour.fill));
    canvas_.Box(kOpX, top, kOpWidth, height, {"#ffffff", kStructureColour.line}, 5,
                "stroke-width=\"1.4\" ");
    canvas_.Box(kOpX, top, kOpWidth, 28, kStructureColour, 5);
    canvas_.Text(kOpX + 12, top + 18, "bold",
                 op.count == 1 ? absl::StrCat("struct ", op.type)
                               : absl::StrFormat("struct %s[%u]", op.type, op.count));
    double y = top + 34;
    for (const ShownField* row : rows) {
      DrawField(*row, y);
      y += kRow;
    }
    if (left_out != 0) {
      canvas_.Text(kOpX + 46, y + 15, "small grey",
                   absl::StrFormat("%u more field%s", left_out, left_out == 1 ? "" : "s"));
    }
  }

  void DrawField(const ShownField& field, double y) {
    canvas_.Text(kOpX + 36, y + 15, "mono grey end", absl::StrFormat("%u", field.offset));
    canvas_.Text(kOpX + 46, y + 15, field.target ? "bold" : "small", KeepEnd(field.name, 30));
    if (!field.target) {
      const std::size_t room = field.name.size() < 30 ? 46 - field.name.size() : 16;
      canvas_.Text(kOpX + kOpWidth - 12, y + 15, "mono end", KeepEnd(field.value, room));
      return;
    }
    canvas_.Dot(kOpX + kOpWidth - 12, y + 11, kStructureColour.line);
    const Structure& target = map_.structures[*field.target];
    const auto place = y_.find(map_.OffsetOf(target));
    if (!IsShown(*field.target) || place == y_.end()) {
      canvas_.Text(kOpX + kOpWidth - 22, y + 15, "mono grey end",
                   absl::StrCat("+", Hex(map_.OffsetOf(target))));
      return;
    }
    canvas_.Curve(kOpX + kOpWidth - 12, y + 11, kRegionX + 4, place->second + 13, "arrow");
  }

  bool IsShown(std::size_t index) const {
    return std::find(shown_.begin(), shown_.end(), index) != shown_.end();
  }

  // Pointers that stand in other buffers than the op's own structure.
  void DrawNestedPointers() {
    for (const std::size_t from : shown_) {
      if (from == 0) continue;
      double leave = 0;
      for (const ShownField& field : map_.structures[from].fields) {
        if (!field.target || !IsShown(*field.target)) continue;
        const double y1 = y_[SpanOf(map_, from).begin] + 27 + leave;
        const double y2 = y_[SpanOf(map_, *field.target).begin] + 13;
        leave = std::min(leave + 3, 9.0);
        const double far = y2 > y1 ? y2 - y1 : y1 - y2;
        canvas_.Loop(kRegionX + 5, y1, y2, std::min(24 + far * 0.22, kGutter * 0.85),
                     "arrow nested");
      }
    }
  }

  // --- Around it ---

  std::string Head() {
    const double legend = bottom_ + 30;
    std::string head = absl::StrFormat(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
        "height=\"%.0f\">\n",
        kWidth, legend + 34, kWidth, legend + 34);
    absl::StrAppend(&head, R"(<style>
text { font: 12.5px "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1f2933; }
.title { font-size: 19px; font-weight: bold; }
.column { font-size: 12px; font-weight: bold; fill: #5b6470; }
.bold { font-weight: bold; font-size: 12px; }
.small { font-size: 11.5px; }
.tiny { font-size: 9px; }
.mono { font: 11.5px "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.grey { fill: #66707c; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.arrow { fill: none; stroke: #3f6fb5; stroke-width: 1.6; marker-end: url(#tip); }
.nested { stroke: #a33d7c; marker-end: url(#nested-tip); }
</style>
<defs>
)");
    for (const auto& [id, colour] :
         {std::pair("tip", "#3f6fb5"), std::pair("nested-tip", "#a33d7c")}) {
      absl::StrAppendFormat(&head,
                            "<marker id=\"%s\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
                            "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">"
                            "<path d=\"M0 0.6 L8 4 L0 7.4 Z\" fill=\"%s\"/></marker>\n",
                            id, colour);
    }
    absl::StrAppend(&head, "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    Canvas around;
    const RegionLayout& layout = map_.layout;
    around.Text(kMargin, 40, "title", map_.call.empty() ? "A region" : map_.call);
    around.Text(
        kMargin, 64, "grey",
        absl::StrFormat("A region of %s at %#x: %u granules of %s, its header at "
                        "guest-physical %#x. Addresses in it are counted from its start.",
                        Bytes(layout.length()), layout.virtual_base().value, layout.base_count(),
                        Bytes(layout.granule_size()), map_.header.value));
    if (!map_.structures.empty()) {
      around.Text(kOpX, kTop - 14, "column", "the op's structure, enlarged");
    }
    around.Text(kRegionX, kTop - 14, "column", "the region, in virtual order");
    around.Text(kStripX + kStripWidth / 2, kTop - 14, "column middle", "granules");
    around.Text(kFramesX, kTop - 14, "column", "guest-physical");
    DrawLegend(around, legend);
    return head + around.text();
  }

  void DrawLegend(Canvas& around, double y) {
    double x = kMargin;
    for (const auto& [colour, text] :
         {std::pair(kTableColour, "the region's table"), std::pair(kPayloadColour, "payload"),
          std::pair(kStructureColour, "what the call points at"),
          std::pair(kEmptyColour, "nothing in it")}) {
      around.Box(x, y, 16, 12, colour, 2);
      around.Text(x + 23, y + 10.5, "small", text);
      x += 48 + 6.6 * static_cast<double>(std::string(text).size());
    }
    if (map_.structures.size() < 2) return;
    around.Curve(x, y + 6, x + 26, y + 6, "arrow");
    around.Text(x + 34, y + 10.5, "small", "pointer");
    around.Curve(x + 100, y + 6, x + 126, y + 6, "arrow nested");
    around.Text(x + 134, y + 10.5, "small", "pointer in a buffer");
    const std::size_t rest = map_.structures.size() - shown_.size();
    if (rest != 0) {
      around.Text(
          kWidth - kMargin, y + 10.5, "small grey end",
          absl::StrFormat("%u%s more structures are not drawn", rest, map_.cut ? " and" : ""));
    }
  }

  const RegionMap& map_;
  const unsigned shift_;
  std::vector<std::size_t> shown_;  // structures, by address
  std::vector<Cell> cells_;
  std::vector<Cell*> frames_;          // those with memory, by its address
  std::map<std::uint64_t, double> y_;  // of offsets into the region
  double bottom_ = 0;
  Canvas canvas_;
};

}  // namespace

std::string RegionPicture(const RegionMap& map) { return Picture(map).Draw(); }

}  // namespace xencomm::tools

// SVG, element by element. Lengths are in the picture's units.
#ifndef HCALL_TOOLS_SVG_H_
#define HCALL_TOOLS_SVG_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace xencomm::tools {

struct Colour {
  const char* fill;
  const char* line;
};

inline std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// SVG's elements, one line each.
class Canvas {
 public:
  void Box(double x, double y, double width, double height, Colour colour, double radius = 3,
           const char* more = "") {
    absl::StrAppendFormat(&out_,
                          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.1f\" "
                          "fill=\"%s\" stroke=\"%s\" %s/>\n",
                          x, y, width, height, radius, colour.fill, colour.line, more);
  }
  void Text(double x, double y, const char* style, const std::string& text) {
    absl::StrAppendFormat(&out_, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y,
                          style, Escaped(text));
  }
  // From (x1, y1) to (x2, y2), leaving and arriving level.
  void Curve(double x1, double y1, double x2, double y2, const char* style) {
    const double bend = (x2 - x1) / 2;
    absl::StrAppendFormat(&out_,
                          "<path class=\"%s\" d=\"M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n",
                          style, x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2);
  }
  // From the left side of one box to the left side of another, out by `reach`.
  void Loop(double x, double y1, double y2, double reach, const char* style) {
    absl::StrAppendFormat(&out_,
                          "<path class=\"%s\" d=\"M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n",
                          style, x, y1, x - reach, y1, x - reach, y2, x, y2);
  }
  // The band between two vertical edges.
  void Ribbon(double x1, double top1, double bottom1, double x2, double top2, double bottom2,
              const char* colour) {
    const double middle = (x1 + x2) / 2;
    absl::StrAppendFormat(&out_,
                          "<path d=\"M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f L%.1f %.1f C%.1f "
                          "%.1f %.1f %.1f %.1f %.1f Z\" fill=\"%s\" fill-opacity=\"0.28\"/>\n",
                          x1, top1, middle, top1, middle, top2, x2, top2, x2, bottom2, middle,
                          bottom2, middle, bottom1, x1, bottom1, colour);
  }
  void Dot(double x, double y, const char* fill) {
    absl::StrAppendFormat(&out_, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"/>\n", x, y,
                          fill);
  }
  void Add(const std::string& element) { absl::StrAppend(&out_, element, "\n"); }
  const std::string& text() const { return out_; }

 private:
  std::string out_;
};

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_SVG_H_

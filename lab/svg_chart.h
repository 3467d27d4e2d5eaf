// A small chart as inline SVG: time to the right, lines, signs or lanes, the cut shaded. Colours
// come from the page's style sheet by class, so that light, dark and print are settled in one
// place. Colour is never needed to tell things apart: lines differ by their dashes, outcomes by the
// shape of their sign. Drawn 420 wide: legible both on a telephone and beside another one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace capstan::lab {

// `text` made harmless inside HTML and its attributes. Control characters become U+FFFD.
std::string escaped(std::string_view text);

// What became of a write, from good to bad: a full disc, a half one, a cross, "?" and "!", in the
// shapes and colours that node/terminal.h gives them in a terminal.
enum class Sign { kOk, kLocal, kRefused, kUnknown, kLost };

// Its word and its CSS class: ok, ok-local, refused, unknown, lost.
std::string_view to_text(Sign sign);

// A sign in running text, hidden from those who hear its word anyway.
std::string inline_sign(Sign sign);

struct ChartSeries {
  std::string name;
  std::string style;                                // CSS class of a line: n1, others, apart
  std::optional<Sign> sign{};                       // its points one by one instead of a line
  std::vector<std::pair<double, double>> points{};  // seconds, value or lane; ascending
};

struct Chart {
  std::string title;  // heard by those who cannot see it, with `summary`
  std::string summary;
  std::string unit;    // of the vertical axis
  double seconds = 0;  // of the horizontal one
  double cut_from = 0, cut_to = 0;
  std::string cut_text{};            // above the shaded part
  bool logarithmic = false;          // values below `least` are drawn at it
  double least = 0.1;                //
  double top = 0;                    // the vertical axis reaches at least this
  double gap = 1e9;                  // seconds without a point that end a line
  std::vector<std::string> lanes{};  // instead of a vertical axis; the cut runs below the first
  std::vector<ChartSeries> series{};
};

// Gives both the same vertical axis, so that heights can be compared.
void same_scale(Chart& a, Chart& b);

std::string svg(const Chart& chart);

}  // namespace capstan::lab

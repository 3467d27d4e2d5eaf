// A small chart as inline SVG: time to the right, lines and marks, the cut shaded. Colours come
// from the page's style sheet by class, so that light, dark and print are settled in one place;
// lines also differ by their dashes, so colour is never needed to tell them apart.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace capstan::lab {

// `text` made harmless inside HTML and its attributes. Control characters become U+FFFD.
std::string escaped(std::string_view text);

struct ChartSeries {
  std::string name;
  std::string style;                                // CSS class: s1, s2, refused, unknown
  bool marks = false;                               // single points instead of a line
  std::vector<std::pair<double, double>> points{};  // seconds, value; ascending
};

struct Chart {
  std::string title;  // heard by those who cannot see it, with `summary`
  std::string summary;
  std::string unit;    // of the vertical axis
  double seconds = 0;  // of the horizontal one
  double cut_from = 0, cut_to = 0;
  bool logarithmic = false;  // values below `least` are drawn at it
  double least = 0.1;
  std::vector<ChartSeries> series{};
};

std::string svg(const Chart& chart);

}  // namespace capstan::lab

#include "lab/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace capstan::lab {
namespace {

constexpr double kWidth = 720, kHeight = 210;
constexpr double kLeft = 64, kRight = 12, kTop = 26, kBottom = 26;

std::string number(double value, int digits = 1) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string tick_text(double value) {
  if (value >= 1 || value == 0)
    return number(value, value < 10 && value != std::floor(value) ? 1 : 0);
  return number(value, value >= 0.1 ? 1 : 2);
}

// Where a chart's values stand on the page.
class Axes {
 public:
  explicit Axes(const Chart& chart) : chart_(chart) {
    double largest = 0;
    for (const ChartSeries& series : chart.series) {
      for (const auto& [x, y] : series.points) largest = std::max(largest, y);
    }
    if (chart.logarithmic) {
      low_ = std::floor(std::log10(chart.least));
      high_ = std::max(low_ + 1, std::ceil(std::log10(std::max(largest, chart.least))));
      for (double e = low_; e <= high_; ++e) ticks_.push_back(std::pow(10.0, e));
      return;
    }
    const double rough = std::max(largest, 1.0) / 4;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    double step = 10 * power;
    for (double factor : {1.0, 2.0, 5.0}) {
      if (factor * power >= rough) {
        step = factor * power;
        break;
      }
    }
    high_ = step * std::max(1.0, std::ceil(largest / step));
    for (double v = 0; v <= high_ + step / 2; v += step) ticks_.push_back(v);
  }

  double x(double seconds) const {
    return kLeft + (kWidth - kLeft - kRight) * seconds / std::max(chart_.seconds, 1e-9);
  }
  double y(double value) const {
    const double v = chart_.logarithmic ? std::log10(std::max(value, chart_.least)) : value;
    return kHeight - kBottom - (kHeight - kTop - kBottom) * (v - low_) / (high_ - low_);
  }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  const Chart& chart_;
  double low_ = 0, high_ = 1;
  std::vector<double> ticks_;
};

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" +
         escaped(text) + "</text>";
}

std::string frame(const Chart& chart, const Axes& axes) {
  std::string out = "<rect class=\"cut\" x=\"" + number(axes.x(chart.cut_from)) + "\" y=\"" +
                    number(kTop) + "\" width=\"" +
                    number(axes.x(chart.cut_to) - axes.x(chart.cut_from)) + "\" height=\"" +
                    number(kHeight - kTop - kBottom) + "\"/>";
  for (double tick : axes.ticks()) {
    const std::string y = number(axes.y(tick));
    out += "<line class=\"grid\" x1=\"" + number(kLeft) + "\" x2=\"" + number(kWidth - kRight) +
           "\" y1=\"" + y + "\" y2=\"" + y + "\"/>" +
           text_at(kLeft - 6, axes.y(tick) + 4, "end", tick_text(tick));
  }
  const double step = chart.seconds > 8 ? 2 : 1;
  for (double t = 0; t <= chart.seconds; t += step) {
    out += text_at(axes.x(t), kHeight - 8, "middle", tick_text(t) + (t == 0 ? " s" : ""));
  }
  out += text_at(4, 14, "start", chart.unit);
  out += text_at(axes.x((chart.cut_from + chart.cut_to) / 2), kTop + 12, "middle", "cut");
  return out;
}

std::string drawn(const ChartSeries& series, const Axes& axes) {
  std::string out;
  if (series.marks) {
    for (const auto& [x, y] : series.points) {
      const double px = axes.x(x), py = axes.y(y);
      out += "M" + number(px - 2.5) + ' ' + number(py - 2.5) + "l5 5m0 -5l-5 5";
    }
  } else {
    for (const auto& [x, y] : series.points) {
      out += (out.empty() ? "M" : "L") + number(axes.x(x)) + ' ' + number(axes.y(y));
    }
  }
  if (out.empty()) return "";
  return "<path class=\"" + series.style + "\" d=\"" + out + "\"/>";
}

std::string legend(const Chart& chart) {
  std::string out;
  double right = kWidth - kRight;
  for (auto series = chart.series.rbegin(); series != chart.series.rend(); ++series) {
    right -= 7.0 * static_cast<double>(series->name.size()) + 4;
    out += text_at(right, 14, "start", series->name);
    right -= 30;
    out += series->marks
               ? "<path class=\"" + series->style + "\" d=\"M" + number(right + 13) +
                     " 7l5 5m0 -5l-5 5\"/>"
               : "<path class=\"" + series->style + "\" d=\"M" + number(right) + " 10h24\"/>";
    right -= 10;
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
          out += "\xef\xbf\xbd";
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::string svg(const Chart& chart) {
  const Axes axes(chart);
  std::string out = "<svg viewBox=\"0 0 " + number(kWidth, 0) + ' ' + number(kHeight, 0) +
                    "\" role=\"img\" aria-label=\"" + escaped(chart.title + ". " + chart.summary) +
                    "\"><title>" + escaped(chart.title) + "</title>";
  out += frame(chart, axes);
  for (const ChartSeries& series : chart.series) out += drawn(series, axes);
  return out + legend(chart) + "</svg>\n";
}

}  // namespace capstan::lab

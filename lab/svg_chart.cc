#include "lab/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace capstan::lab {
namespace {

constexpr double kWidth = 420, kPlotHeight = 150, kLaneHeight = 26;
constexpr double kLeft = 46, kRight = 16, kTop = 42, kBottom = 24;
constexpr double kSignRadius = 4;

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

double largest(const Chart& chart) {
  double largest = chart.top;
  for (const ChartSeries& series : chart.series) {
    for (const auto& [x, y] : series.points) largest = std::max(largest, y);
  }
  return largest;
}

// Where a chart's values stand on the page.
class Axes {
 public:
  explicit Axes(const Chart& chart) : chart_(chart) {
    const double most = largest(chart);
    if (!chart.lanes.empty()) {
      height_ = kLaneHeight * static_cast<double>(chart.lanes.size());
    } else if (chart.logarithmic) {
      low_ = std::floor(std::log10(chart.least));
      high_ = std::max(low_ + 1, std::ceil(std::log10(std::max(most, chart.least))));
      for (double e = low_; e <= high_; ++e) ticks_.push_back(std::pow(10.0, e));
    } else {
      const double step = round_step(std::max(most, 1.0) / 4);
      high_ = step * std::max(1.0, std::ceil(most / step));
      for (double v = 0; v <= high_ + step / 2; v += step) ticks_.push_back(v);
    }
  }

  double x(double seconds) const {
    return kLeft + (kWidth - kLeft - kRight) * seconds / std::max(chart_.seconds, 1e-9);
  }
  double y(double value) const {
    if (!chart_.lanes.empty()) return kTop + (value + 0.5) * kLaneHeight;
    const double v = chart_.logarithmic ? std::log10(std::max(value, chart_.least)) : value;
    return bottom() - height_ * (v - low_) / (high_ - low_);
  }
  double height() const { return height_; }
  double bottom() const { return kTop + height_; }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  // The next of 1, 2, 5, 10, 20, 50 ...
  static double round_step(double rough) {
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    for (double factor : {1.0, 2.0, 5.0}) {
      if (factor * power >= rough) return factor * power;
    }
    return 10 * power;
  }

  const Chart& chart_;
  double height_ = kPlotHeight, low_ = 0, high_ = 1;
  std::vector<double> ticks_;
};

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" +
         escaped(text) + "</text>";
}

std::string line_at(const char* style, double x1, double x2, double y) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + number(x1) + "\" x2=\"" + number(x2) +
         "\" y1=\"" + number(y) + "\" y2=\"" + number(y) + "\"/>";
}

// The cut reaches up between legend and plot, where no value can cover its words.
std::string cut(const Chart& chart, const Axes& axes) {
  const double from = axes.x(chart.cut_from), to = axes.x(chart.cut_to);
  std::string out = "<rect class=\"cut\" x=\"" + number(from) + "\" y=\"" + number(kTop - 18) +
                    "\" width=\"" + number(to - from) + "\" height=\"" +
                    number(axes.height() + 18) + "\"/>";
  out += text_at((from + to) / 2, kTop - 5, "middle", chart.cut_text);
  if (!chart.lanes.empty()) out += line_at("split", from, to, kTop + kLaneHeight);
  return out;
}

std::string frame(const Chart& chart, const Axes& axes) {
  std::string out = cut(chart, axes);
  for (double tick : axes.ticks()) {
    out += line_at("grid", kLeft, kWidth - kRight, axes.y(tick)) +
           text_at(kLeft - 6, axes.y(tick) + 4, "end", tick_text(tick));
  }
  for (std::size_t lane = 0; lane < chart.lanes.size(); ++lane) {
    const double y = axes.y(static_cast<double>(lane));
    out += line_at("grid", kLeft, kWidth - kRight, y) +
           text_at(kLeft - 10, y + 4, "end", chart.lanes[lane]);
  }
  const double step = chart.seconds > 8 ? 2 : 1;
  for (double t = 0; t <= chart.seconds; t += step) {
    out += text_at(axes.x(t), axes.bottom() + 17, "middle", tick_text(t) + " s");
  }
  return out + text_at(4, 14, "start", chart.unit);
}

// One path with all of a series' signs, in page coordinates; "?" and "!" are letters.
std::string signs(Sign sign, const std::vector<std::pair<double, double>>& at) {
  const std::string style(to_text(sign));
  const std::string r = number(kSignRadius, 0), d = number(2 * kSignRadius, 0);
  const std::string half = "a" + r + ' ' + r + " 0 0 0 0 " + d;
  std::string filled, drawn, letters;
  for (const auto& [x, y] : at) {
    const std::string top = "M" + number(x) + ' ' + number(y - kSignRadius);
    switch (sign) {
      case Sign::kOk:
        filled += top + half + "a" + r + ' ' + r + " 0 0 0 0 -" + d;
        break;
      case Sign::kLocal:
        filled += top + half;
        drawn += top + "a" + r + ' ' + r + " 0 0 1 0 " + d;
        break;
      case Sign::kRefused:
        drawn += "M" + number(x - 3) + ' ' + number(y - 3) + "l6 6m0 -6l-6 6";
        break;
      case Sign::kUnknown:
      case Sign::kLost:
        letters += "<text class=\"sign " + style + "\" x=\"" + number(x) + "\" y=\"" +
                   number(y + 4.5) + "\" text-anchor=\"middle\">" +
                   (sign == Sign::kLost ? '!' : '?') + "</text>";
        break;
    }
  }
  if (!filled.empty()) filled = "<path class=\"full " + style + "\" d=\"" + filled + "\"/>";
  if (!drawn.empty()) drawn = "<path class=\"" + style + "\" d=\"" + drawn + "\"/>";
  return filled + drawn + letters;
}

std::string line(const ChartSeries& series, const Chart& chart, const Axes& axes) {
  std::string out;
  double before = -1e9;
  for (const auto& [x, y] : series.points) {
    const std::string at = number(axes.x(x)) + ' ' + number(axes.y(y));
    out +=
        x - before > chart.gap || out.empty() ? "M" + at + "h0" : "L" + at;  // h0: a dot if alone
    before = x;
  }
  return "<path class=\"" + series.style + "\" d=\"" + out + "\"/>";
}

std::string drawn(const ChartSeries& series, const Chart& chart, const Axes& axes) {
  if (series.points.empty()) return "";
  if (!series.sign) return line(series, chart, axes);
  std::vector<std::pair<double, double>> at;
  for (const auto& [x, y] : series.points) at.emplace_back(axes.x(x), axes.y(y));
  return signs(*series.sign, at);
}

// From the right, the first series leftmost. What does not occur needs no entry.
std::string legend(const Chart& chart) {
  std::string out;
  double right = kWidth - kRight;
  for (auto series = chart.series.rbegin(); series != chart.series.rend(); ++series) {
    if (series->points.empty() || series->name.empty()) continue;
    right -= 7.5 * static_cast<double>(series->name.size()) + 4;
    out += text_at(right, 14, "start", series->name);
    if (series->sign) {
      right -= 9;
      out += signs(*series->sign, {{right, 10}});
      right -= 14;
    } else {
      right -= 30;
      out += "<path class=\"" + series->style + "\" d=\"M" + number(right) + " 10h24\"/>";
      right -= 10;
    }
  }
  return out;
}

}  // namespace

std::string_view to_text(Sign sign) {
  switch (sign) {
    case Sign::kOk:
      return "ok";
    case Sign::kLocal:
      return "ok-local";
    case Sign::kRefused:
      return "refused";
    case Sign::kUnknown:
      return "unknown";
    case Sign::kLost:
      return "lost";
  }
  return "";
}

std::string inline_sign(Sign sign) {
  return "<svg class=\"inline\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">" +
         signs(sign, {{7, 7}}) + "</svg>";
}

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

void same_scale(Chart& a, Chart& b) { a.top = b.top = std::max(largest(a), largest(b)); }

std::string svg(const Chart& chart) {
  const Axes axes(chart);
  std::string out = "<svg viewBox=\"0 0 " + number(kWidth, 0) + ' ' +
                    number(axes.bottom() + kBottom, 0) + "\" role=\"img\" aria-label=\"" +
                    escaped(chart.title + ". " + chart.summary) + "\"><title>" +
                    escaped(chart.title) + "</title>";
  out += frame(chart, axes);
  for (const ChartSeries& series : chart.series) out += drawn(series, chart, axes);
  return out + legend(chart) + "</svg>\n";
}

}  // namespace capstan::lab

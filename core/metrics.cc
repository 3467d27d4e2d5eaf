#include "core/metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "core/check.h"

namespace capstan {

// Values below 2^kSubBits have a bucket each; above, each power of two has 2^kSubBits of them.
std::size_t Histogram::bucket_of(std::uint64_t value) {
  if (value < (1u << kSubBits)) return static_cast<std::size_t>(value);
  const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
  const unsigned shift = power - kSubBits;
  const std::uint64_t sub = (value >> shift) - (1u << kSubBits);
  return ((static_cast<std::size_t>(shift) + 1) << kSubBits) + static_cast<std::size_t>(sub);
}

// The largest value of a bucket.
std::uint64_t Histogram::upper_of(std::size_t bucket) {
  if (bucket < (1u << kSubBits)) return bucket;
  const std::size_t shift = (bucket >> kSubBits) - 1;
  const std::uint64_t sub = (bucket & ((1u << kSubBits) - 1)) + (1u << kSubBits);
  return ((sub + 1) << shift) - 1;
}

void Histogram::record(std::uint64_t value, std::uint64_t times) {
  if (times == 0) return;
  const std::size_t bucket = bucket_of(value);
  CAPSTAN_ASSERT(bucket < kBuckets);
  if (bucket >= counts_.size()) counts_.resize(bucket + 1);
  counts_[bucket] += times;
  count_ += times;
  sum_ += value * times;
  max_ = std::max(max_, value);
}

void Histogram::record_corrected(std::uint64_t value, std::uint64_t interval) {
  record(value);
  if (interval == 0) return;
  for (std::uint64_t missed = value; missed > interval;) {
    missed -= interval;
    record(missed);
  }
}

void Histogram::merge(const Histogram& other) {
  if (counts_.size() < other.counts_.size()) counts_.resize(other.counts_.size());
  for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

void Histogram::clear() { *this = Histogram(); }

double Histogram::mean() const {
  return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::uint64_t Histogram::quantile(double q) const {
  if (count_ == 0) return 0;
  const double rank = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
  const std::uint64_t wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(rank));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(upper_of(i), max_);
  }
  return max_;
}

std::uint64_t Histogram::count_at_most(std::uint64_t value) const {
  const std::size_t last = bucket_of(value);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size() && i <= last; ++i) seen += counts_[i];
  return seen;
}

namespace {

std::string number(double value) {
  char text[32];
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    std::snprintf(text, sizeof text, "%.9g", value);
  }
  return text;
}

void sample(std::string& out, std::string_view name, std::string_view suffix,
            std::string_view labels, double value) {
  out.append(name).append(suffix);
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out.append(" ").append(number(value)).append("\n");
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view help, std::string_view type) {
  if (name == last_family_) return;
  last_family_ = name;
  out_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  out_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void MetricsText::counter(std::string_view name, std::string_view help, std::string_view labels,
                          double value) {
  family(name, help, "counter");
  sample(out_, name, "", labels, value);
}

void MetricsText::gauge(std::string_view name, std::string_view help, std::string_view labels,
                        double value) {
  family(name, help, "gauge");
  sample(out_, name, "", labels, value);
}

void MetricsText::histogram_seconds(std::string_view name, std::string_view help,
                                    std::string_view labels, const Histogram& micros) {
  family(name, help, "histogram");
  const std::string before = labels.empty() ? "" : std::string(labels) + ",";
  for (std::uint64_t bound = 64; bound <= (64u << 18); bound *= 2) {  // 64 us to 16.8 s
    const std::string le = before + "le=\"" + number(static_cast<double>(bound) * 1e-6) + "\"";
    sample(out_, name, "_bucket", le, static_cast<double>(micros.count_at_most(bound)));
  }
  sample(out_, name, "_bucket", before + "le=\"+Inf\"", static_cast<double>(micros.count()));
  sample(out_, name, "_sum", labels, static_cast<double>(micros.sum()) * 1e-6);
  sample(out_, name, "_count", labels, static_cast<double>(micros.count()));
}

}  // namespace capstan

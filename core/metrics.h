// Counters and latency histograms, and their Prometheus text. One thread writes; a histogram is
// log-linear with two significant digits, mergeable, bounded (about 1 700 buckets of 8 bytes).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace capstan {

class Histogram {
 public:
  void record(std::uint64_t value, std::uint64_t times = 1);
  // Coordinated omission: a closed loop that should have sent every `interval` and was stuck for
  // `value` also missed the requests in between; record them too. [Tene]
  void record_corrected(std::uint64_t value, std::uint64_t interval);
  void merge(const Histogram& other);
  void clear();

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  double mean() const;
  // The value at quantile q in [0, 1], exact to 1 %; 0 when empty.
  std::uint64_t quantile(double q) const;
  std::uint64_t sum() const { return sum_; }
  // How many recorded values were <= value (to the histogram's resolution).
  std::uint64_t count_at_most(std::uint64_t value) const;

 private:
  static constexpr unsigned kSubBits = 7;  // 128 sub-buckets a power of two: < 1 % error
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  static std::size_t bucket_of(std::uint64_t value);
  static std::uint64_t upper_of(std::size_t bucket);
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

// Builds /metrics (text 0.0.4): one HELP and TYPE a family, samples grouped.
class MetricsText {
 public:
  void counter(std::string_view name, std::string_view help, std::string_view labels, double value);
  void gauge(std::string_view name, std::string_view help, std::string_view labels, double value);
  // In seconds, from a histogram of microseconds.
  void histogram_seconds(std::string_view name, std::string_view help, std::string_view labels,
                         const Histogram& micros);
  std::string take() { return std::move(out_); }

 private:
  void family(std::string_view name, std::string_view help, std::string_view type);
  std::string out_;
  std::string last_family_;
};

}  // namespace capstan

#include "core/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/random.h"

namespace capstan {
namespace {

TEST_CASE("histogram: every quantile is within 1 % of the sorted data") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed ", seed);
    Rng rng{seed};
    Histogram histogram;
    std::vector<std::uint64_t> sorted;
    std::uint64_t sum = 0;
    for (int i = 0; i < 3000; ++i) {
      const std::uint64_t value = rng.next() >> (20 + rng.below(44));
      histogram.record(value);
      sorted.push_back(value);
      sum += value;
    }
    std::ranges::sort(sorted);
    CHECK(histogram.count() == sorted.size());
    CHECK(histogram.max() == sorted.back());
    CHECK(histogram.sum() == sum);
    for (const double q : {0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const double rank = std::max(1.0, std::ceil(q * static_cast<double>(sorted.size())));
      const std::uint64_t exact = sorted[static_cast<std::size_t>(rank) - 1];
      const std::uint64_t got = histogram.quantile(q);
      CHECK(got >= exact);
      CHECK(static_cast<double>(got - exact) <= 0.01 * static_cast<double>(exact));
    }
  }
}

TEST_CASE("histogram: the largest value has a bucket, and nothing recorded gives 0") {
  Histogram histogram;
  CHECK(histogram.quantile(0.99) == 0);
  CHECK(histogram.mean() == 0);
  histogram.record(~0ull);
  CHECK(histogram.quantile(0.5) == ~0ull);
}

TEST_CASE("histogram: merged, two halves are the whole") {
  Rng rng{3};
  Histogram whole, left, right;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = rng.below(1'000'000);
    whole.record(value);
    (i % 3 == 0 ? left : right).record(value);
  }
  left.merge(right);
  CHECK(left.count() == whole.count());
  for (const double q : {0.1, 0.5, 0.99, 1.0}) CHECK(left.quantile(q) == whole.quantile(q));
  CHECK(left.count_at_most(500'000) == whole.count_at_most(500'000));
}

TEST_CASE("histogram: a stall counts for the requests that were not sent meanwhile") {
  Histogram histogram;
  histogram.record_corrected(1000, 100);  // 1000, 900, ..., 100
  CHECK(histogram.count() == 10);
  CHECK(histogram.count_at_most(99) == 0);
  CHECK(histogram.sum() == 5500);
  histogram.record_corrected(50, 100);
  CHECK(histogram.count() == 11);
}

TEST_CASE("metrics: one HELP and TYPE a family, buckets cumulative") {
  MetricsText text;
  text.counter("capstan_writes_total", "Writes.", "outcome=\"ok\"", 3);
  text.counter("capstan_writes_total", "Writes.", "outcome=\"failed\"", 0);
  text.gauge("capstan_keys", "Keys.", "", 2.5);
  Histogram micros;
  micros.record(100);
  micros.record(3'000'000);
  text.histogram_seconds("capstan_sync_seconds", "Syncs.", "", micros);
  const std::string out = text.take();
  CHECK(
      out.starts_with("# HELP capstan_writes_total Writes.\n"
                      "# TYPE capstan_writes_total counter\n"
                      "capstan_writes_total{outcome=\"ok\"} 3\n"
                      "capstan_writes_total{outcome=\"failed\"} 0\n"
                      "# HELP capstan_keys Keys.\n"
                      "# TYPE capstan_keys gauge\n"
                      "capstan_keys 2.5\n"));
  CHECK(out.find("capstan_sync_seconds_bucket{le=\"6.4e-05\"} 0\n") != std::string::npos);
  CHECK(out.find("capstan_sync_seconds_bucket{le=\"0.000128\"} 1\n") != std::string::npos);
  CHECK(out.find("capstan_sync_seconds_bucket{le=\"+Inf\"} 2\n") != std::string::npos);
  CHECK(out.find("capstan_sync_seconds_sum 3.0001\n") != std::string::npos);
  CHECK(out.find("capstan_sync_seconds_count 2\n") != std::string::npos);
}

}  // namespace
}  // namespace capstan

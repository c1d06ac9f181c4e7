// Which number a label gets, and that there are never too many.

#include "troupe/label_book.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <set>
#include <string>
#include <thread>
#include <vector>

using troupe::label_book;

TEST_CASE("a label keeps its number, and each has its own", "[label_book]") {
  label_book book;
  std::set<int> numbers;
  for (int i = 0; i < 64; ++i)
    numbers.insert(book.number_of("label " + std::to_string(i)));
  CHECK(numbers.size() == 64);
  CHECK(numbers.count(label_book::none) == 0);
  CHECK(numbers.count(label_book::other) == 0);
  for (int i = 0; i < 64; ++i) {
    auto label = "label " + std::to_string(i);
    CHECK(book.label_of(book.number_of(label)) == label);
  }
}

TEST_CASE("requests without a label have a number, which has no label",
          "[label_book]") {
  label_book book;
  CHECK(book.number_of("") == label_book::none);
  CHECK(book.label_of(label_book::none).empty());
  CHECK(book.label_of(17).empty());
  CHECK(book.label_of(255).empty());
}

TEST_CASE("of a hundred thousand labels, 64 have a number and the rest are "
          "other",
          "[label_book]") {
  label_book book;
  std::array<int, label_book::size> seen{};
  for (int i = 0; i < 100'000; ++i)
    ++seen[book.number_of("request " + std::to_string(i))];
  CHECK(seen[label_book::none] == 0);
  CHECK(seen[label_book::other] == 100'000 - 64);
  CHECK(book.label_of(label_book::other) == "other");
  // Those that came first still have theirs.
  CHECK(book.label_of(book.number_of("request 7")) == "request 7");
}

TEST_CASE("a label called other is one of the others", "[label_book]") {
  label_book book;
  CHECK(book.number_of("other") == label_book::other);
}

// Failure is a number that two labels have, or a label that has two.
TEST_CASE("threads that bring labels at once agree on the numbers",
          "[label_book]") {
  label_book book;
  constexpr std::size_t labels = 100;
  std::vector<std::vector<int>> seen(4, std::vector<int>(labels));
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < seen.size(); ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < labels; ++i) {
        auto k = t % 2 ? i : labels - 1 - i;
        seen[t][k] = book.number_of(std::to_string(k));
      }
    });
  for (auto& x : threads)
    x.join();
  std::multiset<int> numbers;
  for (std::size_t i = 0; i < labels; ++i) {
    // One that found no number left was never given one.
    for (auto& mine : seen)
      CHECK(mine[i] == seen[0][i]);
    numbers.insert(seen[0][i]);
  }
  for (int n = 1; n <= 64; ++n)
    CHECK(numbers.count(n) == 1);
  CHECK(numbers.count(label_book::other) == labels - 64);
}

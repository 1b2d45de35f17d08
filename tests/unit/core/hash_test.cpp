#include "quantbound/core/hash.hpp"

#include <algorithm>
#include <span>
#include <string>

#include <gtest/gtest.h>

namespace quantbound::core {
namespace {

std::string in_pieces(const std::string& text, std::size_t piece) {
  Sha256 hash;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    hash.add(std::as_bytes(std::span(text).subspan(at, std::min(piece, text.size() - at))));
  }
  return hash.hex();
}

TEST(Sha256, IsThatOfTheStandard) {  // FIPS 180-4, the examples of NIST
  EXPECT_EQ(sha256_hex(std::string_view()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(std::string_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfPiecesIsThatOfTheWhole) {
  const std::string text(100000, 'q');
  for (const std::size_t piece : {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{99999}, text.size()}) {
    EXPECT_EQ(in_pieces(text, piece), sha256_hex(text)) << piece;
  }
  EXPECT_EQ(in_pieces("", 1), sha256_hex(std::string_view()));
}

}  // namespace
}  // namespace quantbound::core

/// JSON out: an object or list built key by key. Numbers that JSON has no word for (NaN, infinities) become null.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace quantbound::apps {

inline std::string json_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

inline std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

class JsonObject {
 public:
  JsonObject& text(std::string_view key, std::string_view value) { return raw(key, json_text(value)); }
  JsonObject& number(std::string_view key, double value) { return raw(key, json_number(value)); }
  JsonObject& integer(std::string_view key, long long value) { return raw(key, fmt::format("{}", value)); }
  /// `value` is JSON already.
  JsonObject& raw(std::string_view key, std::string_view value) {
    body_ += fmt::format("{}{}: {}", body_.empty() ? "" : ", ", json_text(key), value);
    return *this;
  }
  std::string str() const { return "{" + body_ + "}"; }

 private:
  std::string body_;
};

inline std::string json_list(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ", "));
}

}  // namespace quantbound::apps

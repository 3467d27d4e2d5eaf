// Holds every #include line to the table of floors (docs/architecture.md): which room may name
// which, and which files alone may name an outside library.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

const std::map<std::string, Names> kMayInclude = {
    {"core", {"core"}},
    {"crdt", {"core", "crdt"}},
    {"cp", {"core", "cp"}},
    {"ap", {"core", "crdt", "ap"}},
    {"net", {"core", "net", "cp", "ap", "crdt"}},
    {"node", {"core", "crdt", "cp", "ap", "net", "node"}},
    {"lab", {"core", "crdt", "cp", "ap", "net", "node", "lab"}},
};

// A pattern of the included header, and of the files that may name it.
struct Library {
  const char* header;
  const char* files;
};
const Library kLibraries[] = {
    {R"(uv\.h)", R"(net/uv_.*)"},
    {R"((capnp|kj)/.*|.*\.capnp\.h)", R"(net/codec_.*)"},
    {R"(lmdb\.h)", R"((core/lmdb_(base|space)|tests/core/lmdb_space_test)\.cc)"},
    {R"(xxhash\.h)", R"(core/hash\.cc)"},
    {R"(spdlog/.*|fmt/.*)", R"(core/trace\.cc)"},
    {R"(nghttp2/.*|google/protobuf/.*|.*\.pb\.h)", R"(net/grpc_.*)"},
    {R"(http_parser\.h)", R"(net/http_.*)"},
    {R"(CLI/.*|toml\+\+/.*|toml\.hpp)", R"(node/options.*\.cc)"},
    {R"(openssl/.*)", R"(net/(tls_.*|sha256\.cc))"},
    {R"(sodium\.h)", R"(cp/token\.cc|node/(passwords|node_auth)\.cc)"},
    {R"(nlohmann/.*)", R"((net|node|lab)/.*\.cc)"},
};

struct Include {
  std::string file, header;
  bool ours;
};

std::vector<Include> all_includes() {
  static const std::regex line_pattern(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)re");
  std::vector<Include> out;
  for (const auto& [room, unused] : kMayInclude) {
    const fs::path root(CAPSTAN_SOURCE_DIR);
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc") continue;
      std::ifstream in(entry.path());
      std::string line;
      std::smatch match;
      while (std::getline(in, line)) {
        if (std::regex_match(line, match, line_pattern)) {
          out.push_back({fs::relative(entry.path(), root), match[2], match[1] == "\""});
        }
      }
    }
  }
  return out;
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

// net/ sees of the engines only what goes over the wire.
bool is_message_header(const std::string& header) {
  return header.ends_with("/message.h") || header.ends_with("/packed.h") ||
         header.ends_with("/ports.h") || header.ends_with("/version_vector.h") ||
         header.ends_with("/dot.h");
}

TEST_CASE("tidy: no floor names a higher one, and cp and ap never see each other") {
  const std::vector<Include> includes = all_includes();
  REQUIRE(includes.size() > 100);  // or the walk found nothing to judge
  for (const Include& include : includes) {
    const std::string room = room_of(include.file), named = room_of(include.header);
    if (!include.ours || !kMayInclude.contains(named)) continue;
    CAPTURE(include.file);
    CAPTURE(include.header);
    const bool main_starts_lab =
        include.file == "node/main.cc" && include.header == "lab/commands.h";
    CHECK((kMayInclude.at(room).contains(named) || main_starts_lab));
    if (room == "net" && (named == "cp" || named == "ap" || named == "crdt")) {
      CHECK(is_message_header(include.header));
    }
  }
}

TEST_CASE("tidy: an outside library is named by its own files alone") {
  for (const Include& include : all_includes()) {
    for (const Library& library : kLibraries) {
      if (!std::regex_match(include.header, std::regex(library.header))) continue;
      CAPTURE(include.file);
      CAPTURE(include.header);
      CHECK(std::regex_match(include.file, std::regex(library.files)));
    }
  }
}

TEST_CASE("tidy: a .cc file includes its own header first") {
  std::map<std::string, std::string> first;
  for (const Include& include : all_includes()) first.try_emplace(include.file, include.header);
  for (const auto& [file, header] : first) {
    if (!file.ends_with(".cc")) continue;
    const std::string own = file.substr(0, file.size() - 3) + ".h";
    if (!fs::exists(fs::path(CAPSTAN_SOURCE_DIR) / own)) continue;
    CAPTURE(file);
    CHECK(header == own);
  }
}

}  // namespace

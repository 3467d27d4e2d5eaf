// capstan restore-backup: a new cluster from a backup, or from what a lost majority left.
#include <algorithm>
#include <cstdio>
#include <string>

#include "core/request.h"
#include "node/commands.h"
#include "node/exit_codes.h"
#include "node/restore.h"

namespace capstan::node {
namespace {

int complain(const std::string& sentence, int code) {
  std::fprintf(stderr, "capstan restore-backup: %s\n", sentence.c_str());
  return code;
}

}  // namespace

int restore_command(Args args) {
  auto parsed = parse_command("restore-backup", args);
  if (!parsed) return complain(parsed.error().sentence, kExitUsage);
  RestoreFrom from;
  from.data_dir = parsed->text("from-data-dir");
  const std::vector<std::string> words = std::exchange(parsed->words, {});
  if (words.size() + (from.data_dir.empty() ? 0 : 1) != 1) {
    return complain("say what to restore from: a backup file, or --from-data-dir=DIR.", kExitUsage);
  }
  if (!words.empty()) from.backup = words[0];
  auto config = serve_config(*parsed);
  if (!config) return complain(config.error().sentence, kExitUsage);
  if (config->mode != Mode::kCp) {
    return complain("in AP mode no majority can be lost: start a node on an empty directory.",
                    kExitUsage);
  }
  if (config->joins) {
    return complain("it makes a new cluster: list its members, this one included.", kExitUsage);
  }
  if (std::ranges::any_of(config->members, &ConfiguredMember::witness)) {
    return complain(
        "restore the members with data, without --witness; it is added afterwards: capstan members "
        "add HOST:PORT --as-witness.",
        kExitUsage);
  }
  if (!from.data_dir.empty() && config->members.size() > 1) {
    return complain(
        "from a data directory it makes a cluster of one: list this node alone. The "
        "others join it afterwards, on empty directories (--join).",
        kExitUsage);
  }
  const auto done = restore(from, *config);
  if (!done) return complain(done.error(), kExitNo);
  std::printf(
      "restored into %s: revision %llu (term %llu, index %llu) of cluster %s, as the new "
      "cluster %s\n",
      config->data_dir.c_str(), static_cast<unsigned long long>(done->head.revision.value),
      static_cast<unsigned long long>(done->head.last.term.value),
      static_cast<unsigned long long>(done->head.last.index.value),
      id_text(done->head.cluster).c_str(), id_text(done->cluster).c_str());
  std::string talk = "What the old cluster acknowledged after that is not in it.";
  if (!from.data_dir.empty()) {
    talk += " This member may have been behind: writes that only the lost majority had are lost. " +
            std::to_string(done->entries) +
            " entries of its log lay behind its last checkpoint; the last of them may have been "
            "answered as unknown.";
  }
  if (!done->impaired.empty()) talk += " Its log was damaged (" + done->impaired + ").";
  talk +=
      " Do not start any other member of the old cluster again: start the others on empty "
      "directories, with the same backup or with --join.";
  std::fprintf(stderr, "%s\n", talk.c_str());
  return kExitDone;
}

}  // namespace capstan::node

#include "net/faults.h"

#include <algorithm>
#include <iterator>

namespace capstan::net {

void Faults::replace(const std::vector<PeerFault>& faults) {
  faults_.clear();
  for (const PeerFault& fault : faults) faults_[fault.peer] = fault;
}

bool Faults::drops_in(MemberId peer, Micros now) const {
  const auto found = faults_.find(peer);
  return found != faults_.end() && found->second.drop_in && now < found->second.until;
}

bool Faults::drops_out(MemberId peer, Micros now) const {
  const auto found = faults_.find(peer);
  return found != faults_.end() && found->second.drop_out && now < found->second.until;
}

std::vector<PeerFault> Faults::show(Micros now) const {
  std::vector<PeerFault> out;
  for (const auto& [peer, fault] : faults_) {
    if (now < fault.until && (fault.drop_in || fault.drop_out)) out.push_back(fault);
  }
  return out;
}

// ---- The cut grammar ----------------------------------------------------------------------------

namespace {

using Names = std::vector<std::string>;

std::string trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return std::string(text.substr(from, text.find_last_not_of(" \t") - from + 1));
}

Names split(std::string_view text, char at) {
  Names out;
  while (true) {
    const std::size_t end = text.find(at);
    out.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::string joined(const Names& names, std::string_view between) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += between;
    out += name;
  }
  return out;
}

// "n1", "n1 and n2", "n1, n2 and n3".
std::string listed(Names names) {
  if (names.size() < 2) return joined(names, "");
  const std::string last = names.back();
  names.pop_back();
  return joined(names, ", ") + " and " + last;
}

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Names without(const Names& names, const Names& taken) {
  Names out;
  std::copy_if(names.begin(), names.end(), std::back_inserter(out),
               [&](const std::string& name) { return !contains(taken, name); });
  return out;
}

std::string example(const Names& names) {
  if (names.size() < 2) return "capstan lab cut n1 / n2,n3";
  return "capstan lab cut " + names.front() + " / " + joined({names.begin() + 1, names.end()}, ",");
}

Status check_name(const std::string& name, const Names& names) {
  if (contains(names, name)) return {};
  return fail(ErrorCode::kInvalid,
              "no node is called \"" + name + "\"; there are " + listed(names));
}

// Those on no side still reach every side, so there is a way round through them.
void note_bridges(Cut& cut, const Names& names) {
  Names placed;
  for (const Names& side : cut.sides) placed.insert(placed.end(), side.begin(), side.end());
  const Names bridges = without(names, placed);
  if (bridges.empty()) return;
  const Names& first = cut.sides.front();
  cut.notes.push_back("not a partition: " + listed(bridges) + " still " +
                      (bridges.size() == 1 ? "reaches " : "reach ") + listed(placed) +
                      ". To isolate " + listed(first) + ": capstan lab cut " + joined(first, ",") +
                      " / " + joined(without(names, first), ","));
}

}  // namespace

Result<Cut> parse_cut(std::string_view text, const Names& names) {
  Cut cut;
  Names seen;
  for (const std::string& side_text : split(text, '/')) {
    Names& side = cut.sides.emplace_back();
    for (const std::string& name : split(side_text, ',')) {
      if (name.empty()) {
        return fail(
            ErrorCode::kInvalid,
            "\"" + trimmed(text) + "\" has an empty side or name; like this: " + example(names));
      }
      if (Status known = check_name(name, names); !known) return std::unexpected(known.error());
      if (contains(seen, name)) {
        return fail(ErrorCode::kInvalid, name + " is named twice; a node is on one side only");
      }
      seen.push_back(name);
      side.push_back(name);
    }
  }
  if (cut.sides.size() < 2) {
    return fail(ErrorCode::kInvalid,
                "a cut needs two sides, parted by a slash; like this: " + example(names));
  }
  for (const Names& a : cut.sides) {
    for (const Names& b : cut.sides) {
      if (&a == &b) continue;
      for (const std::string& from : a) {
        for (const std::string& to : b) cut.drops.push_back({from, to});
      }
    }
  }
  std::sort(cut.drops.begin(), cut.drops.end());
  note_bridges(cut, names);
  return cut;
}

Result<Cut> parse_oneway(std::string_view text, const Names& names) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '>', ' ');
  std::replace(spaced.begin(), spaced.end(), '\t', ' ');
  Names words = split(spaced, ' ');
  std::erase(words, "");
  if (words.size() != 2) {
    return fail(ErrorCode::kInvalid,
                "oneway takes two nodes, from and to; like this: capstan lab oneway n1 n2");
  }
  for (const std::string& name : words) {
    if (Status known = check_name(name, names); !known) return std::unexpected(known.error());
  }
  if (words[0] == words[1]) {
    return fail(ErrorCode::kInvalid, words[0] + " always reaches itself; name two nodes");
  }
  Cut cut;
  cut.sides = {{words[0]}, {words[1]}};
  cut.drops = {{words[0], words[1]}};
  if (const Names others = without(names, words); !others.empty()) {
    cut.notes.push_back("one direction of one link: " + words[1] + " does not hear " + words[0] +
                        "; " + listed(others) + (others.size() == 1 ? " hears" : " hear") +
                        " both");
  }
  return cut;
}

std::vector<NamedFault> faults_of(const Cut& cut, std::string_view name) {
  std::vector<NamedFault> out;
  const auto fault_with = [&](const std::string& peer) -> NamedFault& {
    for (NamedFault& fault : out) {
      if (fault.peer == peer) return fault;
    }
    return out.emplace_back(NamedFault{.peer = peer});
  };
  for (const DirectedDrop& drop : cut.drops) {
    if (drop.from == name) fault_with(drop.to).drop_out = true;
    if (drop.to == name) fault_with(drop.from).drop_in = true;
  }
  return out;
}

}  // namespace capstan::net

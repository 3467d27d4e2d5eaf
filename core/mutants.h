// Planted bugs of this floor: see cp/mutants.h and docs/testing.md. Compiled in only under
// CAPSTAN_MUTANTS; otherwise they are constants and cost nothing.
#pragma once

namespace capstan::mutants {

#ifdef CAPSTAN_MUTANTS
inline bool rot_cut_as_torn = false;  // 31: a log that has rotted is cut like one that a crash tore
#else
inline constexpr bool rot_cut_as_torn = false;
#endif

}  // namespace capstan::mutants

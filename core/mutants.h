// Planted bugs of this floor: see cp/mutants.h and docs/testing.md. Compiled in only under
// CAPSTAN_MUTANTS; otherwise they are constants and cost nothing.
#pragma once

namespace capstan::mutants {

#ifdef CAPSTAN_MUTANTS
inline bool no_directory_sync = false;  // 30: a new segment's name may be lost with the power
inline bool rot_cut_as_torn = false;  // 31: a log that has rotted is cut as if a crash had torn it
inline bool sync_error_ignored = false;  // 33: what a failed sync has lost counts as durable
#else
inline constexpr bool no_directory_sync = false;
inline constexpr bool rot_cut_as_torn = false;
inline constexpr bool sync_error_ignored = false;
#endif

}  // namespace capstan::mutants

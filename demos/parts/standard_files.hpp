// Descriptors 0 to 2, which whoever starts a program may have closed. Leans on
// nothing but the kernel.
#pragma once

namespace parts {

/// Takes those of descriptors 0 to 2 that are closed, so that no other file of
/// this program gets into their place: a socket or a file of results, into
/// which messages would go, or one that is waited for in place of a list.
/// Whoever then reads or prints there is told EBADF, as before.
///
/// Call it first of all.
void fill_standard_files() noexcept;

} // namespace parts

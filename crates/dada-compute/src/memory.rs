//! Keeping freed buffers in the process.

/// Blocks below this size come from the heap and are kept when freed; larger ones are mapped and returned each time.
const MMAP_THRESHOLD: libc::c_int = 1 << 30;
/// The most that older versions of glibc accept.
const OLDER_THRESHOLD: libc::c_int = 32 << 20;
/// The heap's free end is returned to the system only above this size.
const TRIM_THRESHOLD: libc::c_int = i32::MAX;

/// Lets the allocator keep what a training step frees, for the next step to use again. Call once, at the start of the program.
///
/// A step frees activations of megabytes each, which glibc would return to the system at once, only to ask for zeroed pages again:
/// half of a small network's time. The price is that the process stays at its peak size until it ends; buffers of 1 GiB and more
/// are still returned. Does nothing where the C library is not glibc.
pub fn retain_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `mallopt` takes two integers and touches the allocator's own settings under its own lock.
        unsafe {
            if libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD) == 0 {
                libc::mallopt(libc::M_MMAP_THRESHOLD, OLDER_THRESHOLD);
            }
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
            // Threads would otherwise fill arenas of their own, whose heaps are at most 64 MiB and are unmapped when empty.
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

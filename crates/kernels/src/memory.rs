//! How the system's allocator deals with the large buffers that every layer makes and drops.

/// Tells glibc's allocator to keep what is freed instead of giving it back to the system at once: a new page costs
/// more than what a kernel does with it. Other allocators are left alone. For programs, not libraries, to call, before
/// anything is computed; the most memory that is held stays the same.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Buffers from here on are mapped, and given back, one by one: the most that glibc takes.
        const MAPPED: libc::c_int = 32 << 20;
        // What is kept at the heap's end.
        const KEPT: libc::c_int = 1 << 30;
        for (setting, value) in [(libc::M_MMAP_THRESHOLD, MAPPED), (libc::M_TRIM_THRESHOLD, KEPT)] {
            // SAFETY: `mallopt` takes any value, and only says whether it took it.
            unsafe { libc::mallopt(setting, value) };
        }
    }
}

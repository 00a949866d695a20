//! The threads that compute.

/// Runs `work` on one of the threads that compute, and returns what it gives. Work that is handed to several threads
/// again and again is handed over faster from there than from a thread of the caller's own.
pub fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

//! What a process has used.

/// Of this process, since its start; zeros where the system does not say.
pub struct Cost {
    /// On all cores, in the program and in the system for it.
    pub cpu_seconds: f64,
    /// The most memory that was resident, in bytes.
    pub peak_bytes: f64,
}

impl Cost {
    /// Until now.
    #[cfg(unix)]
    pub fn so_far() -> Self {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to a writable rusage, which the call fills; all-zero is a valid one should it fail.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
        let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
        Self { cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime), peak_bytes: usage.ru_maxrss as f64 * unit }
    }

    /// Not known here.
    #[cfg(not(unix))]
    pub fn so_far() -> Self {
        Self { cpu_seconds: 0.0, peak_bytes: 0.0 }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_counted() {
        let before = Cost::so_far();
        let held = vec![1u8; 300 << 20];
        let sum = held.iter().map(|&byte| u64::from(byte)).sum::<u64>()
            + (0..200_000_000u64).map(std::hint::black_box).fold(0, u64::wrapping_add);
        assert!(std::hint::black_box(sum) > 0);
        let after = Cost::so_far();
        assert!(after.cpu_seconds > before.cpu_seconds);
        assert!((3e8..6e10).contains(&after.peak_bytes), "{} bytes", after.peak_bytes);
    }
}

//! How the C library keeps memory that tensors gave back.

/// Lets freed memory stay with the process, for all threads alike. To be called once when a
/// program starts, before it starts threads.
///
/// A network makes and frees tensors of the same sizes over and over. By default glibc maps
/// each large one afresh, and clearing its pages takes up to half of the processor time of a
/// forward pass; memory of its own for each thread ends at 64 MiB and has the same fate.
/// EfficientNet-Lite0, 32 images a batch on two threads: 53 images per CPU second and 1022 MB
/// at the peak by default, 90 and 924 MB with these settings.
///
/// Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const GIB: libc::c_int = 1 << 30;
        // SAFETY: mallopt may be called at any time and only changes how later calls of the
        // allocator behave; a value that glibc does not accept leaves the setting as it was.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, GIB);
            libc::mallopt(libc::M_TOP_PAD, GIB / 16);
        }
    }
}

//! How the C library keeps memory that tensors gave back.

/// Lets freed memory stay with the process, to be called once when a program starts.
///
/// A network makes and frees tensors of the same sizes over and over. By default glibc maps
/// each large one afresh, and clearing its pages takes up to two thirds of the processor time
/// of a forward pass. Peak memory stays what it was: it is only given back later.
///
/// Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const GIB: libc::c_int = 1 << 30;
        // SAFETY: these settings may be changed at any time; a value that glibc does not
        // accept leaves the setting as it was.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, GIB);
            libc::mallopt(libc::M_TOP_PAD, GIB / 16);
        }
    }
}

//! libtorch's CUDA part, which is loaded only when a CUDA device is asked for.
//!
//! The program is linked with the CPU part alone, so that one binary runs everywhere. Loading
//! the other library registers its devices.

/// Whether convolutions and matrix products may be computed in NVIDIA's format of 19 bits.
#[cfg(unix)]
const TF32: &str = "NVIDIA_TF32_OVERRIDE";

/// Loads `libtorch_cuda.so` from beside the CPU part or from the library path, where it is.
///
/// Whether devices are there afterwards is for [`tch::Cuda::device_count`] to say.
#[cfg(unix)]
pub fn load_cuda() {
    // NVIDIA's libraries round the operands of convolutions to 10 bits unless told not to, and a
    // weight of 8 bits times its scale needs more. They read this when they are loaded.
    if std::env::var_os(TF32).is_none() {
        // SAFETY: called when a program starts, before threads that might read the environment.
        unsafe { std::env::set_var(TF32, "0") };
    }
    // SAFETY: the name is a C string. The library's initializers register devices with the
    // libtorch that is already loaded; no symbol of it is used directly.
    let handle =
        unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        tracing::debug!("libtorch_cuda.so was not found or could not be loaded");
    }
}

/// Other systems link what they have.
#[cfg(not(unix))]
pub fn load_cuda() {}

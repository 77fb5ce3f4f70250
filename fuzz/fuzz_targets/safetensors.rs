//! Any bytes as a .safetensors file: an error, never a panic.

#![no_main]

use haq::network::TensorFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = TensorFile::parse(bytes);
});

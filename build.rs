//! Compiles the ONNX schema and lets the binaries find libtorch without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=assets/onnx/onnx.proto");
    // sqlx embeds the migrations; a new file alone would not be noticed.
    println!("cargo:rerun-if-changed=migrations");
    link_libtorch();
    compile_onnx_schema();
}

/// The first run path serves an installed binary, `<prefix>/bin/haq` beside `<prefix>/lib/haq`,
/// which so keeps the libtorch it was installed with; the second is where libtorch was at build time.
fn link_libtorch() {
    let origin = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => "@loader_path",
        _ => "$ORIGIN",
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}/../lib/haq");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}

fn compile_onnx_schema() {
    let files = protox::compile(["assets/onnx/onnx.proto"], ["assets/onnx"])
        .expect("assets/onnx/onnx.proto is part of the source tree");
    prost_build::Config::new().bytes(["."]).compile_fds(files).expect("the ONNX schema compiles");
}

//! How many threads libtorch uses inside one operation.

/// Lets every operation run on the thread that calls it. To be called once when a program
/// starts.
///
/// Work is shared out between threads in larger pieces, by batches or tensors: two threads inside
/// one small operation wait for each other, and on a busy machine they wait for long. The
/// agent's updates were a hundred times slower so.
pub fn use_one_thread_per_operation() {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
}

/// Bounds the threads that tensors and layers are shared out to; all cores where it is not called.
/// To be called before any of that work; later calls change nothing.
pub fn use_threads(n: usize) {
    // An error says that the threads are running already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
}

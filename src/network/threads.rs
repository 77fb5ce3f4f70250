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

//! CPU kernels: products with weights in their stored type, attention that streams, activations.
//!
//! Plain Rust that the compiler vectorises; every kernel is compiled twice, for AVX2 with FMA and for any
//! processor, and chosen at run time.

pub mod attention;
pub mod matrix;
pub mod simd;

pub use matrix::{Matrix, Order};

/// A pointer that several threads write through, each to elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(pub *mut f32);

// SAFETY: whoever hands it to several threads makes sure that no element is written by two of them.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// The pointer (a method, so that closures capture the wrapper and not its field).
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}

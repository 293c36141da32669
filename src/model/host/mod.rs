//! CPU kernels: products with weights in their stored type, attention that streams, activations.
//!
//! Loops are plain Rust that the compiler vectorises (`simd`), products are written out in registers (`few`, `many`);
//! each for AVX-512, for AVX2 with FMA and for any processor, chosen at run time (`processor`).

pub mod attention;
#[macro_use]
pub mod simd;
pub mod blocks;
mod few;
mod few_blocks;
mod many;
pub mod matrix;
pub(crate) mod processor;

pub use blocks::Blocks;
pub use many::{Factors, peak};
pub use matrix::{Before, Matrix, Order, Product};

/// Which kernel makes a product or an attention. Each adds the terms of a sum in an order of its own, so the choice
/// follows from what a row *is*, never from how many rows there happen to be: then a row's numbers are the same to the
/// last bit whatever it is computed together with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// For rows that come in numbers: pictures and prompts.
    Many,
    /// For rows that come one by one: the tokens of answers, and the logits.
    Few,
}

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

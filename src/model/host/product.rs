//! Products of plain f32 matrices in which no row depends on the others: a row comes out the same to the last bit
//! whatever stands beside it, and however many threads share the work.
//!
//! The `gemm` crate adds the terms of one element in order, in parts of a depth that follows from the depth alone, and
//! that makes rows independent. It takes other ways (another order, or other parts) where a matrix is small; these are
//! kept away from it here: such products are made in the same order by a plain loop, or with rows that fill up.

use std::cell::Cell;

use crate::devices::meter::Owner;

/// Terms that `gemm` always adds in one part.
const DEPTH: usize = 512;
/// Elements of a result up to which `gemm` may add in another order.
const SMALL: usize = 256;
/// Length of both sides up to which `gemm` chooses parts in another way.
const SHORT: usize = 64;

/// A matrix in memory: where it begins, and the distances between its rows and its columns.
#[derive(Clone, Copy)]
pub(crate) struct Lying {
    /// The first element.
    pub from: *const f32,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

impl Lying {
    /// Rows for columns.
    pub fn turned(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// Sizes of a product: rows and columns of the result, and terms of each of its elements.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Terms of each element.
    pub depth: usize,
}

/// Terms of a sum that `gemm` takes in one part here, where a sum has many.
pub fn product_depth() -> usize {
    const MANY: usize = 1 << 20;
    // Height and width of a tile in registers (AVX2); the depth hardly depends on them.
    gemm_common::cache::kernel_params(MANY, MANY, MANY, 16, 6, size_of::<f32>()).kc
}

thread_local! {
    static SCRATCH_IS_THERE: Cell<bool> = const { Cell::new(false) };
}

/// Lets the present thread take the scratch that `gemm` keeps for as long as the thread lives. It belongs to the host,
/// whichever device the thread happens to work for when it first needs it.
pub(crate) fn take_scratch() {
    if SCRATCH_IS_THERE.replace(true) {
        return;
    }
    let _host = Owner::HOST.enter();
    // The smallest product that takes the way of large ones.
    const SIDE: usize = SHORT + 8;
    let (a, mut out) = (vec![0f32; SIDE * SIDE], vec![0f32; SIDE * SIDE]);
    let lying = Lying { from: a.as_ptr(), row: SIDE, column: 1 };
    let size = Size { rows: SIDE, columns: SIDE, depth: SIDE };
    // SAFETY: all three matrices are of this size.
    unsafe { multiply(size, (out.as_mut_ptr(), SIDE), false, lying, lying, gemm::Parallelism::None) };
}

/// `out = a b`, or `out += a b`. The rows of `out` lie `out_row` apart, its columns side by side; so do the columns of
/// `a`.
///
/// # Safety
/// The pointers reach every element that sizes and distances name, and nothing else writes `out` meanwhile.
pub(crate) unsafe fn multiply(
    size: Size,
    (out, out_row): (*mut f32, usize),
    add: bool,
    a: Lying,
    b: Lying,
    parallelism: gemm::Parallelism,
) {
    let Size { rows, columns, depth } = size;
    if rows == 0 || columns == 0 {
        return;
    }
    if columns <= SHORT && depth > DEPTH {
        for first in (0..depth).step_by(DEPTH) {
            let size = Size { depth: DEPTH.min(depth - first), ..size };
            // SAFETY: a part of what the caller promised.
            unsafe {
                let a = Lying { from: a.from.add(first * a.column), ..a };
                let b = Lying { from: b.from.add(first * b.row), ..b };
                multiply(size, (out, out_row), add || first > 0, a, b, parallelism);
            }
        }
        return;
    }
    if depth <= 2 || columns == 1 || (columns <= SHORT && rows * columns <= SMALL) {
        // SAFETY: the caller's promise.
        return unsafe { in_order(size, (out, out_row), add, a, b) };
    }
    let enough = (SMALL / columns + 1).max(2);
    if rows < enough && a.column == 1 {
        // Rows of zeros fill up.
        let (mut more_a, mut more_out) = (vec![0f32; enough * depth], vec![0f32; enough * columns]);
        // SAFETY: the caller's promise, and the lengths just made.
        unsafe {
            for row in 0..rows {
                let from = a.from.add(row * a.row);
                more_a[row * depth..].as_mut_ptr().copy_from_nonoverlapping(from, depth);
                if add {
                    let from = out.add(row * out_row);
                    more_out[row * columns..].as_mut_ptr().copy_from_nonoverlapping(from, columns);
                }
            }
            let whole = Lying { from: more_a.as_ptr(), row: depth, column: 1 };
            let size = Size { rows: enough, ..size };
            multiply(size, (more_out.as_mut_ptr(), columns), add, whole, b, parallelism);
            for row in 0..rows {
                out.add(row * out_row).copy_from_nonoverlapping(more_out[row * columns..].as_ptr(), columns);
            }
        }
        return;
    }
    take_scratch();
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out,
            1,
            out_row as isize,
            add,
            a.from,
            a.column as isize,
            a.row as isize,
            b.from,
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The same product one element at a time, its terms in order, as `gemm` adds them.
///
/// # Safety
/// As [`multiply`].
unsafe fn in_order(size: Size, out: (*mut f32, usize), add: bool, a: Lying, b: Lying) {
    #[cfg(target_arch = "x86_64")]
    {
        /// # Safety
        /// As [`multiply`], on a processor with these features.
        #[target_feature(enable = "avx2,fma")]
        unsafe fn fused(size: Size, out: (*mut f32, usize), add: bool, a: Lying, b: Lying) {
            // SAFETY: the caller's promise.
            unsafe { in_order_body::<true>(size, out, add, a, b) }
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the caller's promise, and the processor has the features.
            return unsafe { fused(size, out, add, a, b) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { in_order_body::<{ cfg!(target_arch = "aarch64") }>(size, out, add, a, b) }
}

#[inline(always)]
unsafe fn in_order_body<const FMA: bool>(
    size: Size,
    (out, out_row): (*mut f32, usize),
    add: bool,
    a: Lying,
    b: Lying,
) {
    for row in 0..size.rows {
        for column in 0..size.columns {
            let mut sum = 0f32;
            for k in 0..size.depth {
                // SAFETY: the caller's promise.
                let (x, y) = unsafe {
                    (*a.from.add(row * a.row + k * a.column), *b.from.add(k * b.row + column * b.column))
                };
                sum = if FMA { x.mul_add(y, sum) } else { x * y + sum };
            }
            // SAFETY: the caller's promise.
            let out = unsafe { &mut *out.add(row * out_row + column) };
            *out = if add { *out + sum } else { sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mixed = |i: usize| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
        (0..count).map(|i| (mixed(i) >> 9) as f32 / 8_388_608.0 - 0.5).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn a_row_is_the_same_whatever_stands_beside_it(
            rows in 1usize..90, columns in prop_oneof![1usize..20, 50usize..80, 200usize..330], depth in prop_oneof![1usize..5, 5usize..90, 500usize..1300],
            by_columns: bool, add: bool, seed in 0u32..1000, threads: bool,
        ) {
            let (a, b) = (values(rows * depth, seed), values(depth * columns, seed + 1));
            let before = values(rows * columns, seed + 2);
            let (row, column) = if by_columns { (1, depth) } else { (columns, 1) };
            let product = |first: usize, count: usize, parallelism| {
                let mut out = before[first * columns..(first + count) * columns].to_vec();
                let a = Lying { from: a[first * depth..].as_ptr(), row: depth, column: 1 };
                let b = Lying { from: b.as_ptr(), row, column };
                // SAFETY: the slices have these sizes.
                unsafe { multiply(Size { rows: count, columns, depth }, (out.as_mut_ptr(), columns), add, a, b, parallelism) };
                out
            };
            let parallelism = if threads { gemm::Parallelism::Rayon(2) } else { gemm::Parallelism::None };
            let whole = product(0, rows, parallelism);
            for (first, count) in [(0, 1), (rows - 1, 1), (0, rows.div_ceil(2)), (rows / 3, rows - rows / 3), (rows / 2, (rows - rows / 2).min(7))] {
                let part = product(first, count, gemm::Parallelism::None);
                prop_assert_eq!(&part[..], &whole[first * columns..(first + count) * columns], "rows {}..{}", first, first + count);
            }
            for (i, got) in whole.iter().enumerate() {
                let (r, c) = (i / columns, i % columns);
                let terms = || (0..depth).map(|k| f64::from(a[r * depth + k]) * f64::from(b[k * row + c * column]));
                let exact = terms().sum::<f64>() + if add { f64::from(before[i]) } else { 0.0 };
                let size = terms().map(f64::abs).sum::<f64>();
                prop_assert!((f64::from(*got) - exact).abs() <= 1e-5 * (1.0 + size));
            }
        }
    }
}

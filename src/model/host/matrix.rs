//! A weight matrix on the CPU, used in place from the memory-mapped file, in the type it is stored in.

use std::ops::Range;
use std::sync::Arc;

use candle_core::DType;
use half::{bf16, f16};
use rayon::prelude::*;

use super::few::{self, Target, Vectors};
use super::few_blocks::{self, Rounded};
use super::product::{Lying, Size, multiply};
use super::{Blocks, Kernel, SharedMut, simd};
use crate::checkpoint::Bytes;
use crate::devices::meter::Owner;

/// Numbers in a mapped file or in memory of our own.
#[derive(Debug, Clone)]
enum Values<T> {
    Mapped(Bytes, Range<usize>),
    Owned(Arc<[T]>),
}

impl<T: bytemuck::Pod> Values<T> {
    /// Views bytes of a file as numbers; copies only where the file aligns them badly.
    fn new(bytes: &Bytes, range: Range<usize>) -> Self {
        let raw = bytes.get(range.clone()).unwrap_or_default();
        match bytemuck::try_cast_slice::<u8, T>(raw) {
            Ok(_) => Self::Mapped(bytes.clone(), range),
            Err(_) => {
                Self::Owned(raw.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
            }
        }
    }

    fn get(&self) -> &[T] {
        match self {
            Self::Mapped(bytes, range) => bytes
                .get(range.clone())
                .and_then(|raw| bytemuck::try_cast_slice(raw).ok())
                .unwrap_or_default(),
            Self::Owned(values) => values,
        }
    }
}

#[derive(Debug, Clone)]
enum Data {
    F32(Values<f32>),
    Bf16(Values<bf16>),
    F16(Values<f16>),
    /// Line by line, each in whole blocks.
    Blocks(Blocks, Arc<[u8]>),
}

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[rows, cols]`: the weights of one output side by side, as `nn.Linear` stores them.
    OutputMajor,
    /// `[cols, rows]`: the weights of one input side by side, as GPT-OSS stores its experts.
    InputMajor,
}

/// A matrix with `rows` outputs and `cols` inputs that multiplies f32 vectors.
#[derive(Debug, Clone)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    order: Order,
    data: Data,
}

/// Lines that are widened at a time before a product with many vectors.
const BLOCK_LINES: usize = 512;
/// Rows that are widened at a time before a product with a few vectors; kernels take fewer together, by a divisor of it.
const TILE: usize = 12;
/// Shares of work for every thread, so that one that is late takes fewer.
const SHARES: usize = 4;
/// Products with fewer multiplications than this are not worth waking threads for.
const PARALLEL_FROM: usize = 1 << 16;

impl Matrix {
    /// Views a stored tensor as a matrix. A type other than `dtype` is converted once, into memory of our own;
    /// the bytes must hold `rows * cols` values of `stored`.
    pub fn new(
        bytes: &Bytes,
        range: Range<usize>,
        stored: DType,
        dtype: DType,
        (rows, cols): (usize, usize),
        order: Order,
    ) -> Self {
        let mapped = match stored {
            DType::BF16 => Data::Bf16(Values::new(bytes, range)),
            DType::F16 => Data::F16(Values::new(bytes, range)),
            _ => Data::F32(Values::new(bytes, range)),
        };
        let matrix = Self { rows, cols, order, data: mapped };
        if stored == dtype { matrix } else { matrix.converted(dtype) }
    }

    /// Length of a product with one vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a vector that it multiplies.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of the values, mapped or owned.
    pub fn bytes(&self) -> usize {
        let values = self.rows * self.cols;
        match &self.data {
            Data::F32(_) => values * 4,
            Data::Bf16(_) | Data::F16(_) => values * 2,
            Data::Blocks(_, bytes) => bytes.len(),
        }
    }

    /// Whether the values are used where the file holds them, without a copy.
    pub fn is_in_place(&self) -> bool {
        match &self.data {
            Data::F32(values) => matches!(values, Values::Mapped(..)),
            Data::Bf16(values) => matches!(values, Values::Mapped(..)),
            Data::F16(values) => matches!(values, Values::Mapped(..)),
            Data::Blocks(..) => false,
        }
    }

    /// The same matrix in blocks, or in the next wider format into which its lines divide; as it is where they do in
    /// none.
    ///
    /// # Errors
    /// As candle's quantising.
    pub fn in_blocks(self, blocks: Blocks) -> candle_core::Result<Self> {
        let line = self.line();
        let Some(blocks) = blocks.fitting(line) else { return Ok(self) };
        let lines = self.rows * self.cols / line;
        let quantised = {
            let _host = Owner::HOST.enter();
            blocks.quantise(lines, line, &|i, out| self.widen(i, out))?
        };
        Ok(Self { data: Data::Blocks(blocks, quantised.into()), ..self })
    }

    fn converted(&self, dtype: DType) -> Self {
        // A place need not have room for a matrix in 32 bits besides the one that it holds in the end.
        let mut wide = {
            let _host = Owner::HOST.enter();
            vec![0f32; self.rows * self.cols]
        };
        let line = self.line();
        wide.par_chunks_mut(line.max(1)).enumerate().for_each(|(i, out)| self.widen(i, out));
        let data = match dtype {
            DType::BF16 => Data::Bf16(Values::Owned(wide.into_iter().map(bf16::from_f32).collect())),
            DType::F16 => Data::F16(Values::Owned(wide.into_iter().map(f16::from_f32).collect())),
            _ => Data::F32(Values::Owned(wide.into())),
        };
        Self { data, ..*self }
    }

    /// Values that lie side by side: a row, or a column of an input-major matrix.
    fn line(&self) -> usize {
        match self.order {
            Order::OutputMajor => self.cols,
            Order::InputMajor => self.rows,
        }
    }

    /// Writes one line (a row of an output-major matrix), widened, to `out`. A line beyond the end leaves `out` alone.
    pub fn widen(&self, line: usize, out: &mut [f32]) {
        let range = line * self.line()..(line + 1) * self.line();
        match &self.data {
            Data::F32(w) => w.get().get(range).into_iter().for_each(|w| out.copy_from_slice(w)),
            Data::Bf16(w) => {
                w.get().get(range).into_iter().for_each(|w| simd::widen(bytemuck::cast_slice(w), out))
            }
            Data::F16(w) => w.get().get(range).into_iter().for_each(|w| widen_f16(w, out)),
            Data::Blocks(blocks, bytes) => {
                let size = blocks.line_bytes(self.line());
                bytes
                    .get(line * size..(line + 1) * size)
                    .into_iter()
                    .for_each(|line| blocks.widen(line, out));
            }
        }
    }

    /// `y[i] = W x[i] + bias` for `count` vectors: `x` is `[count, cols]`, `y` is `[count, rows]`. Every `y[i]` is the
    /// same to the last bit whatever the other vectors and however many there are.
    pub fn product(&self, x: &[f32], count: usize, bias: Option<&[f32]>, y: &mut [f32], kernel: Kernel) {
        Self::products(x, count, &mut [Product { matrix: self, bias, y }], kernel);
    }

    /// [`Matrix::product`] of several matrices with the same vectors; those with a few vectors are made at once, so that
    /// threads are woken once for all of them.
    pub fn products(x: &[f32], count: usize, all: &mut [Product<'_>], kernel: Kernel) {
        let few = |one: &Product<'_>| one.matrix.order == Order::OutputMajor && kernel == Kernel::Few;
        if count == 0 {
            return;
        }
        if all.iter().all(few) {
            return products_of_few(x, count, all);
        }
        for one in all {
            if few(one) {
                products_of_few(x, count, std::slice::from_mut(one));
            } else {
                one.matrix.product_of_many(x, count, one.bias, one.y);
            }
        }
    }

    /// The vectors as the kernel for this matrix takes them.
    fn prepare<'x>(&self, x: &'x [f32]) -> Prepared<'x> {
        match &self.data {
            Data::F32(_) | Data::F16(_) => Prepared::Floats(Vectors::new::<f32>(x, self.cols)),
            Data::Bf16(_) => Prepared::ForBf16(Vectors::new::<bf16>(x, self.cols)),
            Data::Blocks(format, _) => Prepared::Rounded(Rounded::new(x, self.cols, *format)),
        }
    }

    /// Whether vectors that were prepared for another matrix with as many columns are prepared for this one.
    fn takes(&self, x: &Prepared<'_>) -> bool {
        match (&self.data, x) {
            (Data::F32(_) | Data::F16(_), Prepared::Floats(_)) | (Data::Bf16(_), Prepared::ForBf16(_)) => {
                true
            }
            (Data::Blocks(format, _), Prepared::Rounded(x)) => x.format() == *format,
            _ => false,
        }
    }

    /// Products of some rows with `count` vectors that were prepared for this matrix.
    ///
    /// # Safety
    /// `target` reaches these rows of every vector, and nothing else writes them meanwhile.
    unsafe fn rows_times(&self, rows: Range<usize>, x: &Prepared<'_>, count: usize, target: Target) {
        let cells = rows.start * self.cols..rows.end * self.cols;
        // SAFETY (all): the caller's promise.
        match (&self.data, x) {
            (Data::F32(w), Prepared::Floats(x)) => unsafe { few::rows_times(&w.get()[cells], x, target) },
            (Data::Bf16(w), Prepared::ForBf16(x)) => unsafe { few::rows_times(&w.get()[cells], x, target) },
            (Data::F16(_), Prepared::Floats(x)) => unsafe {
                self.widened_times(rows, if count == 1 { 1 } else { TILE }, x, target);
            },
            (Data::Blocks(format, bytes), Prepared::Rounded(x)) => {
                let line = format.line_bytes(self.cols);
                unsafe { few_blocks::rows_times(&bytes[rows.start * line..rows.end * line], x, target) }
            }
            // Whoever calls this has prepared them.
            _ => unreachable!("vectors are prepared for the matrix that they meet"),
        }
    }

    /// Products of rows that are widened before, so many at a time; a row that meets one vector need not leave the
    /// nearest cache.
    ///
    /// # Safety
    /// `target` reaches these rows of every vector, and nothing else writes them meanwhile.
    unsafe fn widened_times(&self, rows: Range<usize>, lines: usize, x: &Vectors<'_>, target: Target) {
        let mut wide = vec![0f32; lines.min(rows.len()) * self.cols];
        for first in rows.clone().step_by(lines) {
            let wide = &mut wide[..lines.min(rows.end - first) * self.cols];
            for (i, wide) in wide.chunks_exact_mut(self.cols).enumerate() {
                self.widen(first + i, wide);
            }
            let target = Target { to: target.to.wrapping_add(first - rows.start), ..target };
            // SAFETY: the caller's promise.
            unsafe { few::rows_times(wide, x, target) };
        }
    }

    fn product_of_many(&self, x: &[f32], count: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        for row in y.chunks_exact_mut(self.rows) {
            match bias {
                Some(bias) => row.copy_from_slice(bias),
                None => row.fill(0.0),
            }
        }
        let lines = self.rows * self.cols / self.line().max(1);
        if let Data::F32(w) = &self.data {
            return self.multiply_add(x, count, w.get(), 0..lines, y);
        }
        let mut wide = vec![0f32; BLOCK_LINES.min(lines) * self.line()];
        for first in (0..lines).step_by(BLOCK_LINES) {
            let block = first..(first + BLOCK_LINES).min(lines);
            let wide = &mut wide[..block.len() * self.line()];
            let each = wide.par_chunks_mut(self.line()).with_min_len(16).enumerate();
            each.for_each(|(i, out)| self.widen(first + i, out));
            self.multiply_add(x, count, wide, block, y);
        }
    }

    /// Adds the product with some of the matrix's lines, given widened, to `y`.
    fn multiply_add(&self, x: &[f32], count: usize, lines: &[f32], which: Range<usize>, y: &mut [f32]) {
        let (rows, cols) = (self.rows, self.cols);
        // Output-major lines are outputs: part of y. Input-major lines are inputs: part of x.
        let (columns, depth, x_from, y_from, w_in, w_out) = match self.order {
            Order::OutputMajor => (which.len(), cols, 0, which.start, 1, cols),
            Order::InputMajor => (rows, which.len(), which.start, 0, rows, 1),
        };
        assert!(x.len() >= count * cols && y.len() >= count * rows && lines.len() >= columns * depth);
        assert!(x_from + depth <= cols && y_from + columns <= rows && count > 0);
        let threads =
            if count * columns * depth < PARALLEL_FROM * 8 { 1 } else { rayon::current_num_threads() };
        let parallelism =
            if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
        // SAFETY: the slices hold all elements that these sizes and strides reach, as asserted above.
        unsafe {
            multiply(
                Size { rows: count, columns, depth },
                (y.as_mut_ptr().add(y_from), rows),
                true,
                Lying { from: x.as_ptr().add(x_from), row: cols, column: 1 },
                Lying { from: lines.as_ptr(), row: w_in, column: w_out },
                parallelism,
            );
        }
    }
}

/// One of several products with the same vectors.
pub struct Product<'a> {
    /// The weights.
    pub matrix: &'a Matrix,
    /// What is added to every product, `[rows]`.
    pub bias: Option<&'a [f32]>,
    /// The products, `[count, rows]`.
    pub y: &'a mut [f32],
}

/// Vectors as kernels for a few of them take them.
enum Prepared<'x> {
    /// For weights that are floats of 32 bits, or become such before.
    Floats(Vectors<'x>),
    /// For weights in bf16.
    ForBf16(Vectors<'x>),
    /// For weights in blocks.
    Rounded(Rounded),
}

/// Reads all weights once, each thread consecutive rows of its own: as fast as memory allows.
fn products_of_few(x: &[f32], count: usize, all: &mut [Product<'_>]) {
    let mut prepared: Vec<Prepared<'_>> = Vec::with_capacity(1);
    let mut parts = Vec::with_capacity(all.len());
    for Product { matrix, bias, y } in all {
        let Matrix { rows, cols, .. } = **matrix;
        assert!(x.len() == count * cols && y.len() == count * rows && bias.is_none_or(|b| b.len() == rows));
        if cols == 0 {
            y.fill(0.0);
            continue;
        }
        let known = prepared.iter().position(|x| matrix.takes(x));
        let which = known.unwrap_or_else(|| {
            prepared.push(matrix.prepare(x));
            prepared.len() - 1
        });
        parts.push((*matrix, *bias, SharedMut(y.as_mut_ptr()), which));
    }
    let fill = |part: usize, rows: Range<usize>| {
        let (matrix, bias, y, which) = &parts[part];
        let stride = matrix.rows;
        // SAFETY: `y` has these rows for every vector, and each row is filled once.
        unsafe {
            let target = Target { to: y.get().add(rows.start), stride };
            matrix.rows_times(rows.clone(), &prepared[*which], count, target);
            let Some(bias) = bias else { return };
            for (row, bias) in rows.clone().zip(&bias[rows]) {
                (0..count).for_each(|i| *y.get().add(i * stride + row) += bias);
            }
        }
    };
    let cells = |matrix: &Matrix| matrix.rows * matrix.cols;
    let all: usize = parts.iter().map(|part| cells(part.0)).sum();
    if all * count < PARALLEL_FROM {
        return parts.iter().enumerate().for_each(|(i, part)| fill(i, 0..part.0.rows));
    }
    let share = all.div_ceil(rayon::current_num_threads() * SHARES);
    let mut shares = Vec::with_capacity(parts.len() + rayon::current_num_threads() * SHARES);
    for (i, (matrix, ..)) in parts.iter().enumerate() {
        let height = share.div_ceil(matrix.cols).max(TILE).next_multiple_of(TILE);
        let rows = (0..matrix.rows).step_by(height);
        shares.extend(rows.map(|first| (i, first..(first + height).min(matrix.rows))));
    }
    shares.into_par_iter().for_each(|(part, rows)| fill(part, rows));
}

fn widen_f16(from: &[f16], to: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    from.convert_to_f32_slice(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(values: &[f32], dtype: DType) -> Bytes {
        let bytes: Vec<u8> = match dtype {
            DType::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Bytes::Static(Vec::leak(bytes))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_agree_with_plain_loops(
            rows in 1usize..70, cols in 1usize..90, count in 1usize..9, few: bool, seed in 0u32..1000, which in 0usize..3,
            target in 0usize..3, input_major: bool, blocks in 0usize..4,
        ) {
            // Lines that divide into blocks are multiples of 32 or 256 long.
            let (rows, cols) = match (blocks, input_major) {
                (0, _) => (rows, cols),
                (_, false) => (rows, [32, 32, 256][blocks - 1] * (1 + cols % 3)),
                (_, true) => ([32, 32, 256][blocks - 1] * (1 + rows % 3), cols),
            };
            let types = [DType::F32, DType::BF16, DType::F16];
            let value = |i: usize| (((i as u32).wrapping_mul(2654435761).wrapping_add(seed) >> 20) as f32 / 4096.0 - 0.5) * 4.0;
            let w: Vec<f32> = (0..rows * cols).map(|i| bf16::from_f32(f16::from_f32(value(i)).to_f32()).to_f32()).collect();
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 77)).collect();
            let bias: Vec<f32> = (0..rows).map(|i| value(i + 7)).collect();
            let order = if input_major { Order::InputMajor } else { Order::OutputMajor };
            let lying: Vec<f32> = match order {
                Order::OutputMajor => w.clone(),
                Order::InputMajor => (0..cols * rows).map(|i| w[i % rows * cols + i / rows]).collect(),
            };
            let bytes = stored(&lying, types[which]);
            let mut matrix = Matrix::new(&bytes, 0..bytes.len(), types[which], types[target], (rows, cols), order);
            let mut w = w;
            if blocks > 0 {
                matrix = matrix.in_blocks(Blocks::ALL[blocks - 1]).unwrap();
                prop_assert!(matrix.bytes() * 3 < rows * cols * 4);
                // What the blocks hold is tested on its own; here it is what is multiplied.
                let mut line = vec![0f32; matrix.line()];
                for i in 0..rows * cols / line.len() {
                    matrix.widen(i, &mut line);
                    for (j, value) in line.iter().enumerate() {
                        w[if input_major { j * cols + i } else { i * cols + j }] = *value;
                    }
                }
            }
            let mut y = vec![0f32; count * rows];
            let kernel = if few { Kernel::Few } else { Kernel::Many };
            matrix.product(&x, count, Some(&bias), &mut y, kernel);
            for i in 0..count {
                let mut alone = vec![0f32; rows];
                matrix.product(&x[i * cols..(i + 1) * cols], 1, Some(&bias), &mut alone, kernel);
                prop_assert_eq!(&alone[..], &y[i * rows..(i + 1) * rows]);
            }
            for i in 0..count {
                for r in 0..rows {
                    let exact: f64 = (0..cols).map(|c| f64::from(w[r * cols + c]) * f64::from(x[i * cols + c])).sum();
                    let got = f64::from(y[i * rows + r]);
                    prop_assert!((got - exact - f64::from(bias[r])).abs() < 4e-3, "{got} {exact}");
                }
            }
        }
    }

    #[test]
    fn misaligned_weights_are_read_correctly() {
        let values = [1.0f32, -2.5, 3.25, 4.0];
        let mut raw = vec![0u8; 3];
        raw.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let bytes = Bytes::Static(Vec::leak(raw));
        let matrix = Matrix::new(&bytes, 3..19, DType::F32, DType::F32, (2, 2), Order::OutputMajor);
        let mut y = [0f32; 2];
        for kernel in [Kernel::Few, Kernel::Many] {
            matrix.product(&[1.0, 10.0], 1, None, &mut y, kernel);
            assert_eq!(y, [-24.0, 43.25]);
        }
    }
}

//! A weight matrix on the CPU, used in place from the memory-mapped file, in the type it is stored in.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use candle_core::DType;
use half::{bf16, f16};
use rayon::prelude::*;

use super::few::{self, Target, Vectors};
use super::few_blocks::{self, Rounded};
use super::many::{self, Factors, Gelu, Lines, Right, Size, Strided, Words};
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
    factors: Factors,
}

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
        let matrix = Self { rows, cols, order, data: mapped, factors: Factors::F32 };
        if stored == dtype { matrix } else { matrix.converted(dtype) }
    }

    /// The same matrix, whose products with many vectors are made of such factors.
    pub fn with_factors(self, factors: Factors) -> Self {
        Self { factors, ..self }
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
    /// none. Against many vectors blocks are multiplied in bf16, which loses less than they have lost already.
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
        Ok(Self { data: Data::Blocks(blocks, quantised.into()), factors: Factors::Bf16, ..self })
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
        Self { data, ..self.clone() }
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
        // SAFETY: numbers are written, never anything else.
        let y = unsafe { &mut *(std::ptr::from_mut(y) as *mut [MaybeUninit<f32>]) };
        Self::products(x, count, Before::Nothing, &mut [Product { matrix: self, bias, y }], kernel);
    }

    /// [`Matrix::product`] of several matrices with the same vectors; those with a few vectors are made at once, so that
    /// threads are woken once for all of them. Every number of every result is written.
    ///
    /// # Panics
    /// Where something is to be done before with a few vectors.
    pub fn products(x: &[f32], count: usize, before: Before, all: &mut [Product<'_>], kernel: Kernel) {
        let few = |one: &Product<'_>| one.matrix.order == Order::OutputMajor && kernel == Kernel::Few;
        assert!(before == Before::Nothing || kernel == Kernel::Many);
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
                one.matrix.product_of_many(x, count, before, one.bias, one.y);
            }
        }
    }

    /// How the kernel for this matrix takes vectors.
    fn form(&self) -> Form {
        match &self.data {
            Data::F32(_) | Data::F16(_) => Form::Floats,
            #[cfg(target_arch = "x86_64")]
            Data::Bf16(_) if self.factors == Factors::Bf16 && few::pairs::fits(self.cols) => Form::Pairs,
            Data::Bf16(_) => Form::ForBf16(self.factors),
            Data::Blocks(format, _) => Form::Rounded(*format),
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
            (Data::Bf16(w), Prepared::Floats(x)) => unsafe { few::rows_times(&w.get()[cells], x, target) },
            #[cfg(target_arch = "x86_64")]
            (Data::Bf16(w), Prepared::Pairs(x)) => unsafe {
                few::pairs::rows_times(&w.get()[cells], x, target);
            },
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

    fn product_of_many(
        &self,
        x: &[f32],
        count: usize,
        before: Before,
        bias: Option<&[f32]>,
        y: &mut [MaybeUninit<f32>],
    ) {
        assert!(x.len() == count * self.cols && y.len() == count * self.rows);
        let size = Size { rows: count, columns: self.rows, depth: self.cols };
        let as_it_is = Strided { numbers: x, stride: self.cols };
        let left: &dyn Lines = match before {
            Before::Nothing => &as_it_is,
            Before::Gelu => &Gelu(as_it_is),
        };
        let right = Right { lines: self, order: self.order };
        let to = (SharedMut(y.as_mut_ptr().cast()), self.rows);
        // SAFETY: `y` has an element for every vector and row.
        unsafe { many::multiply(size, left, right, bias, self.factors, to) };
    }
}

/// What is done with vectors before a product of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// GELU with the error function.
    Gelu,
}

impl Lines for Matrix {
    fn fetch(&self, line: usize, range: Range<usize>) {
        let from = line * self.line();
        let cells = from + range.start..from + range.end;
        match &self.data {
            Data::F32(w) => many::fetch(&w.get()[cells]),
            Data::Bf16(w) => many::fetch(&w.get()[cells]),
            Data::F16(w) => many::fetch(&w.get()[cells]),
            Data::Blocks(format, bytes) => {
                let bytes = &bytes[line * format.line_bytes(self.line())..];
                many::fetch(&bytes[format.line_bytes(range.start)..format.line_bytes(range.end)]);
            }
        }
    }

    fn write(&self, line: usize, range: Range<usize>, words: Words, out: &mut [u32]) {
        let from = line * self.line();
        let cells = from + range.start..from + range.end;
        match &self.data {
            Data::F32(w) => many::write(&w.get()[cells], words, out),
            Data::Bf16(w) => many::write(&w.get()[cells], words, out),
            Data::F16(w) => {
                let mut wide = vec![0f32; cells.len()];
                widen_f16(&w.get()[cells], &mut wide);
                many::write(&wide, words, out);
            }
            Data::Blocks(format, bytes) => {
                // Whole blocks, and of these what is asked for.
                let block = format.size().0;
                let blocks = range.start / block..range.end.div_ceil(block);
                let mut wide = vec![0f32; blocks.len() * block];
                let bytes = &bytes[line * format.line_bytes(self.line())..];
                format.widen(
                    &bytes[format.line_bytes(blocks.start * block)..format.line_bytes(blocks.end * block)],
                    &mut wide,
                );
                many::write(&wide[range.start - blocks.start * block..][..range.len()], words, out);
            }
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
    pub y: &'a mut [MaybeUninit<f32>],
}

/// How a kernel for a few vectors takes them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For weights that are floats of 32 bits, or become such before.
    Floats,
    /// For weights in bf16, rounded or not.
    ForBf16(Factors),
    /// For weights in bf16 where the processor multiplies pairs of them.
    #[cfg(target_arch = "x86_64")]
    Pairs,
    /// For weights in blocks.
    Rounded(Blocks),
}

/// Vectors in one of these forms.
enum Prepared<'x> {
    Floats(Vectors<'x>),
    #[cfg(target_arch = "x86_64")]
    Pairs(few::pairs::PairVectors),
    Rounded(Rounded),
}

impl<'x> Prepared<'x> {
    fn new(form: Form, x: &'x [f32], cols: usize) -> Self {
        match form {
            Form::Floats => Self::Floats(Vectors::new::<f32>(x, cols)),
            Form::ForBf16(Factors::F32) => Self::Floats(Vectors::new::<bf16>(x, cols)),
            Form::ForBf16(Factors::Bf16) => {
                let rounded: Vec<f32> = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
                Self::Floats(Vectors::new::<bf16>(&rounded, cols).into_owned())
            }
            #[cfg(target_arch = "x86_64")]
            Form::Pairs => Self::Pairs(few::pairs::PairVectors::new(x, cols)),
            Form::Rounded(format) => Self::Rounded(Rounded::new(x, cols, format)),
        }
    }
}

/// Reads all weights once, each thread consecutive rows of its own: as fast as memory allows.
fn products_of_few(x: &[f32], count: usize, all: &mut [Product<'_>]) {
    let mut prepared: Vec<(Form, Prepared<'_>)> = Vec::with_capacity(1);
    let mut parts = Vec::with_capacity(all.len());
    for Product { matrix, bias, y } in all {
        let Matrix { rows, cols, .. } = **matrix;
        assert!(x.len() == count * cols && y.len() == count * rows && bias.is_none_or(|b| b.len() == rows));
        if cols == 0 {
            y.fill(MaybeUninit::new(0.0));
            continue;
        }
        let form = matrix.form();
        let which = prepared.iter().position(|(known, _)| *known == form).unwrap_or_else(|| {
            prepared.push((form, Prepared::new(form, x, cols)));
            prepared.len() - 1
        });
        parts.push((*matrix, *bias, SharedMut(y.as_mut_ptr().cast()), which));
    }
    let fill = |part: usize, rows: Range<usize>| {
        let (matrix, bias, y, which) = &parts[part];
        let stride = matrix.rows;
        // SAFETY: `y` has these rows for every vector, and each row is filled once.
        unsafe {
            let target = Target { to: y.get().add(rows.start), stride };
            matrix.rows_times(rows.clone(), &prepared[*which].1, count, target);
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
        fn a_gelu_on_the_way_is_one_made_before(
            rows in 1usize..40, cols in prop_oneof![1usize..90, 500usize..1100], count in 1usize..9, rounded: bool,
        ) {
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 20) as f32 / 512.0 - 4.0;
            let bytes = stored(&(0..rows * cols).map(value).collect::<Vec<_>>(), DType::F32);
            let factors = if rounded { Factors::Bf16 } else { Factors::F32 };
            let matrix = Matrix::new(&bytes, 0..bytes.len(), DType::F32, DType::F32, (rows, cols), Order::OutputMajor);
            let matrix = matrix.with_factors(factors);
            let mut x: Vec<f32> = (0..count * cols).map(|i| value(i + 3)).collect();
            let mut on_the_way = vec![MaybeUninit::new(f32::NAN); count * rows];
            let product = Product { matrix: &matrix, bias: None, y: &mut on_the_way };
            Matrix::products(&x, count, Before::Gelu, &mut [product], Kernel::Many);
            simd::gelu(&mut x);
            let mut before = vec![f32::NAN; count * rows];
            matrix.product(&x, count, None, &mut before, Kernel::Many);
            // SAFETY: made of numbers.
            let on_the_way: Vec<f32> = on_the_way.iter().map(|y| unsafe { y.assume_init() }).collect();
            prop_assert_eq!(on_the_way, before);
        }

        #[test]
        fn products_agree_with_plain_loops(
            rows in 1usize..70, cols in 1usize..90, count in 1usize..9, few: bool, seed in 0u32..1000, which in 0usize..3,
            target in 0usize..3, input_major: bool, blocks in 0usize..4, rounded: bool,
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
            let rounded = rounded && types[target] == DType::BF16 && blocks == 0;
            if rounded {
                matrix = matrix.with_factors(Factors::Bf16);
            }
            let many_in_blocks = blocks > 0 && (!few || input_major);
            let number = |x: f32| f64::from(if rounded || many_in_blocks { bf16::from_f32(x).to_f32() } else { x });
            let mut w = w;
            if blocks > 0 {
                matrix = matrix.in_blocks(Blocks::ALL[blocks - 1]).unwrap();
                prop_assert!(matrix.bytes() * 3 < rows * cols * 4);
                // What the blocks hold is tested on its own; here it is what is multiplied.
                let mut line = vec![0f32; matrix.line()];
                for i in 0..rows * cols / line.len() {
                    matrix.widen(i, &mut line);
                    for (j, value) in line.iter().enumerate() {
                        let value = if many_in_blocks { bf16::from_f32(*value).to_f32() } else { *value };
                        w[if input_major { j * cols + i } else { i * cols + j }] = value;
                    }
                }
            }
            let mut y = vec![f32::NAN; count * rows];
            let kernel = if few { Kernel::Few } else { Kernel::Many };
            matrix.product(&x, count, Some(&bias), &mut y, kernel);
            for i in 0..count {
                let mut alone = vec![0f32; rows];
                matrix.product(&x[i * cols..(i + 1) * cols], 1, Some(&bias), &mut alone, kernel);
                prop_assert_eq!(&alone[..], &y[i * rows..(i + 1) * rows]);
            }
            for i in 0..count {
                for r in 0..rows {
                    let exact: f64 = (0..cols).map(|c| f64::from(w[r * cols + c]) * number(x[i * cols + c])).sum();
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

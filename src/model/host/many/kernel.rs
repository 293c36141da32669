//! Sums of products in registers: lines of the left against panels of the right, on each kind of processor.
//!
//! Every sum takes its terms in order, one chain of fused multiply-adds, wherever in a tile it is made: so rows and
//! columns are independent of each other, and all processors that fuse give the same bits. (Pairs of bf16, which one
//! instruction multiplies and adds, are a kind of their own.)

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::model::host::processor;
use crate::model::host::processor::Instructions;

/// Some words of lines below each other against panels of the right.
#[derive(Clone, Copy)]
pub(super) struct Slab {
    /// Lines of the left.
    pub left: *const u32,
    /// From one line to the next, in words.
    pub left_stride: usize,
    /// How many lines.
    pub rows: usize,
    /// Panels one behind the other, each `[words][`[`Way::columns`]`]`.
    pub panels: *const u32,
    /// From one panel to the next, in words.
    pub panel_stride: usize,
    /// Columns of the result; the last panel is filled up.
    pub columns: usize,
    /// Words of a line and a column.
    pub words: usize,
    /// The result's first element.
    pub out: *mut f32,
    /// From one row of the result to the next.
    pub out_stride: usize,
    /// What sums are added to.
    pub to: Base,
}

/// What sums are added to.
#[derive(Clone, Copy)]
pub(super) enum Base {
    /// Nothing.
    Zero,
    /// A number for every column, the same in all rows.
    Line(*const f32),
    /// What is there.
    Result,
}

/// Rows that pass all panels together: a multiple of every tile's height.
const ROWS: usize = 12;

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A number a word.
    Numbers(Instructions),
    /// AVX-512 with products of pairs of bf16.
    #[cfg(target_arch = "x86_64")]
    Pairs,
}

impl Way {
    /// All that this processor has; the ones that take numbers in order of speed, then the one that takes pairs.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let ways = Instructions::all().map(Self::Numbers);
        #[cfg(target_arch = "x86_64")]
        let ways = ways.chain(processor::has_bf16_pairs().then_some(Self::Pairs));
        ways
    }

    /// Whether a word holds two numbers.
    pub(super) fn takes_pairs(self) -> bool {
        !matches!(self, Self::Numbers(_))
    }

    /// Columns of a panel.
    pub(super) fn columns(self) -> usize {
        match self {
            Self::Numbers(Instructions::Portable) => Plain::COUNT * 2,
            #[cfg(target_arch = "x86_64")]
            Self::Numbers(Instructions::Avx2) => __m256::COUNT * 2,
            #[cfg(target_arch = "x86_64")]
            Self::Numbers(Instructions::Avx512) | Self::Pairs => __m512::COUNT * 2,
        }
    }

    /// [`Way::multiply`], and besides it `count` times something else (`beside`, told which times): in small pieces
    /// between the tiles, all of it before the end, none earlier than need be.
    ///
    /// # Safety
    /// As [`Way::multiply`].
    pub(super) unsafe fn multiply_beside(self, slab: Slab, count: usize, beside: impl Fn(Range<usize>)) {
        let panels = slab.columns.div_ceil(self.columns());
        let tiles = slab.rows.div_ceil(ROWS) * panels;
        let each = count.div_ceil(tiles.max(1));
        let due = |tile: usize| count.saturating_sub((tiles - tile) * each);
        for tile in 0..tiles {
            let (row, column) = (tile / panels * ROWS, tile % panels * self.columns());
            let part = Slab {
                left: slab.left.wrapping_add(row * slab.left_stride),
                rows: ROWS.min(slab.rows - row),
                panels: slab.panels.wrapping_add(tile % panels * slab.panel_stride),
                columns: self.columns().min(slab.columns - column),
                out: slab.out.wrapping_add(row * slab.out_stride + column),
                to: match slab.to {
                    Base::Line(line) => Base::Line(line.wrapping_add(column)),
                    other => other,
                },
                ..slab
            };
            // SAFETY: the caller's promise; the part lies within the slab.
            unsafe { self.multiply(part) };
            beside(due(tile)..due(tile + 1));
        }
    }

    /// Multiplies.
    ///
    /// # Safety
    /// The pointers reach what the sizes name, nothing else writes the result meanwhile, and the processor has what
    /// this way needs (as those of [`Way::all`]).
    pub(super) unsafe fn multiply(self, slab: Slab) {
        // SAFETY (all): the caller's promise.
        match self {
            Self::Numbers(Instructions::Portable) => unsafe { tiles::<Plain, 4>(slab) },
            #[cfg(target_arch = "x86_64")]
            Self::Numbers(Instructions::Avx2) => unsafe { avx2(slab) },
            #[cfg(target_arch = "x86_64")]
            Self::Numbers(Instructions::Avx512) => unsafe { avx512(slab) },
            #[cfg(target_arch = "x86_64")]
            Self::Pairs => unsafe { avx512_bf16(slab) },
        }
    }
}

/// # Safety
/// As [`Way::multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(slab: Slab) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<__m256, 6>(slab) }
}

/// # Safety
/// As [`Way::multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512(slab: Slab) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<__m512, 12>(slab) }
}

/// # Safety
/// As [`Way::multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
unsafe fn avx512_bf16(slab: Slab) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<OfPairs, 12>(slab) }
}

/// Sums side by side in a register.
///
/// # Safety
/// (of every function) The processor has the instructions, and pointers reach `COUNT` words.
trait Lanes: Copy {
    /// How many.
    const COUNT: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u32) -> Self;
    /// The same word everywhere.
    unsafe fn splat(word: u32) -> Self;
    /// `self + a * b`.
    unsafe fn plus(self, a: Self, b: Self) -> Self;
    /// Writes the sums, added to other numbers where there are some (not null).
    unsafe fn put(self, to: *mut f32, base: *const f32);
}

/// Lanes of any processor.
#[derive(Clone, Copy)]
struct Plain([f32; 8]);

impl Lanes for Plain {
    const COUNT: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: the caller's promise; any bits are a number.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Self([f32::from_bits(word); 8])
    }
    #[inline(always)]
    unsafe fn plus(mut self, a: Self, b: Self) -> Self {
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            // Where the processor has no such instruction, `mul_add` would be a call.
            *sum = if cfg!(target_arch = "aarch64") { a.mul_add(b, *sum) } else { a * b + *sum };
        }
        self
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, base: *const f32) {
        for (i, sum) in self.0.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = if base.is_null() { sum } else { *base.add(i) + sum } };
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m256 {
    const COUNT: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        unsafe { _mm256_loadu_ps(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { _mm256_set1_ps(f32::from_bits(word)) }
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, base: *const f32) {
        unsafe {
            let sums = if base.is_null() { self } else { _mm256_add_ps(_mm256_loadu_ps(base), self) };
            _mm256_storeu_ps(to, sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m512 {
    const COUNT: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        unsafe { _mm512_loadu_ps(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        unsafe { _mm512_set1_ps(f32::from_bits(word)) }
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, base: *const f32) {
        unsafe {
            let sums = if base.is_null() { self } else { _mm512_add_ps(_mm512_loadu_ps(base), self) };
            _mm512_storeu_ps(to, sums);
        }
    }
}

/// Sums in f32 of products of pairs of bf16.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct OfPairs(__m512);

#[cfg(target_arch = "x86_64")]
impl Lanes for OfPairs {
    const COUNT: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from.cast()) })
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Self(unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(word.cast_signed())) })
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise; a vector of bf16 is so many bits of any kind.
        unsafe {
            let [a, b] = [a.0, b.0].map(|pairs| std::mem::transmute::<__m512, __m512bh>(pairs));
            Self(_mm512_dpbf16_ps(self.0, a, b))
        }
    }
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, base: *const f32) {
        unsafe { self.0.put(to, base) }
    }
}

/// The most sums of a tile: rows, columns.
const MOST: usize = 12 * 32;

/// All tiles of a slab: lines of the left stay in the nearest cache while all panels pass by.
#[inline(always)]
unsafe fn tiles<L: Lanes, const TALL: usize>(slab: Slab) {
    let wide = L::COUNT * 2;
    let mut row = 0;
    while row < slab.rows {
        let left = slab.rows - row;
        let tall = match left {
            _ if left >= TALL => TALL,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        for (i, column) in (0..slab.columns).step_by(wide).enumerate() {
            // SAFETY: the caller's promise: these lines, this panel and these elements are within the slab.
            unsafe {
                let tile = Slab {
                    left: slab.left.add(row * slab.left_stride),
                    panels: slab.panels.add(i * slab.panel_stride),
                    rows: tall,
                    columns: slab.columns - column,
                    out: slab.out.add(row * slab.out_stride + column),
                    to: match slab.to {
                        Base::Line(line) => Base::Line(line.add(column)),
                        other => other,
                    },
                    ..slab
                };
                match tall {
                    _ if tile.columns < wide => narrow_tile::<L, TALL>(tile),
                    _ if tall == TALL => self::tile::<L, TALL>(tile),
                    4 => self::tile::<L, 4>(tile),
                    2 => self::tile::<L, 2>(tile),
                    _ => self::tile::<L, 1>(tile),
                }
            }
        }
        row += tall;
    }
}

/// Lines against a panel that is wider than the result: as [`tile`], by way of memory of its own.
#[inline(always)]
unsafe fn narrow_tile<L: Lanes, const TALL: usize>(narrow: Slab) {
    let wide = L::COUNT * 2;
    let mut spare = [0f32; MOST];
    let tile = Slab { out: spare.as_mut_ptr(), out_stride: wide, to: Base::Zero, ..narrow };
    // SAFETY: the caller's promise, and there is room for the largest tile.
    unsafe {
        match narrow.rows {
            rows if rows == TALL => self::tile::<L, TALL>(tile),
            4 => self::tile::<L, 4>(tile),
            2 => self::tile::<L, 2>(tile),
            _ => self::tile::<L, 1>(tile),
        }
        for (r, spare) in spare.chunks_exact(wide).take(narrow.rows).enumerate() {
            for (c, sum) in spare.iter().take(narrow.columns).enumerate() {
                let out = &mut *narrow.out.add(r * narrow.out_stride + c);
                *out = match narrow.to {
                    Base::Zero => *sum,
                    Base::Line(line) => *line.add(c) + sum,
                    Base::Result => *out + sum,
                };
            }
        }
    }
}

/// `TALL` lines against one panel.
#[inline(always)]
unsafe fn tile<L: Lanes, const TALL: usize>(tile: Slab) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::zero(); 2]; TALL];
        for word in 0..tile.words {
            let panel = tile.panels.add(word * L::COUNT * 2);
            let right = [L::load(panel), L::load(panel.add(L::COUNT))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let left = L::splat(*tile.left.add(row * tile.left_stride + word));
                *sums = [sums[0].plus(left, right[0]), sums[1].plus(left, right[1])];
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = tile.out.add(row * tile.out_stride);
            let base = match tile.to {
                Base::Zero => std::ptr::null(),
                Base::Line(line) => line,
                Base::Result => out.cast_const(),
            };
            sums[0].put(out, base);
            let base = if base.is_null() { base } else { base.add(L::COUNT) };
            sums[1].put(out.add(L::COUNT), base);
        }
    }
}

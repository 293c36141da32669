//! Looks at the page headers of a parquet column before its pages are unpacked.
//!
//! A page's header says how large the page becomes, and the reader makes room for that at once. A few bytes of a
//! damaged or hostile file could so ask for gigabytes; here they are found first. Headers are Thrift's compact
//! protocol (apache/thrift, `doc/specs/thrift-compact-protocol.md`; apache/parquet-format, `parquet.thrift`).

use std::ops::Range;

use crate::dataset::storage::Storage;
use crate::{Problem, Result};

/// The largest page that is unpacked.
const LARGEST_PAGE: u64 = 256 << 20;

/// The largest page header, whose statistics may hold two values.
const LARGEST_HEADER: u64 = 1 << 20;

/// Goes through the page headers of a column that lies in a range of a file.
///
/// # Errors
/// When a header makes no sense, or a page is larger than is unpacked.
pub(super) fn check(storage: &Storage, column: Range<u64>) -> Result<()> {
    let mut at = column.start;
    while at < column.end {
        let header = header(storage, at, column.end)?;
        let end = at.checked_add(header.length).and_then(|end| end.checked_add(header.packed));
        if header.unpacked > LARGEST_PAGE {
            return Err(Problem::new(format!(
                "a page of the parquet file unpacks to {} bytes, which is too much to read",
                header.unpacked
            ))
            .fix("write the file again with pages of about a megabyte, as parquet's writers do"));
        }
        at = end.filter(|&end| end <= column.end).ok_or_else(no_sense)?;
    }
    Ok(())
}

fn no_sense() -> Problem {
    Problem::new("the parquet file is damaged: a page's header makes no sense")
        .fix("download or write it again")
}

/// What a page header says of sizes, in bytes.
struct Header {
    length: u64,
    unpacked: u64,
    packed: u64,
}

fn header(storage: &Storage, at: u64, end: u64) -> Result<Header> {
    let mut room = 512;
    loop {
        let bytes = storage.read(at..end.min(at + room))?;
        let mut compact = Compact { bytes: &bytes, at: 0 };
        if let Some(header) = compact.page_header() {
            return Ok(header);
        }
        if at + room >= end || room >= LARGEST_HEADER {
            return Err(no_sense());
        }
        room *= 8;
    }
}

/// Reads values of Thrift's compact protocol; nothing when the bytes end or make no sense.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn page_header(&mut self) -> Option<Header> {
        let (mut field, mut unpacked, mut packed) = (0i64, None, None);
        loop {
            let (kind, id) = self.field(field)?;
            field = id;
            match (kind, id) {
                (0, _) => {
                    let (unpacked, packed) = (u64::try_from(unpacked?).ok()?, u64::try_from(packed?).ok()?);
                    return Some(Header { length: self.at as u64, unpacked, packed });
                }
                (5, 2) => unpacked = Some(self.signed()?),
                (5, 3) => packed = Some(self.signed()?),
                (kind, _) => self.skip(kind, 0)?,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Type and number of the next field; type 0 ends a struct.
    fn field(&mut self, before: i64) -> Option<(u8, i64)> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 0x0F);
        if kind == 0 {
            return Some((0, 0));
        }
        let id = if step == 0 { self.signed()? } else { before.checked_add(step)? };
        Some((kind, id))
    }

    fn forward(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > 16 {
            return None;
        }
        match kind {
            1 | 2 => Some(()),
            3 => self.forward(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.forward(8),
            8 => {
                let length = self.number()?;
                self.forward(length)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.number()? } else { u64::from(byte >> 4) };
                for _ in 0..count {
                    // Truths in a list take a byte each.
                    match byte & 0x0F {
                        1 | 2 => self.forward(1)?,
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
                Some(())
            }
            12 => {
                let mut field = 0;
                loop {
                    let (kind, id) = self.field(field)?;
                    if kind == 0 {
                        return Some(());
                    }
                    field = id;
                    self.skip(kind, depth + 1)?;
                }
            }
            // Page headers have no maps.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as parquet-cpp writes it: type 0, sizes, and the head of a data page with statistics.
    fn page(unpacked: &[u8]) -> Vec<u8> {
        let mut header = vec![0x15, 0x00, 0x15];
        header.extend_from_slice(unpacked);
        // 4 bytes packed; field 5: {1: 3, 2: 0, 3: 6, 4: 6, 5: {3: 0, 5: "ab"}}.
        header.extend_from_slice(
            b"\x15\x08\x2C\x15\x06\x15\x00\x15\x0C\x15\x0C\x1C\x36\x00\x28\x02ab\x00\x00\x00",
        );
        header.extend_from_slice(b"page");
        header
    }

    fn check_bytes(bytes: Vec<u8>) -> Result<()> {
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        check(&Storage::Embedded(bytes), 0..bytes.len() as u64)
    }

    #[test]
    fn sound_pages_pass_and_others_do_not() {
        let two = [page(&[0x10]), page(&[0x10])].concat();
        check_bytes(two.clone()).unwrap();
        for cut in 1..two.len() {
            if cut != two.len() / 2 {
                assert!(check_bytes(two[..cut].to_vec()).is_err(), "{cut}");
            }
        }
        let bomb = page(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]);
        assert!(check_bytes(bomb).unwrap_err().what.contains("2147483647 bytes"));
        let negative = page(&[0x03]);
        assert!(check_bytes(negative).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = check_bytes(bytes);
        }
    }
}

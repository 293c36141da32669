//! The program's allocator, which writes the owner before every allocation.

use std::alloc::{GlobalAlloc, Layout, System};

use super::slots::Owner;

/// The program's allocator: the system's, with the owner of every allocation written before it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes before an allocation: room for the owner, and a multiple of the alignment.
const fn header(layout: &Layout) -> usize {
    if layout.align() > 16 { layout.align() } else { 16 }
}

/// The allocation with its header.
fn whole(layout: &Layout) -> Option<Layout> {
    let header = header(layout);
    Layout::from_size_align(layout.size().checked_add(header)?, header).ok()
}

/// Asks the system to give a large allocation in large pages: what a layer computes is allocated for it, and a page of
/// 4 kB at a time that would be tens of thousands of faults a picture.
fn in_large_pages(start: *mut u8, size: usize) -> *mut u8 {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 2 << 20;
        let skipped = start.align_offset(PAGE);
        if size >= 2 * PAGE && !start.is_null() && skipped < size {
            // SAFETY: whole pages inside what was just allocated; it is advice, which may be refused and changes no content.
            unsafe {
                libc::madvise(start.add(skipped).cast(), (size - skipped) / PAGE * PAGE, libc::MADV_HUGEPAGE)
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = size;
    start
}

/// Writes the present owner before an allocation and counts it.
///
/// # Safety
/// `start` is what the system gave for `whole(layout)`, or null.
unsafe fn taken(start: *mut u8, layout: &Layout) -> *mut u8 {
    if start.is_null() {
        return start;
    }
    let owner = Owner::present();
    // SAFETY: the header lies inside the allocation, and both its ends are multiples of 8.
    let user = unsafe {
        let user = start.add(header(layout));
        user.cast::<u64>().sub(1).write(owner.0);
        user
    };
    if let Some((slot, part)) = owner.slot() {
        slot.count(layout.size() as i64);
        slot.add(part, layout.size() as i64);
    }
    user
}

// SAFETY: memory comes from the system's allocator with a layout enlarged in front by a multiple of its alignment;
// the same enlargement is undone before it is given back. A layout that cannot be enlarged is refused by null.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(&layout) else { return std::ptr::null_mut() };
        // SAFETY: the layout is not of size zero, for it has a header.
        unsafe { taken(in_large_pages(System.alloc(whole), whole.size()), &layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(&layout) else { return std::ptr::null_mut() };
        // SAFETY: as above.
        unsafe { taken(in_large_pages(System.alloc_zeroed(whole), whole.size()), &layout) }
    }

    unsafe fn dealloc(&self, user: *mut u8, layout: Layout) {
        let header = header(&layout);
        // SAFETY: `user` came from `taken` with this layout, so a header lies before it, and the enlarged layout is
        // the one with which the system gave it.
        unsafe {
            if let Some((slot, part)) = Owner(user.cast::<u64>().sub(1).read()).slot() {
                slot.add(part, -(layout.size() as i64));
            }
            let whole = Layout::from_size_align_unchecked(layout.size() + header, header);
            System.dealloc(user.sub(header), whole);
        }
    }

    unsafe fn realloc(&self, user: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let header = header(&layout);
        let Some(wanted) = size.checked_add(header).filter(|size| isize::try_from(*size).is_ok()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: as in `dealloc`; the header moves with the rest.
        unsafe {
            let owner = Owner(user.cast::<u64>().sub(1).read());
            let whole = Layout::from_size_align_unchecked(layout.size() + header, header);
            let start = System.realloc(user.sub(header), whole, wanted);
            if start.is_null() {
                return start;
            }
            if let Some((slot, part)) = owner.slot() {
                let grown = size as i64 - layout.size() as i64;
                slot.count(grown);
                slot.add(part, grown);
            }
            start.add(header)
        }
    }
}

//! What the targets share: an allocator that counts, so that an input which makes a decoder allocate more than a
//! small multiple of its own size is found like a panic is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What decoding may take for each byte of input: an element of an array is at least a byte on the wire, and a
/// few hundred in memory.
pub const BYTES_PER_BYTE_MAX: usize = 1024;

/// What it may take in any case: tables, buffers of a fixed size.
pub const BYTES_MAX: usize = 1 << 20;

struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on unchanged; only its size is noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn note(size: usize) {
    let used = USED.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(used, Relaxed);
}

/// Runs `read` on an input of `len` bytes.
///
/// # Panics
/// When it holds more memory at a time than such an input may take, `extra` bytes included.
pub fn bounded<T>(len: usize, extra: usize, read: impl FnOnce() -> T) -> T {
    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    let value = read();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    let allowed = len * BYTES_PER_BYTE_MAX + BYTES_MAX + extra;
    assert!(taken <= allowed, "{len} bytes of input took {taken} bytes of memory");
    value
}

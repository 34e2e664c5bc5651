//! A heap for images, in which nothing runs beside anything else.
//!
//! The kernel and each service have one: neither has threads, and neither is interrupted by
//! code that could allocate.
#![cfg_attr(not(test), no_std)]
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

/// Memory for an image's collections.
pub struct Heap(UnsafeCell<linked_list_allocator::Heap>);

// SAFETY: an image has one thread.
unsafe impl Sync for Heap {}

impl Default for Heap {
    fn default() -> Self {
        Self::empty()
    }
}

impl Heap {
    /// A heap that has no memory yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self(UnsafeCell::new(linked_list_allocator::Heap::empty()))
    }

    /// Gives it its memory.
    ///
    /// # Safety
    /// The memory must be mapped, unused, and stay the heap's; called once.
    pub unsafe fn init(&self, start: *mut u8, bytes: usize) {
        // SAFETY: nobody else holds the heap, see `Sync`.
        let heap = unsafe { &mut *self.0.get() };
        // SAFETY: the caller's promise.
        unsafe { heap.init(start, bytes) };
    }
}

// SAFETY: the list allocator hands out disjoint blocks of its memory.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: nobody else holds the heap, see `Sync`.
        let heap = unsafe { &mut *self.0.get() };
        heap.allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(pointer) else { return };
        // SAFETY: nobody else holds the heap, see `Sync`.
        let heap = unsafe { &mut *self.0.get() };
        // SAFETY: the block came from `alloc` with this layout.
        unsafe { heap.deallocate(pointer, layout) };
    }
}

#[cfg(test)]
mod tests;

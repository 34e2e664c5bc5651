//! The functions against plain loops, at every small length, alignment and distance: this binary has them in place of
//! the C library's. Miri does not run assembly.
#![cfg(not(miri))]
#![expect(unsafe_code, reason = "they are called by pointer, as compiled code calls them")]

use memory_functions as _;
use std::hint::black_box;

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8;
    fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32;
}

const BYTES: usize = 96;

/// Bytes that are all different.
fn pattern() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (byte, value) in bytes.iter_mut().zip(1..) {
        *byte = value;
    }
    bytes
}

/// Copies byte by byte, which the compiler must not take for one of the functions.
fn copy_each(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = black_box(*from);
    }
}

/// Every place in the buffer from which so many bytes fit.
fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..BYTES - 40).step_by(3).flat_map(|start| (0..=40).map(move |count| (start, count)))
}

#[test]
fn bytes_are_copied_and_nothing_beside_them() {
    let from = pattern();
    for (start, count) in places() {
        let (mut to, mut expected) = ([0; BYTES], [0; BYTES]);
        copy_each(&mut expected[BYTES - 48..][..count], &from[start..]);
        let target = to[BYTES - 48..].as_mut_ptr();
        // SAFETY: both ranges are inside of their arrays, which are two.
        let given = unsafe { memcpy(black_box(target), black_box(from[start..].as_ptr()), count) };
        assert!(std::ptr::eq(given, target));
        assert!(to.iter().eq(&expected), "{count} bytes from {start}");
    }
}

#[test]
fn bytes_are_moved_over_themselves_in_both_directions() {
    for (start, count) in places() {
        for target in
            [start.saturating_sub(9), start.saturating_sub(1), start, start + 1, start + 8, start + 13]
        {
            let count = count.min(BYTES - target);
            let mut bytes = pattern();
            let mut expected = pattern();
            copy_each(&mut expected[target..target + count], &pattern()[start..]);
            let base = bytes.as_mut_ptr();
            // SAFETY: both ranges are inside of the array; that they overlap is what the function is for.
            let given = unsafe { memmove(base.wrapping_add(target), base.wrapping_add(start), count) };
            assert!(std::ptr::eq(given, base.wrapping_add(target)));
            assert!(bytes.iter().eq(&expected), "{count} bytes from {start} to {target}");
        }
    }
}

#[test]
fn bytes_are_set_to_the_lowest_of_the_number() {
    for (start, count) in places() {
        let mut bytes = pattern();
        let mut expected = pattern();
        for byte in &mut expected[start..start + count] {
            *byte = 0x9c;
        }
        let target = bytes[start..].as_mut_ptr();
        // SAFETY: the range is inside of the array.
        let given = unsafe { memset(target, black_box(0x1234_569c), count) };
        assert!(std::ptr::eq(given, target));
        assert!(bytes.iter().eq(&expected), "{count} bytes from {start}");
    }
}

#[test]
fn the_first_byte_that_differs_decides() {
    let one = pattern();
    for (start, count) in places() {
        for at in 0..count {
            for (change, expected) in [(0_u8, 0), (1, -1), (0x80, -1)] {
                let mut other = one;
                other[start + at] = one[start + at].wrapping_add(change);
                // What lies behind does not count.
                other[start + count] ^= 1;
                // SAFETY: both ranges are inside of their arrays.
                let sign = unsafe { memcmp(one[start..].as_ptr(), other[start..].as_ptr(), count) }.signum();
                assert_eq!(sign, expected, "{count} bytes from {start}, of which {at} is larger by {change}");
                // SAFETY: as above.
                let sign = unsafe { memcmp(other[start..].as_ptr(), one[start..].as_ptr(), count) }.signum();
                assert_eq!(sign, -expected);
            }
        }
    }
}

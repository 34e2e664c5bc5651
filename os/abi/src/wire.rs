//! How a field is laid out in a payload.

use crate::{Callers, CopyFlags, Endpoint, Grant, GrantId, MESSAGE_SIZE, Message, PAYLOAD_SIZE, Pid};

/// A field type that can travel in a message.
pub trait Wire: Sized {
    /// Bytes the field takes.
    const SIZE: usize;
    /// Writes the field; `out` is exactly `SIZE` bytes.
    fn put(&self, out: &mut [u8]);
    /// Reads the field from exactly `SIZE` bytes, or `None` if they are no value of the type.
    fn get(from: &[u8]) -> Option<Self>;
}

macro_rules! wire_integers {
    ($($integer:ty)*) => { $(
        impl Wire for $integer {
            const SIZE: usize = size_of::<$integer>();
            fn put(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
            fn get(from: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(from.try_into().ok()?))
            }
        }
    )* };
}
wire_integers! { u8 u16 u32 u64 u128 i32 i64 }

/// Types that are one integer with a name.
macro_rules! wire_newtypes {
    ($($newtype:ty as $integer:ty: |$value:ident| $into:expr, $from:expr;)*) => { $(
        impl Wire for $newtype {
            const SIZE: usize = <$integer as Wire>::SIZE;
            fn put(&self, out: &mut [u8]) {
                let $value = *self;
                Wire::put(&$into, out);
            }
            fn get(from: &[u8]) -> Option<Self> {
                <$integer as Wire>::get(from).map($from)
            }
        }
    )* };
}
wire_newtypes! {
    Pid as i32: |pid| pid.0, Pid;
    Endpoint as u32: |endpoint| endpoint.to_bits(), Endpoint::from_bits;
    GrantId as u64: |id| id.to_bits(), GrantId::from_bits;
    Callers as u8: |callers| callers.0, Callers;
    CopyFlags as u32: |flags| flags.0, CopyFlags;
}

impl Wire for bool {
    const SIZE: usize = 1;
    fn put(&self, out: &mut [u8]) {
        out[0] = u8::from(*self);
    }
    fn get(from: &[u8]) -> Option<Self> {
        match from {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Wire for Grant {
    const SIZE: usize = 12;
    fn put(&self, out: &mut [u8]) {
        self.id.put(&mut out[..8]);
        self.len.put(&mut out[8..]);
    }
    fn get(from: &[u8]) -> Option<Self> {
        let (id, len) = from.split_at_checked(8)?;
        Some(Self { id: GrantId::get(id)?, len: u32::get(len)? })
    }
}

/// As it lies in memory, see [`Message`].
impl Wire for Message {
    const SIZE: usize = MESSAGE_SIZE;
    fn put(&self, out: &mut [u8]) {
        let (header, payload) = out.split_at_mut(MESSAGE_SIZE - PAYLOAD_SIZE);
        self.source.put(&mut header[..4]);
        self.number.put(&mut header[4..6]);
        self.class.put(&mut header[6..7]);
        self.flags.put(&mut header[7..8]);
        self.status.put(&mut header[8..12]);
        self.tag.put(&mut header[12..]);
        payload.copy_from_slice(&self.payload);
    }
    fn get(from: &[u8]) -> Option<Self> {
        let (header, payload) = from.split_at_checked(MESSAGE_SIZE - PAYLOAD_SIZE)?;
        Some(Self {
            source: Wire::get(&header[..4])?,
            number: Wire::get(&header[4..6])?,
            class: Wire::get(&header[6..7])?,
            flags: Wire::get(&header[7..8])?,
            status: Wire::get(&header[8..12])?,
            tag: Wire::get(&header[12..])?,
            payload: payload.try_into().ok()?,
        })
    }
}

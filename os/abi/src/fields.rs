//! Structs and enums that know their layout on the wire.

/// Declares a struct whose fields follow each other on the wire, in this order, without padding.
#[doc(hidden)]
#[macro_export]
macro_rules! fields {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $name {
            /// The fields and their types, by which two builds tell whether they mean the same.
            pub const LAYOUT: &'static str = concat!(stringify!($name), $(" ", stringify!($field), ": ", stringify!($type)),*);
        }

        impl $crate::Wire for $name {
            const SIZE: usize = 0 $(+ <$type as $crate::Wire>::SIZE)*;

            fn put(&self, out: &mut [u8]) {
                let rest = out;
                $(
                    let (field, rest) = rest.split_at_mut(<$type as $crate::Wire>::SIZE);
                    $crate::Wire::put(&self.$field, field);
                )*
                debug_assert!(rest.is_empty());
            }

            fn get(from: &[u8]) -> Option<Self> {
                let rest = from;
                $(
                    let (field, rest) = rest.split_at_checked(<$type as $crate::Wire>::SIZE)?;
                    let $field = <$type as $crate::Wire>::get(field)?;
                )*
                rest.is_empty().then_some(Self { $($field),* })
            }
        }
    };
}

/// Declares an enum that is one byte on the wire. A byte that is no variant is a bad message.
#[doc(hidden)]
#[macro_export]
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant = $number, )*
        }

        impl $crate::Wire for $name {
            const SIZE: usize = 1;

            fn put(&self, out: &mut [u8]) {
                out[0] = *self as u8;
            }

            fn get(from: &[u8]) -> Option<Self> {
                match from {
                    $( [$number] => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }
    };
}

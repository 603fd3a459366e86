use super::dtype::{Class, Order, Plain};

/// A Rust type with a NumPy dtype: the integers, `f32`, `f64`, `bool`, and complex numbers as arrays
/// `[real, imaginary]`. Sealed.
pub trait Element: Copy + sealed::Sealed {
    /// Its dtype, little-endian.
    const DTYPE: Plain;
}

pub(super) mod sealed {
    /// Bytes to elements and back; one slice at a time, so that the compiler may turn it into a plain copy.
    pub trait Sealed: Sized {
        fn read(data: &[u8], big: bool) -> Vec<Self>;
        fn write(elements: &[Self], out: &mut Vec<u8>);
    }
}

macro_rules! element {
    ($type:ty, $class:expr, $size:literal, $from_le:expr, $from_be:expr, $to_le:expr) => {
        impl Element for $type {
            const DTYPE: Plain = Plain {
                order: if $size == 1 { Order::None } else { Order::Little },
                class: $class,
                size: $size,
            };
        }

        impl sealed::Sealed for $type {
            fn read(data: &[u8], big: bool) -> Vec<Self> {
                let (elements, _) = data.as_chunks::<$size>();
                if big {
                    elements.iter().copied().map($from_be).collect()
                } else {
                    elements.iter().copied().map($from_le).collect()
                }
            }

            fn write(elements: &[Self], out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + elements.len() * $size, 0);
                let (slots, _) = out[start..].as_chunks_mut::<$size>();
                for (slot, element) in slots.iter_mut().zip(elements) {
                    *slot = $to_le(*element);
                }
            }
        }
    };
    ($type:ty, $class:expr, $size:literal) => {
        element!($type, $class, $size, <$type>::from_le_bytes, <$type>::from_be_bytes, <$type>::to_le_bytes);
    };
}

element!(i8, Class::Int, 1);
element!(i16, Class::Int, 2);
element!(i32, Class::Int, 4);
element!(i64, Class::Int, 8);
element!(u8, Class::Uint, 1);
element!(u16, Class::Uint, 2);
element!(u32, Class::Uint, 4);
element!(u64, Class::Uint, 8);
element!(f32, Class::Float, 4);
element!(f64, Class::Float, 8);
element!(bool, Class::Bool, 1, |[byte]: [u8; 1]| byte != 0, |[byte]: [u8; 1]| byte != 0, |yes: bool| [
    u8::from(yes)
]);
element!(
    [f32; 2],
    Class::Complex,
    8,
    |bytes| pair(bytes).map(f32::from_le_bytes),
    |bytes| pair(bytes).map(f32::from_be_bytes),
    |parts: [f32; 2]| unpair(parts.map(f32::to_le_bytes))
);
element!(
    [f64; 2],
    Class::Complex,
    16,
    |bytes| pair(bytes).map(f64::from_le_bytes),
    |bytes| pair(bytes).map(f64::from_be_bytes),
    |parts: [f64; 2]| unpair(parts.map(f64::to_le_bytes))
);

fn pair<const HALF: usize, const WHOLE: usize>(bytes: [u8; WHOLE]) -> [[u8; HALF]; 2] {
    std::array::from_fn(|part| std::array::from_fn(|byte| bytes[part * HALF + byte]))
}

fn unpair<const HALF: usize, const WHOLE: usize>(parts: [[u8; HALF]; 2]) -> [u8; WHOLE] {
    std::array::from_fn(|byte| parts[byte / HALF][byte % HALF])
}
